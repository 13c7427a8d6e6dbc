//! Authentication: who is asking.
