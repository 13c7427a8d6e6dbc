//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions that refuse and change writes, as
//! objects of `admissionregistration.k8s.io` say.
//!
//! Flow: policies and their bindings are followed in memory, with their expressions compiled. Each policy
//! that a request meets is asked once for each of its bindings that the request meets, and for each of the
//! binding's parameters. Errors: an expression that fails, or a binding that cannot be followed, refuses the
//! write or does not, as the policy's `failurePolicy` says. What expressions cost is limited.

mod base;
mod binding;
mod index;
mod mutating;
mod mutation;
mod policy;
pub(crate) mod status;
mod type_check;
mod validating;

use gantry_json::Value;

pub(super) use mutating::MutatingAdmissionPolicy;
pub(super) use validating::ValidatingAdmissionPolicy;

/// The texts of a list, where it is one.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
