//! A pod's own users and groups: numbers of the node's that no other pod has.
//!
//! What a pod was given is kept in a file of its directory, so it is the same after a restart of the agent and
//! free again when the directory is removed.

use std::{fs, io, path::Path};

use gantry_cri::v1::{IDMapping, NamespaceMode, UserNamespace};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::pod;

/// As many users has a pod, and as many groups.
const LENGTH: u32 = 65536;
/// The file in a pod's directory.
const FILE: &str = "userns";

/// The pod's numbers, as they are kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    uid_mappings: Vec<Range>,
    gid_mappings: Vec<Range>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// Whether the pod asks for users of its own.
pub fn are_own(pod: &Pod) -> bool {
    pod::spec(pod).host_users == Some(false)
}

/// The pod's users, as the runtime takes them. New ones are chosen beside those of the other pods below
/// `pods`; whoever calls sees to it that nobody else does at the same time.
pub fn of(pod: &Pod, pods: &Path) -> io::Result<UserNamespace> {
    if !are_own(pod) {
        return Ok(UserNamespace { mode: NamespaceMode::Node as i32, ..Default::default() });
    }
    let dir = pods.join(pod::uid(pod));
    let host_id = match read(&dir) {
        Some(known) => known,
        None => choose(&dir, pods)?,
    };
    let range = vec![IDMapping { host_id, container_id: 0, length: LENGTH }];
    Ok(UserNamespace { mode: NamespaceMode::Pod as i32, uids: range.clone(), gids: range })
}

fn read(dir: &Path) -> Option<u32> {
    let kept: Kept = gantry_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
    kept.uid_mappings.first().map(|range| range.host_id)
}

fn choose(dir: &Path, pods: &Path) -> io::Result<u32> {
    let others: Vec<u32> =
        fs::read_dir(pods).into_iter().flatten().filter_map(|other| read(&other.ok()?.path())).collect();
    // The first ones are the node's own.
    let mut starts = (1..u32::MAX / LENGTH).map(|block| block * LENGTH);
    let host_id = starts.find(|start| !others.contains(start));
    let host_id = host_id.ok_or_else(|| io::Error::other("all users of the node are given away"))?;
    let range = vec![Range { host_id, container_id: 0, length: LENGTH }];
    let kept = Kept { uid_mappings: range.clone(), gid_mappings: range };
    fs::create_dir_all(dir)?;
    let fresh = dir.join(format!("{FILE}.new"));
    fs::write(&fresh, gantry_json::to_vec(&kept)?)?;
    fs::rename(&fresh, dir.join(FILE))?;
    Ok(host_id)
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn every_pod_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let make = |uid: &str, host_users: bool| -> Pod {
            gantry_json::from_value(json!({"metadata": {"uid": uid},
                "spec": {"hostUsers": host_users, "containers": []}}))
            .unwrap()
        };
        let first = |pod: &Pod| of(pod, dir.path()).unwrap().uids.first().map(|range| range.host_id);
        assert_eq!(first(&make("a", true)), None);
        assert_eq!(first(&make("a", false)), Some(65536));
        assert_eq!(first(&make("b", false)), Some(131072));
        assert_eq!(first(&make("a", false)), Some(65536));
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        assert_eq!(first(&make("c", false)), Some(65536));
        assert_eq!(first(&make("b", false)), Some(131072));
    }
}
