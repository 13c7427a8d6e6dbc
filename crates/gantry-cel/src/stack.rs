//! Room to recurse: expressions nest as deeply as their authors like.
//!
//! The generated parser takes some 200 KB of stack for a level of nesting in a debug build, and an
//! expression of thousands of operators is a tree as deep. Whatever walks a tree that may be deep
//! does so in a thread with a stack for it; only the pages that are used cost memory.

use std::panic::resume_unwind;
use std::thread;

/// The stack of such a thread.
const STACK: usize = 512 << 20;

/// Trees of up to this depth are walked on the caller's stack.
pub(crate) const SHALLOW: usize = 24;

/// What `work` returns, done in a thread with a large stack.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    try_deep(work).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Like [`deep`], with a panic as an error.
pub(crate) fn try_deep<T: Send>(work: impl FnOnce() -> T + Send) -> thread::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("cel".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| Box::new(error) as _)
            .and_then(|thread| thread.join())
    })
}

/// What `work` returns, on the caller's stack where `depth` allows it.
pub(crate) fn for_depth<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> T {
    if depth <= SHALLOW { work() } else { deep(work) }
}
