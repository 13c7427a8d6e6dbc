//! Images: records of what is present, and layers unpacked once each under their diff ID.
//!
//! A layer appears by a rename of a completely unpacked and verified directory, a record by a rename
//! after all its layers are there. What a crash leaves behind is removed at the next start.

mod archive;
mod layers;
mod pull;
pub mod unpack;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};

/// The part of an image's configuration that containers use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerDefaults {
    /// User to run as.
    pub user: String,
    /// Environment.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Program.
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// Arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// Signal that stops it.
    pub stop_signal: String,
}

fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An image that is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its configuration.
    pub id: String,
    /// Full names with tags.
    pub tags: BTreeSet<String>,
    /// Full names with manifest digests.
    pub digests: BTreeSet<String>,
    /// Diff IDs, lowest layer first.
    pub layers: Vec<String>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
    /// Defaults for its containers.
    pub defaults: ContainerDefaults,
}

/// The parts of an OCI or docker image configuration that are read.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default, deserialize_with = "null_as_default")]
    config: ContainerDefaults,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// The images under one directory.
#[derive(Debug)]
pub struct ImageStore {
    root: PathBuf,
    unpack_command: Vec<OsString>,
    records: Mutex<BTreeMap<String, ImageRecord>>,
    /// One change at a time: an import and a pull do not unpack one layer twice, and no name is lost.
    changing: Mutex<()>,
    /// Layers that pulls under way are about.
    pulled: layers::Claims,
}

/// Full name of an image reference: registry, repository and tag or digest. A digest says all: a tag
/// beside it is left out.
pub fn full_name(reference: &str) -> Result<String> {
    let parsed = reference.parse::<oci_client::Reference>();
    let parsed = parsed.map_err(|e| RuntimeError::Invalid(format!("image reference {reference:?}: {e}")))?;
    Ok(match parsed.digest() {
        Some(digest) => format!("{}/{}@{digest}", parsed.registry(), parsed.repository()),
        None => parsed.whole(),
    })
}

/// Lower-case hexadecimal SHA-256 digest with its prefix.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    digest_text(&sha2::Sha256::digest(bytes))
}

/// A digest's usual spelling.
pub fn digest_text(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Directory name of a layer: the start of its diff ID, since mount options are limited to one page.
pub fn layer_name(diff_id: &str) -> String {
    diff_id.trim_start_matches("sha256:").chars().take(40).collect()
}

impl ImageStore {
    /// Opens the store under `root`; `unpack_command` runs [`unpack::main`] in a child.
    pub fn open(root: PathBuf, unpack_command: Vec<OsString>) -> Result<Self> {
        for dir in ["records", "layers/empty", "tmp"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(RuntimeError::path("create", &dir))?;
        }
        let tmp = root.join("tmp");
        for entry in fs::read_dir(&tmp).map_err(RuntimeError::path("read", &tmp))?.flatten() {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
        let mut records = BTreeMap::new();
        let dir = root.join("records");
        for entry in fs::read_dir(&dir).map_err(RuntimeError::path("read", &dir))?.flatten() {
            let bytes = fs::read(entry.path()).map_err(RuntimeError::path("read", &entry.path()))?;
            match gantry_json::from_slice::<ImageRecord>(&bytes) {
                Ok(record) if entry.path().extension().is_some_and(|e| e == "json") => {
                    records.insert(record.id.clone(), record);
                }
                _ => drop(fs::remove_file(entry.path())),
            }
        }
        Ok(Self {
            root,
            unpack_command,
            records: Mutex::new(records),
            changing: Mutex::default(),
            pulled: Default::default(),
        })
    }

    /// Directory that layers are under.
    pub fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Directory of the whole store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All images.
    pub fn list(&self) -> Vec<ImageRecord> {
        self.records.lock().values().cloned().collect()
    }

    /// The image with this id, name or digest reference.
    pub fn find(&self, reference: &str) -> Option<ImageRecord> {
        let records = self.records.lock();
        if let Some(record) = records.get(reference) {
            return Some(record.clone());
        }
        if let Some(record) = records.get(&format!("sha256:{reference}")) {
            return Some(record.clone());
        }
        let name = full_name(reference).ok()?;
        records.values().find(|r| r.tags.contains(&name) || r.digests.contains(&name)).cloned()
    }

    /// Takes a name away from its image; by id, the image with all its names. The image goes with its
    /// last name. `false` when there was none.
    pub fn remove(&self, reference: &str) -> Result<bool> {
        let _lock = self.changing.lock();
        let Some(mut record) = self.find(reference) else { return Ok(false) };
        let by_id = record.id.ends_with(reference.trim_start_matches("sha256:"));
        let name = full_name(reference).unwrap_or_default();
        if !by_id {
            record.tags.remove(&name);
            record.digests.remove(&name);
        }
        if by_id || record.tags.is_empty() {
            let path = self.record_path(&record.id);
            fs::remove_file(&path).map_err(RuntimeError::path("remove", &path))?;
            self.records.lock().remove(&record.id);
        } else {
            self.save(record)?;
        }
        Ok(true)
    }

    /// Removes layers that no image, no pull under way and none of `in_use` (diff IDs) needs.
    pub fn collect_garbage(&self, in_use: &BTreeSet<String>) {
        let _lock = self.changing.lock();
        // Before the records: a pull lets go of its layers after its record is there.
        let claimed = self.pulled.claimed();
        let mut wanted: BTreeSet<String> = in_use.iter().chain(&claimed).map(|id| layer_name(id)).collect();
        for record in self.records.lock().values() {
            wanted.extend(record.layers.iter().map(|id| layer_name(id)));
        }
        for entry in fs::read_dir(self.layers_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "empty" && !wanted.contains(&name) {
                let gone = self.tmp_path();
                if fs::rename(entry.path(), &gone).is_ok() {
                    let _ = fs::remove_dir_all(&gone);
                }
            }
        }
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.root.join("records").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    fn tmp_path(&self) -> PathBuf {
        self.root.join("tmp").join(uuid::Uuid::new_v4().to_string())
    }

    fn save(&self, record: ImageRecord) -> Result<()> {
        let path = self.record_path(&record.id);
        crate::state::write_atomic(&path, &gantry_json::to_vec(&record).unwrap_or_default())?;
        self.records.lock().insert(record.id.clone(), record);
        Ok(())
    }

    /// Adds an image from its configuration and layer files (lowest first). A name that belonged to
    /// another image moves to this one.
    fn add(
        &self,
        image: &str,
        config: &[u8],
        layers: &[PathBuf],
        tags: impl IntoIterator<Item = String>,
        digests: impl IntoIterator<Item = String>,
    ) -> Result<ImageRecord> {
        let parsed: ConfigFile = gantry_json::from_slice(config)
            .map_err(|e| RuntimeError::image(image, format_args!("config: {e}")))?;
        let diff_ids = parsed.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let message = format!("{} layers, but {} diff IDs", layers.len(), diff_ids.len());
            return Err(RuntimeError::image(image, message));
        }
        if diff_ids.iter().any(|id| !is_digest(id)) {
            return Err(RuntimeError::image(image, "diff ID is not a sha256 digest"));
        }
        let mut size = 0;
        let _lock = self.changing.lock();
        for (diff_id, file) in diff_ids.iter().zip(layers) {
            size += self.ensure_layer(image, diff_id, file)?;
        }
        let id = sha256(config);
        let mut record = self.records.lock().get(&id).cloned().unwrap_or_default();
        record.id = id;
        record.layers = diff_ids;
        record.size = size;
        record.defaults = parsed.config;
        record.tags.extend(tags);
        record.digests.extend(digests);
        let others: Vec<ImageRecord> = self.records.lock().values().cloned().collect();
        for mut other in others.into_iter().filter(|o| o.id != record.id) {
            let before = other.tags.len();
            other.tags.retain(|tag| !record.tags.contains(tag));
            if other.tags.len() != before {
                self.save(other)?;
            }
        }
        self.save(record.clone())?;
        Ok(record)
    }

    fn ensure_layer(&self, image: &str, diff_id: &str, file: &Path) -> Result<u64> {
        let target = self.layers_dir().join(layer_name(diff_id));
        if target.is_dir() {
            return Ok(tree_size(&target));
        }
        let tmp = self.tmp_path();
        fs::create_dir_all(&tmp).map_err(RuntimeError::path("create", &tmp))?;
        let result = self.unpack(image, diff_id, file, &tmp).and_then(|size| {
            fs::rename(&tmp, &target).map_err(RuntimeError::path("rename to", &target))?;
            Ok(size)
        });
        if result.is_err() {
            let _ = fs::remove_dir_all(&tmp);
        }
        result
    }

    fn unpack(&self, image: &str, diff_id: &str, file: &Path, to: &Path) -> Result<u64> {
        let input = fs::File::open(file).map_err(RuntimeError::path("open", file))?;
        let output = std::process::Command::new(&self.unpack_command[0])
            .args(&self.unpack_command[1..])
            .arg(to)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(RuntimeError::io("run unpack"))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(RuntimeError::image(image, format_args!("unpack layer {diff_id}: {message}")));
        }
        let done: unpack::Unpacked = gantry_json::from_slice(&output.stdout)
            .map_err(|e| RuntimeError::image(image, format_args!("unpack layer {diff_id}: {e}")))?;
        if done.diff_id != diff_id {
            let message = format!("layer has digest {}, its configuration says {diff_id}", done.diff_id);
            return Err(RuntimeError::image(image, message));
        }
        Ok(done.size)
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Bytes of the files under a directory.
pub fn tree_size(dir: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => total += tree_size(&entry.path()),
            Ok(meta) if meta.is_file() => total += meta.len(),
            _ => {}
        }
    }
    total
}
