//! Writing back a part of a file. All unsafe code of this crate is here.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{SYNC_FILE_RANGE_WRITE, off64_t, sync_file_range};

/// Has the kernel begin to write these bytes of the file to disk, and does not wait until they are there.
/// Says nothing of durability; a pipe refuses it.
pub(super) fn begin_writeback(file: &File, bytes: Range<u64>) -> io::Result<()> {
    let (offset, count) = (bytes.start as off64_t, (bytes.end - bytes.start) as off64_t);
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is handed over.
    let done = unsafe { sync_file_range(file.as_raw_fd(), offset, count, SYNC_FILE_RANGE_WRITE) };
    Ok(Errno::result(done).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_back_and_a_pipe_is_not() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        begin_writeback(&file, 0..8192).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        assert_eq!(begin_writeback(&pipe, 0..8192).unwrap_err().raw_os_error(), Some(Errno::ESPIPE as i32));
    }
}
