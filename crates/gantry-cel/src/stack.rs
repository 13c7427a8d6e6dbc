//! Room to recurse: expressions nest as deeply as their authors like.
//!
//! The generated parser takes some 170 KB of stack for a level of nesting in a debug build, of which
//! it allows 250, and 2 KB for each operator in a row. Whatever walks a tree that may be deep does so
//! in a thread with a stack for it; only the pages that are used cost memory.

use std::thread;

/// The stack of such a thread.
const STACK: usize = 128 << 20;

/// Trees of up to this depth are walked on the caller's stack.
const SHALLOW: usize = 48;

/// Trees deeper than this are refused.
pub(crate) const DEEPEST: usize = 2_000;

/// There was no room, or what was done there failed.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// What `work` returns, done in a thread with a large stack.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NoRoom> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("cel".to_owned()).stack_size(STACK);
        let thread = builder.spawn_scoped(scope, work).map_err(|_| NoRoom)?;
        thread.join().map_err(|_| NoRoom)
    })
}

/// What `work` returns, on the caller's stack where `depth` allows it.
pub(crate) fn for_depth<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Result<T, NoRoom> {
    if depth <= SHALLOW { Ok(work()) } else { deep(work) }
}
