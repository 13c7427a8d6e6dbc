//! SPDY/3.1 framing, as far as port forwarding needs it: control and data frames, and header blocks.
//!
//! Header blocks are one zlib stream per direction, primed with the protocol's dictionary. The client's
//! stream is read by handing a raw inflater the dictionary as a stored block first; ours needs no
//! dictionary, and is written in stored blocks, since it carries next to nothing. The client does no flow
//! control, so windows are accepted and ignored.

use std::{collections::BTreeMap, io};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress};

/// Words of the dictionary that are there with their length before them.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// The rest of the dictionary.
const TEXT: &[&str] = &[
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Una",
    "uthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service",
    " UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, ",
    "Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,applicat",
    "ion/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf",
    "-8charset=iso-8859-1,utf-,*,enq=0.",
];

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// This side sends no more on the stream.
const FIN: u8 = 1;
/// Largest frame accepted.
const MAX_FRAME: usize = 1 << 20;

/// The dictionary of the protocol's header compression.
fn dictionary() -> Vec<u8> {
    let mut out = Vec::new();
    for word in WORDS {
        out.put_u32(word.len() as u32);
        out.extend_from_slice(word.as_bytes());
    }
    TEXT.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    out
}

/// What the client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    Open {
        /// Stream.
        stream: u32,
        /// The client will send nothing on it.
        fin: bool,
        /// Names in lower case.
        headers: BTreeMap<String, String>,
    },
    /// Bytes on a stream.
    Data {
        /// Stream.
        stream: u32,
        /// The last ones.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// Abandons a stream.
    Reset {
        /// Stream.
        stream: u32,
    },
    /// Wants the same number back.
    Ping(u32),
    /// No more streams will come.
    GoAway,
    /// Of no interest here.
    Other,
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("spdy: {message}"))
}

/// Takes the client's bytes apart.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    inflate: Decompress,
    started: bool,
}

impl Reader {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(false), started: false }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some(head) = self.buffer.get(..8) else { return Ok(None) };
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if length > MAX_FRAME {
            return Err(invalid("frame too large"));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let mut head = self.buffer.split_to(8);
        let mut body = self.buffer.split_to(length).freeze();
        let first = head.get_u32();
        let fin = flags & FIN != 0;
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data { stream: first, fin, bytes: body }));
        }
        let need = |body: &Bytes, length: usize| {
            if body.len() < length { Err(invalid("short frame")) } else { Ok(()) }
        };
        let frame = match (first & 0xffff) as u16 {
            SYN_STREAM => {
                need(&body, 10)?;
                let stream = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Frame::Open { stream, fin, headers: self.headers(&body)? }
            }
            RST_STREAM => {
                need(&body, 8)?;
                Frame::Reset { stream: body.get_u32() & 0x7fff_ffff }
            }
            PING => {
                need(&body, 4)?;
                Frame::Ping(body.get_u32())
            }
            GOAWAY => Frame::GoAway,
            // Its header block is part of the compressed stream.
            8 | SYN_REPLY => {
                need(&body, 4)?;
                body.advance(4);
                self.headers(&body)?;
                Frame::Other
            }
            _ => Frame::Other,
        };
        Ok(Some(frame))
    }

    fn inflate(&mut self, mut input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            self.inflate
                .decompress(input, &mut chunk, FlushDecompress::Sync)
                .map_err(|e| invalid(&format!("header block: {e}")))?;
            let used = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            input = &input[used..];
            out.extend_from_slice(&chunk[..made]);
            if out.len() > MAX_FRAME {
                return Err(invalid("header block too large"));
            }
            if made == 0 && (used == 0 || input.is_empty()) {
                return Ok(out);
            }
        }
    }

    fn headers(&mut self, block: &[u8]) -> io::Result<BTreeMap<String, String>> {
        let mut block = block;
        if !self.started {
            // Two bytes of zlib header; with a dictionary, four more that name it.
            let with_dictionary = block.get(1).ok_or_else(|| invalid("no zlib header"))? & 0x20 != 0;
            if with_dictionary {
                let words = dictionary();
                let length = words.len() as u16;
                let mut stored = vec![0];
                stored.put_u16_le(length);
                stored.put_u16_le(!length);
                stored.extend_from_slice(&words);
                self.inflate(&stored)?;
            }
            block =
                block.get(if with_dictionary { 6 } else { 2 }..).ok_or_else(|| invalid("no zlib header"))?;
            self.started = true;
        }
        let mut plain = Bytes::from(self.inflate(block)?);
        let number = |plain: &mut Bytes| {
            if plain.len() < 4 { Err(invalid("short header block")) } else { Ok(plain.get_u32() as usize) }
        };
        let count = number(&mut plain)?;
        let mut headers = BTreeMap::new();
        for _ in 0..count {
            let mut text = || -> io::Result<String> {
                let length = number(&mut plain)?;
                if plain.len() < length {
                    return Err(invalid("short header block"));
                }
                Ok(String::from_utf8_lossy(&plain.split_to(length)).into_owned())
            };
            let (name, value) = (text()?, text()?);
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(headers)
    }
}

/// Makes this side's frames.
#[derive(Debug, Default)]
pub struct Writer {
    started: bool,
}

impl Writer {
    /// Accepts a stream.
    pub fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut block = Vec::new();
        if !self.started {
            block.extend_from_slice(&[0x78, 0x01]);
            self.started = true;
        }
        // A stored block of four bytes: no headers. The empty block after it is what a flush ends with:
        // without it Go's inflater looks for another block, and takes the frame's end for a broken stream.
        block.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        block.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        let mut body = Vec::new();
        body.put_u32(stream);
        body.extend_from_slice(&block);
        control(SYN_REPLY, &body)
    }

    /// Bytes on a stream.
    pub fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + bytes.len());
        out.put_u32(stream);
        out.put_u32(u32::from(if fin { FIN } else { 0 }) << 24 | bytes.len() as u32);
        out.extend_from_slice(bytes);
        out
    }

    /// Answers a ping.
    pub fn ping(number: u32) -> Vec<u8> {
        control(PING, &number.to_be_bytes())
    }

    /// Refuses or abandons a stream.
    pub fn reset(stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u32(stream);
        body.put_u32(3);
        control(RST_STREAM, &body)
    }
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + body.len());
    out.put_u32(0x8003_0000 | u32::from(kind));
    out.put_u32(body.len() as u32);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        let (mut a, mut b) = (1u32, 0u32);
        for byte in dictionary() {
            a = (a + u32::from(byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(b << 16 | a, 0xe3c6_a7c2);
    }

    #[test]
    fn frames_are_taken_apart() {
        let mut reader = Reader::new();
        let mut plain = Vec::new();
        plain.put_u32(1);
        for text in ["port", "80"] {
            plain.put_u32(text.len() as u32);
            plain.extend_from_slice(text.as_bytes());
        }
        let mut body = Vec::new();
        body.put_u32(1);
        body.put_slice(&[0; 6]);
        body.put_slice(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2, 0]);
        body.put_u16_le(plain.len() as u16);
        body.put_u16_le(!(plain.len() as u16));
        body.extend_from_slice(&plain);
        let mut bytes = control(SYN_STREAM, &body);
        bytes.extend(Writer::data(1, b"hello", true));
        bytes.extend(Writer::ping(7));
        let (early, late) = bytes.split_at(11);
        reader.push(early);
        assert_eq!(reader.next().unwrap(), None);
        reader.push(late);
        let headers = BTreeMap::from([("port".to_owned(), "80".to_owned())]);
        assert_eq!(reader.next().unwrap(), Some(Frame::Open { stream: 1, fin: false, headers }));
        let data = Frame::Data { stream: 1, fin: true, bytes: Bytes::from_static(b"hello") };
        assert_eq!(reader.next().unwrap(), Some(data));
        assert_eq!(reader.next().unwrap(), Some(Frame::Ping(7)));
        assert_eq!(reader.next().unwrap(), None);
    }
}
