//! Removal of everything that this crate makes in the kernel and on disk.

use std::{fs, io, path::Path};

use crate::{
    error::{During, NetworkError, Result},
    netlink::Socket,
    overlay, pod_link,
    proxy::table,
};

/// Removes what a network with this state directory has made in the network namespace of the calling
/// thread. Nothing of it may run any more. Succeeds if there is nothing.
pub fn cleanup(state_dir: &Path) -> Result<()> {
    let host = Socket::route().during(|| "opening a socket".into())?;
    for (pod, _) in pod_link::attached(&host)? {
        pod_link::detach(&host, &pod)?;
    }
    for route in host.own_routes().during(|| "listing routes".into())? {
        host.delete_route(&route).during(|| format!("deleting the route to {}", route.destination))?;
    }
    host.delete_link(overlay::DEVICE).during(|| format!("deleting interface {}", overlay::DEVICE))?;
    table::remove()?;
    match fs::remove_dir_all(state_dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::File { path: state_dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}
