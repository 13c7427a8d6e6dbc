//! The bytes of an upgraded connection, in both directions.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Carries bytes both ways until both sides have ended.
///
/// Of a WebSocket each frame goes to the client by itself, as it does when upstream writes it: clients
/// that wait for the socket and then read one frame would not see a second one that came in the same
/// TLS record.
pub(super) async fn relay<C, B>(mut client: C, mut backend: B, websocket: bool) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    if !websocket {
        return tokio::io::copy_bidirectional(&mut client, &mut backend).await.map(drop);
    }
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_backend, mut to_backend) = tokio::io::split(backend);
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_backend).await?;
        to_backend.shutdown().await
    };
    let down = async {
        copy_frames(&mut from_backend, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}

async fn copy_frames(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut frame = Frame::default();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (part, more) = rest.split_at(frame.take(rest));
            to.write_all(part).await?;
            to.flush().await?;
            rest = more;
        }
    }
}

/// How far a frame (RFC 6455, section 5.2) has come.
#[derive(Default)]
struct Frame {
    /// What there is of its header.
    header: Vec<u8>,
    /// How many bytes follow the header.
    left: u64,
}

impl Frame {
    /// How many of these bytes belong to it. Once it is whole, the next one begins.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.left == 0 {
            let Some(byte) = bytes.get(taken) else { return taken };
            self.header.push(*byte);
            taken += 1;
            if let Some(length) = length(&self.header) {
                self.header.clear();
                self.left = length;
                if length == 0 {
                    return taken;
                }
            }
        }
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - taken);
        self.left -= here as u64;
        taken + here
    }
}

/// How many bytes follow a frame's header, where it is whole.
fn length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let (short, mask) = (second & 0x7f, if second & 0x80 == 0 { 0 } else { 4 });
    let wide = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if header.len() < 2 + wide + mask {
        return None;
    }
    if wide == 0 {
        return Some(u64::from(short));
    }
    Some(header[2..2 + wide].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where frames end in these bytes, given in pieces of `size`.
    fn parts(bytes: &[u8], size: usize) -> Vec<usize> {
        let mut frame = Frame::default();
        let (mut ends, mut at) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let taken = frame.take(rest);
                at += taken;
                rest = &rest[taken..];
                if frame.left == 0 && frame.header.is_empty() {
                    ends.push(at);
                }
            }
        }
        ends
    }

    #[test]
    fn frames_end_where_their_lengths_say() {
        let mut bytes = vec![0x82, 3, 1, b'h', b'i', 0x88, 0, 0x82, 126, 1, 0];
        bytes.extend([7; 256]);
        bytes.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend([7; 65_536]);
        bytes.extend([0x82, 0x82, 1, 2, 3, 4, 5, 6]);
        let ends = [5, 7, 267, 65_813, 65_821];
        for size in [1, 2, 3, 7, 1000, bytes.len()] {
            assert_eq!(parts(&bytes, size), ends, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn all_that_is_sent_arrives() {
        let (client, mut seen) = tokio::io::duplex(1024);
        let (backend, mut sends) = tokio::io::duplex(1024);
        let relayed = tokio::spawn(relay(client, backend, true));
        sends.write_all(&[0x82, 1, 9, 0x88, 0]).await.expect("sent");
        sends.shutdown().await.expect("ended");
        let mut all = Vec::new();
        seen.read_to_end(&mut all).await.expect("read");
        assert_eq!(all, [0x82, 1, 9, 0x88, 0]);
        drop(seen);
        drop(sends);
        relayed.await.expect("no panic").expect("relayed");
    }
}
