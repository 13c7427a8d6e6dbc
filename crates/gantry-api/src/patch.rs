//! Changing objects: JSON patch, merge patch, strategic merge patch, and server-side apply.

pub mod apply;
mod fields;
mod json;
mod layout;
mod merge;
mod strategic;
mod typed;

pub use fields::FieldSet;
pub use json::{JsonPatchFault, json_patch, json_patch_findings, json_patch_operations, json_patch_steps};
#[cfg(test)]
pub(crate) use merge::merge;
pub use merge::merge_patch;
pub use strategic::strategic_merge;
