//! Audit logs set aside: their names, how many of them stay, and compressing them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::LogFile;
use super::file::append;

/// What the name of a compressed log ends in.
const COMPRESSED: &str = ".gz";

/// The logs set aside of one file.
pub(super) struct Backups {
    pub settings: LogFile,
    /// Held by whoever removes and compresses.
    turn: Mutex<()>,
}

/// The files of one log set aside. Both exist only while it is compressed, or where that was cut off.
#[derive(Default)]
struct Aside {
    plain: Option<PathBuf>,
    compressed: Option<PathBuf>,
    modified: Option<SystemTime>,
}

impl Backups {
    pub fn new(settings: LogFile) -> Arc<Self> {
        Arc::new(Self { settings, turn: Mutex::default() })
    }

    /// Sets the file aside under the time.
    pub fn set_aside(&self) -> io::Result<()> {
        let path = &self.settings.path;
        let (prefix, suffix) = self.names();
        let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string();
        let aside = |count: usize| match count {
            0 => path.with_file_name(format!("{prefix}{time}{suffix}")),
            more => path.with_file_name(format!("{prefix}{time}-{more}{suffix}")),
        };
        let taken = |path: &PathBuf| path.exists() || compressed(path).exists();
        (0..).map(aside).find(|path| !taken(path)).map_or(Ok(()), |free| fs::rename(path, free))
    }

    /// Removes what is too much or too old and compresses the rest, if that is wanted: in a thread then,
    /// which is returned, as nobody should wait for it.
    pub fn tidy(self: &Arc<Self>) -> io::Result<Option<JoinHandle<()>>> {
        if !self.settings.compress {
            return self.prune().map(|()| None);
        }
        let backups = self.clone();
        let work = move || {
            let _turn = backups.turn.lock();
            if let Err(error) = backups.prune().and_then(|()| backups.compress()) {
                let path = backups.settings.path.display();
                tracing::error!(%error, %path, "audit logs set aside could not be compressed");
            }
        };
        Builder::new().name("audit-backups".into()).spawn(work).map(Some)
    }

    /// What the names of files set aside begin and end with.
    fn names(&self) -> (String, String) {
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let suffix = match part(self.settings.path.extension()).as_str() {
            "" => String::new(),
            extension => format!(".{extension}"),
        };
        (format!("{}-", part(self.settings.path.file_stem())), suffix)
    }

    /// What is set aside, by the time in its name.
    fn list(&self) -> io::Result<BTreeMap<String, Aside>> {
        let (prefix, suffix) = self.names();
        let mut aside: BTreeMap<String, Aside> = BTreeMap::new();
        let Some(directory) = self.settings.path.parent() else { return Ok(aside) };
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (plain, compressed) = match name.strip_suffix(COMPRESSED) {
                Some(plain) => (plain, true),
                None => (name.as_str(), false),
            };
            let time = plain.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&suffix));
            let Some(time) = time.filter(|time| time.starts_with(|c: char| c.is_ascii_digit())) else {
                continue;
            };
            let found = aside.entry(time.to_owned()).or_default();
            let place = if compressed { &mut found.compressed } else { &mut found.plain };
            *place = Some(entry.path());
            found.modified = found.modified.max(Some(entry.metadata()?.modified()?));
        }
        Ok(aside)
    }

    /// Removes files set aside that are too many or too old.
    fn prune(&self) -> io::Result<()> {
        let keep = if self.settings.max_backups == 0 { usize::MAX } else { self.settings.max_backups };
        for (at, aside) in self.list()?.into_values().rev().enumerate() {
            let age = aside.modified.and_then(|then| SystemTime::now().duration_since(then).ok());
            let old = self.settings.max_age.is_some_and(|most| age.unwrap_or_default() > most);
            if at >= keep || old {
                aside.plain.into_iter().chain(aside.compressed).try_for_each(fs::remove_file)?;
            }
        }
        Ok(())
    }

    /// Compresses what is not yet. Of what was cut off while that was done both files exist: it is done anew.
    fn compress(&self) -> io::Result<()> {
        for plain in self.list()?.into_values().filter_map(|aside| aside.plain) {
            let mut source = fs::File::open(&plain)?;
            let target = append(&compressed(&plain))?;
            target.set_len(0)?;
            let mut encoder = GzEncoder::new(target, Compression::default());
            io::copy(&mut source, &mut encoder)?;
            let mut target = encoder.finish()?;
            target.flush()?;
            // Its age is that of what it holds.
            target.set_modified(source.metadata()?.modified()?)?;
            target.sync_all()?;
            fs::remove_file(plain)?;
        }
        Ok(())
    }
}

/// The name of a log once it is compressed.
fn compressed(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_set_aside_is_compressed_even_when_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let name = |rest: &str| directory.path().join(format!("audit-2026-01-0{rest}"));
        fs::write(name("1T00-00-00.000.log.gz"), "the oldest goes").unwrap();
        fs::write(name("2T00-00-00.000.log"), "cut off").unwrap();
        fs::write(name("2T00-00-00.000.log.gz"), "what there was of it, which is longer").unwrap();
        fs::write(directory.path().join("audit-of-mine.log"), "no log").unwrap();
        fs::write(&path, "new").unwrap();
        let settings = LogFile { compress: true, max_backups: 2, ..LogFile::new(path.clone()) };
        let backups = Backups::new(settings);
        backups.set_aside().unwrap();
        backups.tidy().unwrap().expect("a thread").join().unwrap();
        let read = |aside: &Aside| {
            let mut text = String::new();
            let file = fs::File::open(aside.compressed.as_ref().unwrap()).unwrap();
            GzDecoder::new(file).read_to_string(&mut text).unwrap();
            text
        };
        let kept = backups.list().unwrap();
        assert_eq!(kept.values().map(read).collect::<Vec<_>>(), ["cut off", "new"]);
        assert!(kept.values().all(|aside| aside.plain.is_none()));
        assert!(!path.exists() && directory.path().join("audit-of-mine.log").exists());
    }
}
