//! Import of image archives: `docker save` files and OCI layouts, plain or compressed.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::{ImageRecord, ImageStore, full_name, unpack::decompressed};
use crate::error::{Result, RuntimeError};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The architecture of this machine as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl ImageStore {
    /// Adds every image in the archive at `path`.
    pub fn import(&self, path: &Path) -> Result<Vec<ImageRecord>> {
        let tmp = self.tmp_path();
        fs::create_dir_all(&tmp).map_err(RuntimeError::path("create", &tmp))?;
        let result = extract(path, &tmp)
            .map_err(|e| RuntimeError::image(path.display(), e))
            .and_then(|()| self.import_dir(path, &tmp));
        let _ = fs::remove_dir_all(&tmp);
        result
    }

    fn import_dir(&self, archive: &Path, dir: &Path) -> Result<Vec<ImageRecord>> {
        let name = archive.display().to_string();
        let read = |file: &str| -> Result<Vec<u8>> {
            let path = within(dir, file).map_err(|e| RuntimeError::image(&name, e))?;
            fs::read(&path).map_err(|e| RuntimeError::image(&name, format_args!("{file}: {e}")))
        };
        let parse = |e: gantry_json::Error| RuntimeError::image(&name, e);
        if dir.join("manifest.json").exists() {
            let images: Vec<DockerImage> = gantry_json::from_slice(&read("manifest.json")?).map_err(parse)?;
            return images
                .into_iter()
                .map(|image| {
                    let tags = names(image.repo_tags.unwrap_or_default().iter())?;
                    let layers = image.layers.iter().map(|l| within(dir, l));
                    let layers = layers.collect::<io::Result<Vec<_>>>();
                    let layers = layers.map_err(|e| RuntimeError::image(&name, e))?;
                    self.add(&name, &read(&image.config)?, &layers, tags, [])
                })
                .collect();
        }
        let blob = |digest: &str| -> Result<Vec<u8>> {
            let bytes = read(&blob_path(digest))?;
            if super::sha256(&bytes) != digest {
                return Err(RuntimeError::image(&name, format_args!("blob {digest} has another digest")));
            }
            Ok(bytes)
        };
        let index: Index = gantry_json::from_slice(&read("index.json")?).map_err(parse)?;
        let mut records = Vec::new();
        for descriptor in index.manifests {
            let tags = names(
                ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
                    .iter()
                    .find_map(|key| descriptor.annotations.get(*key))
                    .into_iter(),
            )?;
            let mut digest = descriptor.digest.clone();
            if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
                let index: Index = gantry_json::from_slice(&blob(&digest)?).map_err(parse)?;
                let fits = |d: &&Descriptor| {
                    d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture())
                };
                let found = index.manifests.iter().find(fits).or(index.manifests.first());
                digest = found
                    .map(|d| d.digest.clone())
                    .ok_or_else(|| RuntimeError::image(&name, "empty index"))?;
            }
            let manifest: Manifest = gantry_json::from_slice(&blob(&digest)?).map_err(parse)?;
            let layers: io::Result<Vec<PathBuf>> =
                manifest.layers.iter().map(|l| within(dir, &blob_path(&l.digest))).collect();
            let layers = layers.map_err(|e| RuntimeError::image(&name, e))?;
            let digests: Vec<String> = tags
                .iter()
                .filter_map(|tag| Some(format!("{}@{}", tag.rsplit_once(':')?.0, descriptor.digest)))
                .collect();
            records.push(self.add(&name, &blob(&manifest.config.digest)?, &layers, tags, digests)?);
        }
        Ok(records)
    }
}

fn names<'a>(tags: impl Iterator<Item = &'a String>) -> Result<Vec<String>> {
    tags.map(|tag| full_name(tag)).collect()
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn within(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(name).components().all(plain) {
        Ok(dir.join(name))
    } else {
        Err(io::Error::other(format!("unsafe path {name:?} in archive")))
    }
}

/// Takes the regular files, and links between them (older archives link equal layers), out of the archive.
fn extract(archive: &Path, to: &Path) -> io::Result<()> {
    let file = io::BufReader::with_capacity(1 << 17, fs::File::open(archive)?);
    let mut links = Vec::new();
    for entry in tar::Archive::new(decompressed(file)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let path = within(to, &name)?;
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                io::copy(&mut entry, &mut fs::File::create(&path)?)?;
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                if let Some(target) = entry.link_name()? {
                    let hard = entry.header().entry_type() == tar::EntryType::Link;
                    let base =
                        if hard { Path::new("") } else { Path::new(&name).parent().unwrap_or(Path::new("")) };
                    links.push((path, normal(&base.join(target))?));
                }
            }
            _ => {}
        }
    }
    for (path, target) in links {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::hard_link(to.join(target), path)?;
    }
    Ok(())
}

fn normal(path: &Path) -> io::Result<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir if out.pop() => {}
            Component::CurDir => {}
            _ => return Err(io::Error::other(format!("unsafe link {} in archive", path.display()))),
        }
    }
    Ok(out)
}
