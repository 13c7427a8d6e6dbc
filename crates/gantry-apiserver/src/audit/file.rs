//! The audit log: a file with an event a line. When it has grown to its size it is set aside under the
//! time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::backups::Backups;
use super::sys;

/// How much is written between one beginning of writing back and the next, in bytes.
///
/// Left alone, the kernel keeps what was written for half a minute and then writes all of it at once: of a
/// busy server 200 MB, behind which the store's next commit waited for 50 ms where these are on one disk.
const WRITEBACK: u64 = 1 << 20;

/// Where the audit log is kept, and how much of it.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// The file; `-`: standard output.
    pub path: PathBuf,
    /// Its size, in bytes, at which it is set aside.
    pub max_bytes: u64,
    /// How many files set aside are kept; 0: all.
    pub max_backups: usize,
    /// How long files set aside are kept; `None`: for ever.
    pub max_age: Option<Duration>,
    /// Whether files set aside are compressed.
    pub compress: bool,
}

impl LogFile {
    /// A file that is set aside at 100 MiB and kept for ever.
    pub fn new(path: PathBuf) -> Self {
        Self { path, max_bytes: 100 << 20, max_backups: 0, max_age: None, compress: false }
    }
}

/// The file, open.
pub(super) struct File {
    backups: Arc<Backups>,
    file: fs::File,
    bytes: u64,
    /// Up to where writing back was begun.
    begun: u64,
}

impl File {
    pub fn open(settings: &LogFile) -> io::Result<Self> {
        if settings.path == Path::new("-") {
            let file = fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let backups = Backups::new(LogFile { max_bytes: u64::MAX, ..settings.clone() });
            return Ok(Self { backups, file, bytes: 0, begun: 0 });
        }
        if let Some(directory) = settings.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append(&settings.path)?;
        let bytes = file.metadata()?.len();
        let backups = Backups::new(settings.clone());
        Ok(Self { backups, file, bytes, begun: bytes })
    }

    /// Writes events, each a line with its end; several at once where the file has room for all.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let most = self.backups.settings.max_bytes;
        if self.bytes + lines.len() as u64 <= most {
            return self.write(lines);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.bytes > 0 && self.bytes + line.len() as u64 > most {
                self.rotate()?;
            }
            self.write(line)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        if let Some(due) = self.due(WRITEBACK) {
            // A matter of speed only: what cannot, as standard output that is a pipe, does without.
            let _ = sys::begin_writeback(&self.file, due);
        }
        Ok(())
    }

    /// What is to be written back now: what came since the last time, where that is `least` bytes or more.
    fn due(&mut self, least: u64) -> Option<Range<u64>> {
        let due = self.begun..self.bytes;
        (due.end - due.start >= least).then(|| {
            self.begun = due.end;
            due
        })
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.backups.set_aside()?;
        self.file = append(&self.backups.settings.path)?;
        (self.bytes, self.begun) = (0, 0);
        self.backups.tidy().map(drop)
    }
}

/// Opens a file that nobody but its owner reads.
pub(super) fn append(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_due_once() {
        let directory = tempfile::tempdir().unwrap();
        let settings = LogFile { max_bytes: 30, ..LogFile::new(directory.path().join("audit.log")) };
        fs::write(&settings.path, "of before\n").unwrap();
        let mut file = File::open(&settings).unwrap();
        file.append(b"0123456789\n").unwrap();
        assert_eq!(file.due(12), None);
        assert_eq!(file.due(11), Some(10..21));
        assert_eq!(file.due(1), None);
        file.append(b"0123456789\n").unwrap();
        assert_eq!(file.due(1), Some(0..11), "of the next file");
    }

    #[test]
    fn a_full_file_is_set_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let settings = LogFile { max_bytes: 30, max_backups: 2, ..LogFile::new(path.clone()) };
        let mut file = File::open(&settings).unwrap();
        let line = |number: u32| format!("{{\"number\":{number}}}\n");
        for number in 0..6 {
            file.append(line(number).as_bytes()).unwrap();
        }
        file.append((6..10).map(line).collect::<String>().as_bytes()).unwrap();
        let names = || -> Vec<String> {
            let entries = fs::read_dir(directory.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names().len(), 3, "{:?}", names());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"number\":8}\n{\"number\":9}\n");
        drop(file);
        let aged = LogFile { max_age: Some(Duration::ZERO), ..settings };
        let mut file = File::open(&aged).unwrap();
        file.append(b"{\"number\":10}\n").unwrap();
        assert_eq!(names(), ["audit.log"]);
    }
}
