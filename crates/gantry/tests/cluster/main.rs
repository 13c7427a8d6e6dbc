//! Whole clusters: the real binary runs real containers in a network namespace of the test's own,
//! and kubectl drives it.

mod clients;
mod cluster;
mod guestbook;
mod join;
mod load;
mod operations;
mod takeover;
