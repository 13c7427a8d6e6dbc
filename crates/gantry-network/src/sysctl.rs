//! Kernel parameters of the network namespace of the calling thread.

use std::{fs, path::Path};

use crate::error::{NetworkError, Result};

/// Sets `name`, written with slashes, unless it has this value already; so a file system that is
/// read-only does no harm where nothing is to be changed.
pub fn set(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    let failed = |source| NetworkError::File { path: path.clone(), source };
    if fs::read_to_string(&path).map_err(failed)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(failed)
}
