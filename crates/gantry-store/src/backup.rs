//! Online backup: all keys of one snapshot in a file that can be checked, and restoring it.
//!
//! The file is a header line, one length-prefixed record per key, and the SHA-256 of all
//! before it. A restored store continues after the backup's revision.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::engine::{Batch, Engine, Record};
use crate::{Error, Result, Snapshot};

const MAGIC: &[u8; 16] = b"gantry-backup-1\n";

/// Writes `snapshot` to the new file `path`, complete and flushed when it returns.
pub fn write(snapshot: &Snapshot, path: &Path) -> Result<()> {
    let failed = |cause: std::io::Error| Error::engine("back up", format!("{}: {cause}", path.display()));
    let file = std::fs::File::create_new(path).map_err(failed)?;
    let mut out = Hashing { inner: BufWriter::new(file), hash: Sha256::new() };
    let mut emit = || -> std::io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&snapshot.revision().to_be_bytes())?;
        out.write_all(&(snapshot.count("") as u64).to_be_bytes())?;
        for entry in snapshot.range("", None) {
            for number in [
                entry.mod_revision,
                entry.create_revision,
                entry.expires_ms,
                entry.key.len() as u64,
                entry.value.len() as u64,
            ] {
                out.write_all(&number.to_be_bytes())?;
            }
            out.write_all(entry.key.as_bytes())?;
            out.write_all(&entry.value)?;
        }
        let digest = out.hash.clone().finalize();
        out.inner.write_all(&digest)?;
        out.inner.flush()?;
        out.inner.get_ref().sync_all()
    };
    emit().map_err(failed)
}

/// Fills the empty `engine` from the backup at `path`. Nothing is written unless the whole
/// file is sound. Returns the backup's revision.
pub fn restore(path: &Path, engine: &mut dyn Engine) -> Result<u64> {
    let failed =
        |cause: &dyn std::fmt::Display| Error::engine("restore", format!("{}: {cause}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| BufReader::new(file).read_to_end(&mut bytes))
        .map_err(|cause| failed(&cause))?;
    let batch = parse(&bytes).ok_or_else(|| failed(&"not a complete backup: the checksum does not match"))?;
    let revision = batch.compacted.unwrap_or_default();
    engine.commit(&batch)?;
    Ok(revision)
}

fn parse(bytes: &[u8]) -> Option<Batch> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body)[..] != *digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let number = |rest: &mut &[u8]| Some(u64::from_be_bytes(rest.split_off(..8)?.try_into().ok()?));
    let revision = number(&mut rest)?;
    let count = number(&mut rest)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let mut header = [0; 5];
        for field in &mut header {
            *field = number(&mut rest)?;
        }
        let [mod_revision, create_revision, expires_ms, key_length, value_length] = header;
        let key = std::str::from_utf8(rest.split_off(..key_length as usize)?).ok()?;
        let value = Bytes::copy_from_slice(rest.split_off(..value_length as usize)?);
        records.push(Record {
            revision: mod_revision,
            key: key.into(),
            create_revision,
            expires_ms,
            deleted: false,
            value,
        });
    }
    records.sort_by_key(|record| record.revision);
    Some(Batch { records, forget: Vec::new(), compacted: Some(revision) })
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(data)?;
        self.hash.update(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
