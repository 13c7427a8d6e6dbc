//! The part of an object that the server looks at without parsing the rest: its metadata,
//! read once from the bytes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Metadata of a stored object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Identity of this incarnation.
    pub uid: String,
    /// The revision that wrote it.
    pub resource_version: String,
    /// Counts changes of the desired state.
    pub generation: i64,
    /// When it was created, RFC 3339.
    pub creation_timestamp: String,
    /// When it was asked to be deleted, RFC 3339.
    pub deletion_timestamp: Option<String>,
    /// Labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
    /// What must happen before it may go.
    pub finalizers: Vec<String>,
}

/// An owner of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// The owner's group and version.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
    /// Whether the owner manages the object.
    pub controller: bool,
    /// Whether the owner's foreground deletion waits for the object.
    pub block_owner_deletion: bool,
}

impl Header {
    /// Reads the metadata of the object in `json`, skipping everything else.
    pub fn parse(json: &[u8]) -> Result<Self, gantry_json::Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: Header,
        }
        gantry_json::from_slice::<Object>(json).map(|object| object.metadata)
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_and_the_rest_skipped() {
        let json = br#"{"kind":"Pod","spec":{"x":[1,{"metadata":{"name":"inner"}}]},"metadata":{"name":"a","namespace":"b",
            "uid":"u","resourceVersion":"7","generation":2,"labels":{"k":"v"},"managedFields":[{"manager":"m"}],
            "ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"w","controller":true}]}}"#;
        let header = Header::parse(json).expect("parses");
        assert_eq!((header.name.as_str(), header.resource_version.as_str()), ("a", "7"));
        assert_eq!(header.labels.get("k").map(|value| &**value), Some("v"));
        assert_eq!(header.controller().map(|owner| owner.uid.as_str()), Some("w"));
        assert_eq!(Header::parse(b"{}").expect("parses"), Header::default());
        assert!(Header::parse(b"{").is_err());
    }
}
