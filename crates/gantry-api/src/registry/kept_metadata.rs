//! What of an object's metadata an update of its status leaves as it is. Who writes a status may note
//! something beside it, in annotations for instance; some kinds keep the two apart.

/// What of the metadata an update of the status leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptMetadata {
    /// Only what no update changes.
    Nothing,
    /// The labels.
    Labels,
    /// The owners.
    OwnerReferences,
    /// All of it.
    All,
}

impl KeptMetadata {
    /// That of a built-in kind.
    pub(super) fn of(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("apps", "Deployment") => Self::Labels,
            ("", "Pod") => Self::OwnerReferences,
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
            | ("apiregistration.k8s.io", "APIService")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("resource.k8s.io", "ResourceClaim")
            | ("storage.k8s.io", "VolumeAttachment") => Self::All,
            _ => Self::Nothing,
        }
    }

    /// Whether that field of the metadata is left as it is.
    pub fn keeps(self, field: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Labels => field == "labels",
            Self::OwnerReferences => field == "ownerReferences",
            Self::All => true,
        }
    }
}
