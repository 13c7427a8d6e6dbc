//! Debian packages: downloaded once, unpacked to a tree per image.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::output;

/// The cache of packages.
pub struct Packages {
    dir: PathBuf,
}

impl Packages {
    /// Keeps packages in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: fs::canonicalize(dir)? })
    }

    /// The unpacked packages `roots` with those of their dependencies whose names start with one of
    /// `prefixes`.
    pub fn tree(&self, image: &str, roots: &[&str], prefixes: &[&str]) -> Result<PathBuf> {
        let tree = self.dir.join(image);
        if tree.is_dir() {
            return Ok(tree);
        }
        let mut names: BTreeSet<String> = roots.iter().map(ToString::to_string).collect();
        if !prefixes.is_empty() {
            names.extend(
                dependencies(roots)?.into_iter().filter(|n| prefixes.iter().any(|p| n.starts_with(p))),
            );
        }
        let partial = self.dir.join(format!("{image}.partial"));
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(partial.join("tree"))?;
        for name in &names {
            // As the superuser apt would drop to a user that cannot write here, and warn about it.
            let args = ["-o", "APT::Sandbox::User=root", "download", "-q", name];
            output("apt-get", &args, Some(&partial))
                .with_context(|| format!("download package {name} (needs the network the first time)"))?;
        }
        for entry in fs::read_dir(&partial)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "deb") {
                let text = path.display().to_string();
                output("dpkg-deb", &["-x", &text, &partial.join("tree").display().to_string()], None)?;
            }
        }
        fs::rename(partial.join("tree"), &tree)?;
        fs::remove_dir_all(&partial)?;
        Ok(tree)
    }
}

fn dependencies(roots: &[&str]) -> Result<BTreeSet<String>> {
    let mut args = vec!["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts"];
    args.extend(["--no-breaks", "--no-replaces", "--no-enhances"]);
    args.extend(roots);
    let text = output("apt-cache", &args, None)?;
    // Names at the start of a line are packages; virtual ones are in angle brackets.
    Ok(text
        .lines()
        .filter(|line| !line.starts_with([' ', '<', '|']))
        .map(|line| line.split(':').next().unwrap_or(line).to_owned())
        .collect())
}
