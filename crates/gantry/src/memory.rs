//! Where memory comes from, and how what is not needed goes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gantry_store::Pace;

/// mimalloc by its quick way: the ones for alignments, which its crate always takes, are only for what is
/// aligned to more than every allocation is.
pub struct Allocator;

/// What mimalloc aligns all that is not smaller to.
const ALIGNMENT: usize = 16;

fn is_usual(layout: Layout) -> bool {
    layout.align() <= ALIGNMENT && layout.align() <= layout.size()
}

// SAFETY: the functions do what the trait asks for, with memory of one allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and every power of two may be asked for.
        unsafe {
            match is_usual(layout) {
                true => libmimalloc_sys::mi_malloc(layout.size()).cast(),
                false => libmimalloc_sys::mi_malloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match is_usual(layout) {
                true => libmimalloc_sys::mi_zalloc(layout.size()).cast(),
                false => libmimalloc_sys::mi_zalloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: the caller has it from this allocator.
        unsafe { libmimalloc_sys::mi_free(pointer.cast()) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let usual = layout.align() <= ALIGNMENT && layout.align() <= size;
        // SAFETY: the caller has it from this allocator.
        unsafe {
            match usual {
                true => libmimalloc_sys::mi_realloc(pointer.cast(), size).cast(),
                false => libmimalloc_sys::mi_realloc_aligned(pointer.cast(), size, layout.align()).cast(),
            }
        }
    }
}

/// How often a thread gives back memory at most.
const TIDYING: Duration = Duration::from_secs(10);

/// A runtime for a process that goes on for long and takes little: the program's pages come when they are
/// used, and threads that have nothing to do give back what they do not need any more. The allocator by
/// itself does so only while it is used. The store hears by `pace` whether they have anything to do.
pub fn runtime(pace: &Arc<Pace>) -> io::Result<tokio::runtime::Runtime> {
    map_page_by_page();
    let (resting, going_on) = (pace.clone(), pace.clone());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(move || {
            resting.rest();
            tidy();
        })
        .on_thread_unpark(move || going_on.go_on())
        .build()
}

fn tidy() {
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if LAST.get().is_none_or(|last| now - last >= TIDYING) {
        LAST.set(Some(now));
        // SAFETY: it may be called at any time, and concerns what is free only.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}

/// How long a process of many parts takes to start, with room.
const START: Duration = Duration::from_secs(10);

/// As [`forget_start`], once everything in this process has started.
pub async fn forget_start_later() {
    tokio::time::sleep(START).await;
    forget_start();
}

/// Gives back the program's pages that only its start needed. What is needed again comes back from the
/// kernel's file cache, where it is for the other processes of the same program.
pub fn forget_start() {
    if let Err(error) = forget() {
        // Memory is all that it is about.
        tracing::debug!(%error, "pages that only the start needed are kept");
    }
}

fn forget() -> io::Result<()> {
    for Range { start, length } in program()? {
        // SAFETY: the mapping is of a file, private and never written to, since it cannot be: what is
        // read from it afterwards is what was there.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// Has the program's pages mapped one by one, when they are used.
///
/// By itself the kernel maps the fifteen pages around as well, of which a large program uses few: what an
/// idle process had in memory was for two thirds code that it had never run. A range that somebody wants
/// to hear of writes to is left out of that, and nobody can write to this one. Linux has it from 6.7 on
/// (`UFFD_FEATURE_WP_ASYNC`); elsewhere everything stays as it is.
pub fn map_page_by_page() {
    /// As long as it is open, the ranges are watched.
    static WATCH: OnceLock<OwnedFd> = OnceLock::new();
    match watch_writes() {
        Ok(watch) => drop(WATCH.set(watch)),
        Err(error) => tracing::debug!(%error, "the program's pages are mapped in groups"),
    }
}

fn watch_writes() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | USER_MODE_ONLY;
    // SAFETY: the call takes flags only; what it returns is a new file descriptor or an error.
    let watch = unsafe {
        let fd = libc::syscall(libc::SYS_userfaultfd, flags);
        OwnedFd::from_raw_fd(
            RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?,
        )
    };
    let mut api = Api { version: API_VERSION, features: WRITES_WITHOUT_WAITING, calls: 0 };
    // SAFETY: the structure is the one that the call takes.
    unsafe { uffdio_api(watch.as_raw_fd(), &raw mut api) }?;
    for range in program()? {
        let mut register = Register { range, mode: WRITES, calls: 0 };
        // SAFETY: likewise. It changes nothing about what the mapping holds.
        unsafe { uffdio_register(watch.as_raw_fd(), &raw mut register) }?;
    }
    Ok(watch)
}

// From Linux' `userfaultfd.h`.
const USER_MODE_ONLY: i32 = 1;
const API_VERSION: u64 = 0xaa;
const WRITES_WITHOUT_WAITING: u64 = 1 << 15;
const WRITES: u64 = 1 << 1;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    calls: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    calls: u64,
}

/// Where a part of the program is in memory, in bytes.
#[repr(C)]
struct Range {
    start: usize,
    length: usize,
}

nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, Api);
nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, Register);

/// The program's code and constants, as they are mapped.
fn program() -> io::Result<Vec<Range>> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let ours = maps.lines().filter(|line| line.ends_with(&*program.to_string_lossy()));
    // Code, and constants: the first mapping. Others have been written to by the loader.
    let ours = ours.enumerate().filter(|(at, line)| *at == 0 || line.contains(" r-xp "));
    ours.map(|(_, line)| {
        let mut ends = line.split([' ', '-']).map(|end| usize::from_str_radix(end, 16));
        let mut end = || ends.next().unwrap_or(Ok(0)).map_err(io::Error::other);
        let start = end()?;
        Ok(Range { start, length: end()?.saturating_sub(start) })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_knows_where_it_is() {
        let here = the_program_knows_where_it_is as fn() as usize;
        let ranges = program().unwrap();
        assert!(ranges.iter().any(|range| (range.start..range.start + range.length).contains(&here)));
        // Its pages may go at any time.
        map_page_by_page();
        forget().unwrap();
        assert!(!program().unwrap().is_empty());
    }
}
