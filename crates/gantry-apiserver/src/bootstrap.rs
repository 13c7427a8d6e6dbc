//! The objects that every cluster starts with.
