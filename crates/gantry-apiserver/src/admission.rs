//! Admission plugins: what may change or refuse a write.
