//! Service account tokens.
