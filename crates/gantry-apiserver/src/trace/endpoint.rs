//! Where a collector is, as gRPC names it: an address, or a socket on this machine.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::PathBuf;

use gantry_api::url::Url;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// The port where an address says none, as gRPC has it.
const PORT: &str = "443";

/// A collector's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and a port.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
    /// A socket with a name of its own.
    Abstract(String),
}

/// Whether an address can be used; if not, how it was understood and what is wrong with it.
pub fn check(endpoint: &str) -> Result<(), (String, String)> {
    if endpoint.trim().is_empty() {
        return Err((endpoint.to_owned(), "endpoint must not be blank".to_owned()));
    }
    let url = if endpoint.contains("//") { endpoint.to_owned() } else { format!("dns://{endpoint}") };
    let wrong = |why: String| (url.clone(), why);
    let parsed = Url::parse(&url).map_err(|why| wrong(format!("parse {url:?}: {why}")))?;
    match parsed.scheme.as_str() {
        "dns" | "unix" | "unix-abstract" => Ok(()),
        other => Err(wrong(format!(
            "unsupported scheme: {other}.  Options are none, dns, unix, or unix-abstract.  See \
             https://github.com/grpc/grpc/blob/master/doc/naming.md"
        ))),
    }
}

impl Endpoint {
    /// The endpoint that an address names which has been checked.
    pub fn read(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::Unix(path.strip_prefix("//").unwrap_or(path).into());
        }
        if let Some(name) = text.strip_prefix("unix-abstract:") {
            return Self::Abstract(name.strip_prefix("//").unwrap_or(name).to_owned());
        }
        let host = match text.strip_prefix("dns:") {
            // The machine's own resolver is asked, whoever else is named.
            Some(rest) => match rest.strip_prefix("//") {
                Some(rest) => rest.split_once('/').map_or(rest, |(_, host)| host),
                None => rest,
            },
            None => text,
        };
        let after = host.rfind(']').map_or(host, |at| &host[at + 1..]);
        Self::Tcp(if after.contains(':') { host.to_owned() } else { format!("{host}:{PORT}") })
    }

    /// What a collector is told to be.
    pub fn authority(&self) -> &str {
        match self {
            Self::Tcp(address) => address,
            Self::Unix(_) | Self::Abstract(_) => "localhost",
        }
    }

    /// Connects.
    pub async fn connect(&self) -> io::Result<Either<TcpStream, UnixStream>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Either::Left(stream))
            }
            Self::Unix(path) => Ok(Either::Right(UnixStream::connect(path).await?)),
            Self::Abstract(name) => {
                let stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
                stream.set_nonblocking(true)?;
                Ok(Either::Right(UnixStream::from_std(stream)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_grpc_names_them() {
        let check = |text: &str, expect: Endpoint| assert_eq!(Endpoint::read(text), expect, "{text}");
        let tcp = |address: &str| Endpoint::Tcp(address.to_owned());
        check("localhost:4317", tcp("localhost:4317"));
        check("collector", tcp("collector:443"));
        check("[::1]:4317", tcp("[::1]:4317"));
        check("[::1]", tcp("[::1]:443"));
        check("dns:///collector:4317", tcp("collector:4317"));
        check("dns://192.0.2.1/collector:4317", tcp("collector:4317"));
        check("unix:///run/otel.sock", Endpoint::Unix("/run/otel.sock".into()));
        check("unix:run/otel.sock", Endpoint::Unix("run/otel.sock".into()));
        check("unix-abstract:otel", Endpoint::Abstract("otel".to_owned()));
    }

    #[test]
    fn addresses_that_cannot_be() {
        let check = |text: &str, shown: &str, why: &str| {
            assert_eq!(super::check(text), Err((shown.to_owned(), why.to_owned())), "{text}");
        };
        check("a b:1", "dns://a b:1", "parse \"dns://a b:1\": invalid character \" \" in host name");
        check("://a", "://a", "parse \"://a\": missing protocol scheme");
        check("[::1:2", "dns://[::1:2", "parse \"dns://[::1:2\": missing ']' in host");
        assert_eq!(super::check("dns:///collector:4317"), Ok(()));
        assert_eq!(super::check("unix:/run/otel.sock"), Ok(()));
    }
}
