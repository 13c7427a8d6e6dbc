//! Variables from files in a pod's volumes: `NAME='value'`, as an init container may write them.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use k8s_openapi::api::core::v1::{FileKeySelector, Pod};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::{pod, volumes};

/// The longest name of a variable.
const NAME_LIMIT: usize = 128;
/// The longest value.
const VALUE_LIMIT: usize = 32 << 10;
/// As much of a file is read.
const FILE_LIMIT: u64 = 1 << 20;

/// The variable that `selector` names, from the pod's volume below `pod_dir`; `None` when it is optional and
/// not there. An error is the message of `CreateContainerConfigError`.
pub fn read(pod_dir: &Path, pod: &Pod, selector: &FileKeySelector) -> Result<Option<String>, String> {
    let (key, volume) = (&selector.key, &selector.volume_name);
    if key.len() > NAME_LIMIT {
        return Err(format!(
            "environment variable key {key:?} exceeds maximum length of {NAME_LIMIT} characters"
        ));
    }
    let found = pod::spec(pod).volumes.iter().flatten().find(|v| v.name == *volume);
    let root = found.filter(|v| v.empty_dir.is_some()).and_then(|v| volumes::path(pod_dir, v));
    let root = root.ok_or_else(|| format!("cannot find the volume {volume:?} referenced by FileKeyRef"))?;
    let optional = selector.optional == Some(true);
    let value = match contents(&root, &selector.path) {
        Ok(text) => value(&text, key),
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let value = value.map_err(|error| {
        tracing::warn!(volume, path = selector.path, error, "a file of variables is not understood");
        "couldn't parse env file".to_owned()
    })?;
    match value.filter(|value| !value.is_empty()) {
        Some(value) if value.len() > VALUE_LIMIT => Err(format!(
            "environment variable value for key {key:?} exceeds maximum size of {VALUE_LIMIT} bytes"
        )),
        Some(value) => Ok(Some(value)),
        None if optional => Ok(None),
        None => Err(format!("environment variable key {key:?} not found in file")),
    }
}

/// Reads a regular file of the volume; links lead nowhere out of it.
fn contents(root: &Path, path: &str) -> io::Result<String> {
    let root = fs::File::open(root)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = fs::File::from(openat2(&root, path, how)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// The value of `key`, from the first line that sets it. All lines before that one have to be valid: blank, a
/// comment, or a name and a value in single quotes, in which everything stands for itself, line breaks too.
fn value(text: &str, key: &str) -> Result<Option<String>, String> {
    let invalid =
        |line: usize, why: &str| Err(format!("invalid environment variable format at line {line}: {why}"));
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, rest)) = line.split_once('=') else { return invalid(number, "missing '='") };
        if name.trim_end_matches([' ', '\t']).is_empty() {
            return invalid(number, "empty variable name");
        }
        if name.ends_with([' ', '\t']) {
            return invalid(number, "whitespace before '=' is not allowed");
        }
        // As a shell has it: what follows a blank is not the value any more.
        if rest.starts_with([' ', '\t']) {
            if name == key {
                return Ok(Some(String::new()));
            }
            continue;
        }
        let Some(mut rest) = rest.strip_prefix('\'') else {
            return invalid(number, "value must be enclosed in single quotes");
        };
        let mut value = String::new();
        let mut last = number;
        let after = loop {
            if let Some((end, after)) = rest.split_once('\'') {
                value.push_str(end);
                break after.trim_start_matches([' ', '\t']);
            }
            value.push_str(rest);
            value.push('\n');
            match lines.next() {
                Some(next) => (last, rest) = next,
                None => return invalid(number, "unclosed single quote"),
            }
        };
        if !after.is_empty() && !after.starts_with('#') {
            return invalid(last, "unexpected content after closing quote");
        }
        if name == key {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_single_quotes() {
        for (text, expect) in [
            ("A='1'\nB='2'\n", Ok(Some("2"))),
            ("# B='1'\n\n  B='x # \"$(C)\\n' # comment", Ok(Some("x # \"$(C)\\n"))),
            ("B='one\n two\n'", Ok(Some("one\n two\n"))),
            ("B= 'x'", Ok(Some(""))),
            ("A='1'", Ok(None)),
            ("B='1'\nB='2'", Ok(Some("1"))),
            ("B=1", Err("line 1: value must be enclosed in single quotes")),
            ("A='1'\nB ='1'", Err("line 2: whitespace before '=' is not allowed")),
            ("B", Err("line 1: missing '='")),
            ("='1'", Err("line 1: empty variable name")),
            ("B='1", Err("line 1: unclosed single quote")),
            ("A='1\n2'x\nB='1'", Err("line 2: unexpected content after closing quote")),
        ] {
            let expect = expect
                .map(|v| v.map(String::from))
                .map_err(|e| format!("invalid environment variable format at {e}"));
            assert_eq!(value(text, "B"), expect, "{text}");
        }
    }

    #[test]
    fn only_files_of_the_volume_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pod: Pod = gantry_json::from_value(gantry_json::json!({"spec": {"containers": [],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/etc"}}]}}))
        .unwrap();
        let root = dir.path().join("volumes/kubernetes.io~empty-dir/v");
        fs::create_dir_all(&root).unwrap();
        fs::write(dir.path().join("out"), "K='secret'").unwrap();
        fs::write(root.join("in"), "K='1'").unwrap();
        std::os::unix::fs::symlink(dir.path().join("out"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("in", root.join("inner")).unwrap();
        for (volume, path, key, optional, expect) in [
            ("v", "in", "K", false, Ok(Some("1"))),
            ("v", "inner", "K", false, Ok(Some("1"))),
            ("v", "in", "L", true, Ok(None)),
            ("v", "in", "L", false, Err("environment variable key \"L\" not found in file")),
            ("v", "link", "K", false, Err("couldn't parse env file")),
            ("v", "absent", "K", false, Err("couldn't parse env file")),
            ("v", "absent", "K", true, Ok(None)),
            ("h", "passwd", "K", false, Err("cannot find the volume \"h\" referenced by FileKeyRef")),
        ] {
            let selector = FileKeySelector {
                volume_name: volume.into(),
                path: path.into(),
                key: key.into(),
                optional: Some(optional),
            };
            let found = read(dir.path(), &pod, &selector);
            assert_eq!(
                found,
                expect.map(|v| v.map(String::from)).map_err(String::from),
                "{volume} {path} {key}"
            );
        }
    }
}
