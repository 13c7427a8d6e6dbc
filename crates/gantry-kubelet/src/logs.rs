//! Container logs: the CRI line format, reading with kubectl's options, and tails.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use jiff::Timestamp;

/// A parsed line of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Time as written.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The line was cut: no newline follows.
    pub partial: bool,
    /// Text without newline.
    pub text: &'a [u8],
}

/// Parses `TIME STREAM TAG TEXT`.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tag = parts.next()?;
    Some(Line { time, stream, partial: tag.first() == Some(&b'P'), text: parts.next().unwrap_or_default() })
}

/// kubectl's options for reading a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep sending what is written.
    pub follow: bool,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// At most so many bytes.
    pub limit: Option<usize>,
    /// The instance before the current one.
    pub previous: bool,
    /// Only `stdout` or `stderr`.
    pub stream: Option<String>,
}

/// Turns lines into what the client sees, up to the byte limit.
#[derive(Debug)]
pub struct Formatter {
    options: Options,
    sent: usize,
    midline: bool,
}

impl Formatter {
    /// For one reader.
    pub fn new(options: Options) -> Self {
        Self { options, sent: 0, midline: false }
    }

    /// The limit is reached.
    pub fn full(&self) -> bool {
        self.options.limit.is_some_and(|l| self.sent >= l)
    }

    /// Whether the line passes the filters of stream and time.
    pub fn wants(&self, line: &Line<'_>) -> bool {
        let stream = self.options.stream.as_deref().is_none_or(|s| s.eq_ignore_ascii_case(line.stream));
        let since =
            self.options.since.is_none_or(|since| line.time.parse::<Timestamp>().is_ok_and(|t| t >= since));
        stream && since
    }

    /// Appends a line.
    pub fn push(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        if !self.wants(line) || self.full() {
            return;
        }
        let before = out.len();
        if self.options.timestamps && !self.midline {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        self.midline = line.partial;
        if let Some(limit) = self.options.limit {
            out.truncate(before + (out.len() - before).min(limit - self.sent));
        }
        self.sent += out.len() - before;
    }
}

/// The offset of the last `lines` lines that `wanted` accepts.
pub fn tail_offset(data: &[u8], lines: usize, wanted: impl Fn(&[u8]) -> bool) -> usize {
    let mut starts: Vec<usize> = vec![0];
    starts.extend(
        data.iter().enumerate().filter(|(i, b)| **b == b'\n' && i + 1 < data.len()).map(|(i, _)| i + 1),
    );
    let line = |i: usize| {
        let end = starts.get(i + 1).copied().unwrap_or(data.len());
        data[starts[i]..end].strip_suffix(b"\n").unwrap_or(&data[starts[i]..end])
    };
    let mut left = lines;
    for i in (0..starts.len()).rev() {
        let text = line(i);
        if !text.is_empty() && wanted(text) && !parse(text).is_some_and(|l| l.partial) {
            if left == 0 {
                return starts.get(i + 1).copied().unwrap_or(data.len());
            }
            left -= 1;
        }
    }
    0
}

/// The plain text of the last lines of a log, at most `bytes` long.
pub fn tail_text(path: &Path, lines: usize, bytes: usize) -> String {
    let Ok(mut file) = fs::File::open(path) else { return String::new() };
    let length = file.metadata().map_or(0, |m| m.len());
    let mut data = Vec::new();
    let from = length.saturating_sub(64 << 10);
    if file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut data)).is_err() {
        return String::new();
    }
    let mut out = Vec::new();
    let mut formatter = Formatter::new(Options::default());
    for line in data[tail_offset(&data, lines, |_| true)..].split(|b| *b == b'\n').filter_map(parse) {
        formatter.push(&line, &mut out);
    }
    let start = out.len().saturating_sub(bytes);
    String::from_utf8_lossy(&out[start..]).into_owned()
}

/// Renames a log that has grown past `max_bytes` out of the way and drops the oldest; true when the
/// runtime has to open a new file.
pub fn rotate(path: &Path, max_bytes: u64, max_files: u32, now: Timestamp) -> std::io::Result<bool> {
    if fs::metadata(path).map_or(0, |m| m.len()) < max_bytes {
        return Ok(false);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(false);
    };
    let prefix = format!("{name}.");
    let mut old: Vec<_> = fs::read_dir(dir)?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&prefix)))
        .collect();
    old.sort();
    let keep = max_files.saturating_sub(2) as usize;
    for path in old.iter().take(old.len().saturating_sub(keep)) {
        fs::remove_file(path)?;
    }
    fs::rename(path, dir.join(format!("{name}.{}", now.strftime("%Y%m%d-%H%M%S"))))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n\
        2026-01-01T00:00:02Z stdout P thr\n2026-01-01T00:00:02Z stdout F ee\n";

    fn read(options: Options) -> String {
        let from = options.tail.map_or(0, |n| tail_offset(LOG, n, |_| true));
        let mut formatter = Formatter::new(options);
        let mut out = Vec::new();
        for line in LOG[from..].split(|b| *b == b'\n').filter_map(parse) {
            formatter.push(&line, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn options() {
        let default = Options::default;
        for (options, expect) in [
            (default(), "one\ntwo\nthree\n"),
            (Options { tail: Some(1), ..default() }, "three\n"),
            (Options { tail: Some(0), ..default() }, ""),
            (Options { tail: Some(2), ..default() }, "two\nthree\n"),
            (Options { limit: Some(5), ..default() }, "one\nt"),
            (Options { stream: Some("Stderr".into()), ..default() }, "two\n"),
            (Options { since: Some("2026-01-01T00:00:01Z".parse().unwrap()), ..default() }, "two\nthree\n"),
            (Options { timestamps: true, tail: Some(1), ..default() }, "2026-01-01T00:00:02Z three\n"),
        ] {
            assert_eq!(read(options.clone()), expect, "{options:?}");
        }
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for second in 0..6 {
            fs::write(&path, "x".repeat(10)).unwrap();
            assert!(rotate(&path, 10, 3, Timestamp::from_second(second).unwrap()).unwrap());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        fs::write(&path, "x").unwrap();
        assert!(!rotate(&path, 10, 3, Timestamp::UNIX_EPOCH).unwrap());
    }
}
