//! Messages on a shim's socket: a length of four bytes, then JSON. Descriptors travel with the first byte.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use serde::{Serialize, de::DeserializeOwned};

use crate::sys;

/// Largest message accepted.
const MAX: usize = 16 << 20;

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    gantry_json::to_writer(&mut bytes, message)?;
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Sends one message with descriptors.
pub fn send<T: Serialize>(mut socket: &UnixStream, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let bytes = encode(message)?;
    let sent = sys::send_with_fds(socket.as_fd(), &bytes, fds)?;
    socket.write_all(&bytes[sent..])
}

/// Receives one message with its descriptors; `None` when the peer has closed.
pub fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let (read, fds) = sys::receive_with_fds(socket.as_fd(), &mut length)?;
    if read == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[read..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too large"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(Some((gantry_json::from_slice(&bytes)?, fds)))
}
