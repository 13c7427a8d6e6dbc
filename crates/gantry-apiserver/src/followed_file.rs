//! A configuration file that is read again when it changes, however it is replaced: written in place, renamed
//! over, or behind a symbolic link of a mounted ConfigMap.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// A file and what was in it last.
pub(crate) struct FollowedFile {
    path: PathBuf,
    last: Vec<u8>,
}

impl FollowedFile {
    /// The file at `path`, in which `last` was read.
    pub fn new(path: &Path, last: &[u8]) -> Self {
        Self { path: path.to_owned(), last: last.to_owned() }
    }

    /// Hands every new content to `changed`. Ends only with an error.
    pub async fn follow(mut self, mut changed: impl FnMut(&str)) -> std::io::Result<()> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        #[allow(
            deprecated,
            reason = "an OwnedFd keeps its descriptor, which is all the unsafe constructor asks for"
        )]
        let readiness = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let flags = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
        inotify.add_watch(directory, flags)?;
        loop {
            // What changed before the watch began counts too.
            self.look(&mut changed);
            let mut ready = readiness.readable().await?;
            // Which file changed does not matter: its content tells.
            while inotify.read_events().is_ok() {}
            ready.clear_ready();
        }
    }

    fn look(&mut self, changed: &mut impl FnMut(&str)) {
        // A file that is being replaced is there again with the next event.
        let Ok(now) = std::fs::read(&self.path) else { return };
        if now == self.last {
            return;
        }
        self.last = now;
        match std::str::from_utf8(&self.last) {
            Ok(text) if !text.trim().is_empty() => changed(text),
            // Opened for writing, and not written yet.
            Ok(_) => {}
            Err(error) => tracing::error!(%error, path = %self.path.display(), "a configuration is no text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn every_way_to_replace_a_file_counts() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("c"), "one").unwrap();
        let (tx, mut rx) = mpsc::unbounded_channel();
        let file = FollowedFile::new(&at("c"), b"zero");
        let following = tokio::spawn(file.follow(move |text| drop(tx.send(text.to_owned()))));
        let mut next = async || rx.recv().await.unwrap();
        assert_eq!(next().await, "one");
        std::fs::write(at("c"), "two").unwrap();
        assert_eq!(next().await, "two");
        std::fs::write(at("other"), "three").unwrap();
        std::fs::rename(at("other"), at("c")).unwrap();
        assert_eq!(next().await, "three");
        for (data, text) in [("data1", "four"), ("data2", "five")] {
            std::fs::create_dir(at(data)).unwrap();
            std::fs::write(at(data).join("c"), text).unwrap();
        }
        std::os::unix::fs::symlink("data1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/c", at("link")).unwrap();
        std::fs::rename(at("link"), at("c")).unwrap();
        assert_eq!(next().await, "four");
        std::os::unix::fs::symlink("data2", at("..next")).unwrap();
        std::fs::rename(at("..next"), at("..data")).unwrap();
        assert_eq!(next().await, "five");
        following.abort();
    }
}
