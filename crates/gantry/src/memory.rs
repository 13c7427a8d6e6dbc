//! Memory that is not needed any more. All unsafe code of this crate is here.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

/// How often a thread gives back memory at most.
const TIDYING: Duration = Duration::from_secs(10);

/// A runtime for a process that goes on for long: its threads give back the memory that they do not need
/// any more when they have nothing to do. The allocator by itself does so only while it is used.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_park(tidy).build()
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
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let ours = maps.lines().filter(|line| line.ends_with(&*program.to_string_lossy()));
    // Code, and constants: the first mapping. Others have been written to by the loader.
    for (_, line) in ours.enumerate().filter(|(at, line)| *at == 0 || line.contains(" r-xp ")) {
        let range = line.split([' ', '-']).take(2).map(|end| usize::from_str_radix(end, 16));
        let [start, end] = range.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?[..] else {
            continue;
        };
        // SAFETY: the mapping is of a file, private and never written to, since it cannot be: what is
        // read from it afterwards is what was there.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
    Ok(())
}
