//! Versions whose objects differ in nothing but what version they say they are: they are kept in the form of
//! another one.

use super::common::set_version;
use crate::registry::Stored;

/// The form of a resource of `$version` that is kept as one of `$kept`.
macro_rules! kept_as {
    ($group:literal, $plural:literal, $version:literal, $kept:literal) => {
        Stored {
            group: $group,
            plural: $plural,
            pack: |object| set_version(object, concat!($group, "/", $kept)),
            unpack: |object| set_version(object, concat!($group, "/", $version)),
            fields: &[],
        }
    };
}

/// MutatingAdmissionPolicy of v1alpha1.
pub const MUTATING_ADMISSION_POLICY: Stored =
    kept_as!("admissionregistration.k8s.io", "mutatingadmissionpolicies", "v1alpha1", "v1beta1");
/// MutatingAdmissionPolicyBinding of v1alpha1.
pub const MUTATING_ADMISSION_POLICY_BINDING: Stored =
    kept_as!("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "v1alpha1", "v1beta1");
/// LeaseCandidate of v1alpha2.
pub const LEASE_CANDIDATE: Stored = kept_as!("coordination.k8s.io", "leasecandidates", "v1alpha2", "v1beta1");
/// IPAddress of v1beta1.
pub const IP_ADDRESS: Stored = kept_as!("networking.k8s.io", "ipaddresses", "v1beta1", "v1");
/// ServiceCIDR of v1beta1.
pub const SERVICE_CIDR: Stored = kept_as!("networking.k8s.io", "servicecidrs", "v1beta1", "v1");
/// VolumeAttributesClass of v1beta1.
pub const VOLUME_ATTRIBUTES_CLASS: Stored =
    kept_as!("storage.k8s.io", "volumeattributesclasses", "v1beta1", "v1");
/// ResourceClaim of v1beta2.
pub const RESOURCE_CLAIM: Stored = kept_as!("resource.k8s.io", "resourceclaims", "v1beta2", "v1");
/// ResourceClaimTemplate of v1beta2.
pub const RESOURCE_CLAIM_TEMPLATE: Stored =
    kept_as!("resource.k8s.io", "resourceclaimtemplates", "v1beta2", "v1");
/// DeviceClass of v1beta2.
pub const DEVICE_CLASS: Stored = kept_as!("resource.k8s.io", "deviceclasses", "v1beta2", "v1");
/// ResourceSlice of v1beta2.
pub const RESOURCE_SLICE: Stored = kept_as!("resource.k8s.io", "resourceslices", "v1beta2", "v1");
