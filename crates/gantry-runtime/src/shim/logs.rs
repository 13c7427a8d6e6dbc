//! A container's log file in the format that kubelets read: time, stream, `F` or `P`, text. A line
//! longer than the limit, or one that ends without a newline, is written in parts tagged `P`.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// Longest text in one log line.
const MAX_LINE: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An open log file.
#[derive(Debug)]
pub struct Log {
    path: Option<PathBuf>,
    file: Option<File>,
    out: Vec<u8>,
}

impl Log {
    /// Opens the log at `path`, appending; without a path everything is dropped.
    pub fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let mut log = Self { path, file: None, out: Vec::new() };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the path anew, after the file has been renamed away.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            self.file = Some(File::options().create(true).append(true).mode(0o640).open(path)?);
        }
        Ok(())
    }

    /// Takes output; whole lines leave `pending`, the rest stays there until more comes.
    pub fn write(&mut self, stream: Stream, pending: &mut Vec<u8>, bytes: &[u8], now: &str) {
        if self.file.is_none() {
            return;
        }
        pending.extend_from_slice(bytes);
        let mut start = 0;
        while start < pending.len() {
            let rest = &pending[start..];
            let window = &rest[..rest.len().min(MAX_LINE)];
            match window.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    format_line(&mut self.out, stream, true, &rest[..end], now);
                    start += end + 1;
                }
                None if rest.len() > MAX_LINE => {
                    format_line(&mut self.out, stream, false, window, now);
                    start += MAX_LINE;
                }
                None => break,
            }
        }
        pending.drain(..start);
        self.flush();
    }

    /// Writes what is left of a stream that has ended.
    pub fn finish(&mut self, stream: Stream, pending: &mut Vec<u8>, now: &str) {
        if !pending.is_empty() && self.file.is_some() {
            format_line(&mut self.out, stream, false, pending, now);
            self.flush();
        }
        pending.clear();
    }

    fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            // A full disk must not stop the container.
            let _ = file.write_all(&self.out);
        }
        self.out.clear();
    }
}

fn format_line(out: &mut Vec<u8>, stream: Stream, full: bool, text: &[u8], now: &str) {
    let stream = match stream {
        Stream::Stdout => " stdout ",
        Stream::Stderr => " stderr ",
    };
    out.extend_from_slice(now.as_bytes());
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(if full { b"F " } else { b"P " });
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(chunks: &[&[u8]]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/0.log");
        let mut log = Log::open(Some(path.clone())).unwrap();
        let mut pending = Vec::new();
        for chunk in chunks {
            log.write(Stream::Stdout, &mut pending, chunk, "T");
        }
        log.finish(Stream::Stdout, &mut pending, "T");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_tagged() {
        assert_eq!(written(&[b"a\nb", b"c\n"]), "T stdout F a\nT stdout F bc\n");
        assert_eq!(written(&[b"no newline"]), "T stdout P no newline\n");
        assert_eq!(written(&[b"\n"]), "T stdout F \n");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn long_lines_are_split() {
        let long = vec![b'x'; MAX_LINE + 5];
        let text = written(&[&long, b"\n"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("T stdout P xxx") && lines[0].len() == MAX_LINE + 11);
        assert_eq!(lines[1], "T stdout F xxxxx");
    }

    #[test]
    fn reopening_follows_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(Some(path.clone())).unwrap();
        let mut pending = Vec::new();
        log.write(Stream::Stderr, &mut pending, b"one\n", "T");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stderr, &mut pending, b"two\n", "T");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "T stderr F two\n");
    }
}
