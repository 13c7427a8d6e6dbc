//! A host and pods as network namespaces that end with the test.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{Network, NetworkConfig, netlink::Socket};

/// Longest wait for an answer that is expected to come at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Wait after which no answer is taken for none.
const SILENCE: Duration = Duration::from_millis(300);

/// Runs `test` in a thread with a new network namespace, the host of the test.
pub fn on_host(test: impl AsyncFnOnce(Host) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let namespace = Namespace::current();
        bring_up("lo");
        runtime.block_on(test(Host { state, namespace }));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Brings an interface of the calling thread's namespace up.
pub fn bring_up(name: &str) {
    let socket = Socket::route().unwrap();
    socket.set_up(socket.link(name).unwrap().unwrap().index).unwrap();
}

/// The host of a test.
pub struct Host {
    pub state: tempfile::TempDir,
    pub namespace: Namespace,
}

impl Host {
    /// Configuration of a network on this host.
    pub fn config(&self) -> NetworkConfig {
        config(self.state.path(), "here", "192.0.2.1", "10.42.0.0/24")
    }

    /// An interface to the outside, with the node's address; the other machine is at 192.0.2.2.
    pub fn uplink(&self) -> Namespace {
        let outside = Namespace::new();
        link(&outside, "192.0.2.1/24", "192.0.2.2/24");
        outside
    }
}

/// Configuration of a node's network.
pub fn config(state: &Path, name: &str, address: &str, pod_cidr: &str) -> NetworkConfig {
    let mut config = NetworkConfig::new(state.into(), name.into(), vec![address.parse().unwrap()]);
    config.pod_cidrs = vec![pod_cidr.parse().unwrap()];
    config
}

/// Connects the calling thread's namespace with another one by `up0` at both ends.
pub fn link(other: &Namespace, here: &str, there: &str) {
    use std::os::fd::AsFd;
    let socket = Socket::route().unwrap();
    let veth = crate::netlink::route::Veth {
        name: "up0",
        mac: [2, 0, 0, 0, 0, 1],
        alias: "test",
        peer_name: "up0",
        peer_mac: [2, 0, 0, 0, 0, 2],
        peer_namespace: other.file.as_fd(),
        mtu: 1500,
    };
    socket.add_veth(&veth).unwrap();
    let configure = |address: String| {
        let socket = Socket::route().unwrap();
        let index = socket.link("up0").unwrap().unwrap().index;
        socket.add_address(index, address.parse().unwrap()).unwrap();
        socket.set_up(index).unwrap();
    };
    configure(here.to_owned());
    let there = there.to_owned();
    other.run(move || {
        bring_up("lo");
        configure(there);
    });
}

/// Adds a route by `up0` to an address that is on no interface's network.
pub fn reach(address: &str) {
    let socket = Socket::route().unwrap();
    let link = socket.link("up0").unwrap().unwrap().index;
    let destination = address.parse().unwrap();
    socket
        .set_route(&crate::netlink::route::Route {
            destination,
            gateway: None,
            link,
            source: None,
            on_link: false,
        })
        .unwrap();
}

/// A network namespace.
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// A new, empty one.
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Self::current()
        });
        made.join().unwrap()
    }

    /// That of the calling thread.
    pub fn current() -> Self {
        Self { file: Arc::new(File::open("/proc/thread-self/ns/net").unwrap()) }
    }

    /// A path that it can be opened by.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Runs `work` inside, in a thread of its own.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        self.start(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs `work` inside, and what it starts.
    pub fn run_async<R: Send + 'static>(&self, work: impl AsyncFnOnce() -> R + Send + 'static) -> R {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        })
    }

    /// Starts `work` inside.
    pub fn start<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> thread::JoinHandle<R> {
        let file = self.file.clone();
        thread::spawn(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    /// Serves TCP and UDP at `port` until the test ends: answers with its name and the caller's address.
    pub fn serve(&self, name: &'static str, address: IpAddr, port: u16) {
        let (listener, socket) = self.run(move || {
            let address = SocketAddr::new(address, port);
            (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap())
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                thread::spawn(move || -> io::Result<()> {
                    let peer = stream.peer_addr()?.ip();
                    let mut byte = [0];
                    while stream.read(&mut byte)? == 1 {
                        stream.write_all(format!("{name} {peer}\n").as_bytes())?;
                    }
                    Ok(())
                });
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} {}\n", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// What a TCP server at `address` says to one that calls from here.
    pub fn ask(&self, address: &str) -> io::Result<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || Connection::open(address)?.ask())
    }

    /// Connects from here.
    pub fn connect(&self, address: &str) -> io::Result<Connection> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || Connection::open(address))
    }

    /// Whether there is no answer at all from `address`.
    pub fn silent(&self, address: &str) -> bool {
        let address: SocketAddr = address.parse().unwrap();
        let connected = self.run(move || TcpStream::connect_timeout(&address, SILENCE));
        connected.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    /// Whether `address` refuses connections at once.
    pub fn refused(&self, address: &str) -> bool {
        self.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// A UDP socket of this namespace.
    pub fn udp(&self) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }
}

/// What a UDP server answers on this socket.
pub fn ask_udp(socket: &UdpSocket, address: &str) -> io::Result<String> {
    socket.connect(address)?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}

/// An open connection to a server.
pub struct Connection(TcpStream);

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Asks once more.
    pub fn ask(&mut self) -> io::Result<String> {
        self.0.write_all(b"?")?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte)? == 1 && byte[0] != b'\n' {
            answer.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// A pod that is attached to a network.
pub struct Pod {
    pub ip: IpAddr,
    pub namespace: Namespace,
}

/// Attaches a new pod.
pub async fn pod(network: &Arc<Network>, id: &str) -> Pod {
    let namespace = Namespace::new();
    let ip = network.attach(id, &namespace.path(), &[]).await.unwrap()[0];
    Pod { ip, namespace }
}

/// A file under the calling thread's kernel parameters.
pub fn kernel_parameter(name: &str) -> String {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap().trim().to_owned()
}
