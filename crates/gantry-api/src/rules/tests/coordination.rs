//! Kinds of `coordination.k8s.io`.

use gantry_json::json;

use super::fixtures::{change_of, created, minimal, refused};
use crate::rules::common::QUALIFIED_NAME;

#[test]
fn lease() {
    let check = |spec, expected: &[&str]| refused("Lease", json!({"spec": spec}), expected);
    check(json!({"holderIdentity": "a", "leaseDurationSeconds": 1, "leaseTransitions": 0}), &[]);
    check(
        json!({"leaseDurationSeconds": 0, "leaseTransitions": -1}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    check(
        json!({"preferredHolder": "a"}),
        &["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
    );
    check(json!({"strategy": "OldestEmulationVersion", "preferredHolder": "a"}), &[]);
    check(json!({"strategy": "example.com/Mine"}), &[]);
    check(
        json!({"strategy": "Newest"}),
        &[
            "spec.strategy.strategy: Unsupported value: \"Newest\": supported values: \"OldestEmulationVersion\"",
        ],
    );
    check(
        json!({"strategy": "a/b c"}),
        &[&format!("spec.strategy.strategy: Invalid value: \"a/b c\": {QUALIFIED_NAME}")],
    );
}

#[test]
fn lease_candidate() {
    let old = created(minimal("LeaseCandidate"));
    change_of(
        old,
        json!({"spec": {"leaseName": "other"}}),
        &["spec.leaseName: Invalid value: \"other\": field is immutable"],
    );
    refused("LeaseCandidate", json!({"metadata": {"name": "A_b"}}), &[]);
    refused(
        "LeaseCandidate",
        json!({"spec": {"binaryVersion": "x"}}),
        &[
            "spec.binaryVersion: Invalid value: \"x\": must be a valid semantic version",
            "spec.binaryVersion: Invalid value: \"x\": must be greater than or equal to `emulationVersion`",
        ],
    );
}
