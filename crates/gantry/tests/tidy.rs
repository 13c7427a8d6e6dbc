//! What a reviewer would otherwise have to check: dependency edges between crates, a doc on
//! every module, that ARCHITECTURE.md names the crates that exist, and that release builds find
//! their profile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each crate may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("gantry-json", &[]),
    ("gantry-api", &["gantry-json"]),
    ("gantry-store", &[]),
    ("gantry-cri", &[]),
    ("gantry-cel", &["gantry-json", "gantry-api"]),
    ("gantry-apiserver", &["gantry-json", "gantry-api", "gantry-store", "gantry-cel"]),
    ("gantry-client", &["gantry-json", "gantry-api"]),
    ("gantry-controllers", &["gantry-json", "gantry-api", "gantry-client"]),
    ("gantry-scheduler", &["gantry-json", "gantry-api", "gantry-client"]),
    ("gantry-kubelet", &["gantry-json", "gantry-api", "gantry-client", "gantry-cri"]),
    ("gantry-runtime", &["gantry-json", "gantry-cri"]),
    ("gantry-network", &["gantry-json", "gantry-api", "gantry-client"]),
    ("gantry-dns", &["gantry-json", "gantry-api", "gantry-client"]),
];

/// Crates that wire others together and may depend on any.
const WIRING: &[&str] = &["gantry", "gantry-testing", "xtask"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").to_owned()
}

fn crates() -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<_, _> = fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    found.insert("xtask".into(), root().join("xtask"));
    found
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (name, path) in crates() {
        if WIRING.contains(&name.as_str()) {
            continue;
        }
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in ALLOWED"));
        let manifest = fs::read_to_string(path.join("Cargo.toml")).expect("Cargo.toml");
        let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        for line in section.lines().filter(|line| line.starts_with("gantry-")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(may.contains(&dependency), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn every_module_says_why_it_exists() {
    let mut missing = Vec::new();
    for path in crates().values() {
        let mut files = Vec::new();
        sources(&path.join("src"), &mut files);
        sources(&path.join("tests"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("source");
            let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
            if !first.is_some_and(|line| line.starts_with("//!")) {
                missing.push(file);
            }
            assert!(!text.contains(concat!("TO", "DO")), "unfinished work in the source");
        }
    }
    assert!(missing.is_empty(), "no module doc: {missing:#?}");
}

#[test]
fn architecture_names_the_crates_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let named: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("gantry") || *name == "xtask")
        .map(str::to_owned)
        .collect();
    let exist: BTreeSet<_> = crates().into_keys().collect();
    assert_eq!(named, exist);
}

#[test]
fn release_builds_find_their_profile() {
    let flags = Command::new(root().join("hack/profile.sh")).env_remove("RUSTFLAGS").output().expect("run");
    assert!(flags.status.success(), "{}", String::from_utf8_lossy(&flags.stderr));
    let flags = String::from_utf8(flags.stdout).expect("text");
    let profile = flags.trim().strip_prefix("-Cprofile-use=").expect("one flag");
    // As LLVM begins its profiles.
    assert!(fs::read(profile).expect(profile).starts_with(b"\xfflprofi\x81"));
}
