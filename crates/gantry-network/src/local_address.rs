//! Addresses that every node has for itself, such as that of the cluster DNS: packets to them end at
//! the node they start from.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::{During, Result};
use crate::netlink::Socket;

/// Gives the loopback interface `address`, if it has not got it.
pub fn add(address: IpAddr) -> Result<()> {
    let (socket, link) = loopback()?;
    // Of wider scope it would be what this node shows to its pods.
    socket
        .add_host_address(link, IpNet::from(address))
        .during(|| format!("adding the local address {address}"))
}

/// Takes `address` from the loopback interface. Succeeds if it has not got it.
pub fn remove(address: IpAddr) -> Result<()> {
    let (socket, link) = loopback()?;
    let removed = socket.delete_address(link, IpNet::from(address));
    removed.during(|| format!("removing the local address {address}")).map(drop)
}

fn loopback() -> Result<(Socket, u32)> {
    let socket = Socket::route().during(|| "opening a socket".into())?;
    let link = socket.link("lo").and_then(|link| link.ok_or(std::io::ErrorKind::NotFound.into()));
    let index = link.during(|| "looking for interface lo".into())?.index;
    Ok((socket, index))
}
