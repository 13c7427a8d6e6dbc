//! The network of this node, as the agent uses it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    error::{During, NetworkError, Result},
    lease::{HostPort, Lease, Leases},
    netlink::Socket,
    nft::{Family, Owner},
    overlay::{self, Vxlan, plan},
    pod_link,
    proxy::{Place, index::Parts, rules, table::Table},
    run::Told,
    sysctl,
};

/// What VXLAN adds to each packet, in bytes, for IPv4 and IPv6.
const ENCAPSULATION: (u32, u32) = (50, 70);
const DEFAULT_MTU: u32 = 1500;

/// How a node's network is made.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Directory of the files that keep leases over restarts.
    pub state_dir: PathBuf,
    /// The node's name.
    pub node_name: String,
    /// The node's own addresses, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// Ranges of the addresses of this node's pods, one per family. May be empty: then they are taken
    /// from the Node when it has got them.
    pub pod_cidrs: Vec<IpNet>,
    /// Ranges of the addresses of all pods of the cluster.
    pub cluster_cidrs: Vec<IpNet>,
    /// Ranges of ClusterIPs.
    pub service_cidrs: Vec<IpNet>,
    /// Largest packet of a pod in bytes; `None` leaves room for VXLAN on the node's interface.
    pub mtu: Option<u32>,
    /// VXLAN network identifier.
    pub vxlan_id: u32,
    /// UDP port of the VXLAN.
    pub vxlan_port: u16,
}

impl NetworkConfig {
    /// The usual ranges and numbers for this node.
    pub fn new(state_dir: PathBuf, node_name: String, node_ips: Vec<IpAddr>) -> Self {
        let net = |a, b, length| IpNet::new([a, b, 0, 0].into(), length).into_iter().collect::<Vec<_>>();
        Self {
            state_dir,
            node_name,
            node_ips,
            pod_cidrs: Vec::new(),
            cluster_cidrs: net(10, 42, 16),
            service_cidrs: net(10, 43, 16),
            mtu: None,
            vxlan_id: 71,
            vxlan_port: 8472,
        }
    }
}

/// The network of this node. Its sockets belong to the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    host: Socket,
    leases: Mutex<Leases>,
    pod_cidrs: Mutex<Vec<IpNet>>,
    table: Mutex<Table>,
    /// How often what the API says has been done.
    applied: watch::Sender<u64>,
    /// Something outside of `run` has failed that `run` is to repair.
    pub(crate) broken: Notify,
    mtu: u32,
}

impl Network {
    /// Opens the network of this node: reads what an earlier run has left, turns forwarding on.
    pub fn open(config: NetworkConfig) -> Result<Arc<Self>> {
        let host = Socket::route().during(|| "opening a socket".into())?;
        let cidrs = [&config.pod_cidrs, &config.cluster_cidrs].into_iter().flatten();
        let (ipv6, ipv4): (Vec<&IpNet>, _) = cidrs.partition(|cidr| cidr.addr().is_ipv6());
        pod_link::forward(!ipv4.is_empty(), !ipv6.is_empty())?;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => mtu(&host, &config.node_ips)?,
        };
        let leases = Leases::open(config.state_dir.join("leases"))?;
        let mut table = Table::open(&place(&config), config.node_ips.clone())?;
        let families = table.families();
        let pods = leases.all().iter().map(|(pod, lease)| (Owner::Pod(pod.clone()), parts(lease, &families)));
        table.update(pods.collect())?;
        let (leases, table) = (Mutex::new(leases), Mutex::new(table));
        let pod_cidrs = Mutex::new(config.pod_cidrs.clone());
        let (applied, broken) = (watch::Sender::new(0), Notify::new());
        Ok(Arc::new(Self { config, host, leases, pod_cidrs, table, applied, broken, mtu }))
    }

    /// Counts how often Services and routes were made as the API says: at 0 they are as an earlier run
    /// has left them.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// What rules depend on besides Services, as far as it is known without the API.
    pub(crate) fn place(&self) -> Place {
        place(&self.config)
    }

    /// Does what the API has told. What fails is done with the next call.
    pub(crate) fn apply(&self, told: &mut Told) -> Result<()> {
        let own = told.peers.get(&self.config.node_name).map(|own| own.pod_cidrs.clone());
        if let Some(cidrs) = own.filter(|cidrs| !cidrs.is_empty()) {
            self.set_pod_cidrs(cidrs);
        }
        let routed = if told.peers_changed { self.route(told) } else { Ok(()) };
        let mut table = self.table.lock();
        let changed = told.index.take_changed(&told.place, &table.families());
        let written = table.update(changed).and_then(|()| table.start());
        routed.and(written)?;
        if *self.applied.borrow() == 0 {
            sysctl::connection_tracking();
        }
        self.applied.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Looks whether the kernel still has our tables; if not, they are written with the next `apply`.
    pub(crate) fn check_table(&self) {
        self.table.lock().check();
    }

    fn route(&self, told: &mut Told) -> Result<()> {
        let config = &self.config;
        let mut here = overlay::here(&self.host, &config.node_name, &config.node_ips)?;
        here.pod_cidrs = self.pod_cidrs.lock().clone();
        let plan = plan::plan(&here, &told.peers);
        if !plan.unreachable.is_empty() {
            tracing::warn!(nodes = ?plan.unreachable, "no way leads to the pods of some nodes");
        }
        let vxlan = Vxlan { id: config.vxlan_id, port: config.vxlan_port, mtu: self.mtu };
        overlay::apply(&self.host, &here, &plan, &config.service_cidrs, &vxlan)?;
        told.peers_changed = false;
        Ok(())
    }

    /// Why pods cannot be attached now, if so.
    pub fn not_ready(&self) -> Option<String> {
        let missing = self.pod_cidrs.lock().is_empty();
        missing.then(|| NetworkError::NoPodCidr(self.config.node_name.clone()).to_string())
    }

    /// Sets the ranges that addresses of this node's pods are taken from. Leases outside of them stay.
    pub fn set_pod_cidrs(&self, cidrs: Vec<IpNet>) {
        *self.pod_cidrs.lock() = cidrs;
    }

    /// Gives the pod whose network namespace is bound to `netns` an interface and addresses, and leads
    /// `host_ports` to it. Attaching again completes what is missing and returns the same addresses.
    pub async fn attach(
        self: &Arc<Self>,
        pod: &str,
        netns: &Path,
        host_ports: &[HostPort],
    ) -> Result<Vec<IpAddr>> {
        let (network, pod, netns) = (self.clone(), pod.to_owned(), netns.to_owned());
        let host_ports = host_ports.to_vec();
        blocking(move || network.attach_now(&pod, &netns, &host_ports)).await
    }

    /// Takes everything back that `attach` gave. Succeeds if there is nothing left, also if the
    /// namespace is gone.
    pub async fn detach(self: &Arc<Self>, pod: &str) -> Result<()> {
        let (network, pod) = (self.clone(), pod.to_owned());
        blocking(move || network.detach_now(&pod)).await
    }

    /// Detaches every pod that is not among `live`: what a run that ended early has left.
    pub async fn retain(self: &Arc<Self>, live: BTreeSet<String>) -> Result<()> {
        let network = self.clone();
        blocking(move || {
            let attached = pod_link::attached(&network.host)?;
            let mut known: BTreeSet<String> = attached.into_iter().map(|(pod, _)| pod).collect();
            known.extend(network.leases.lock().all().keys().cloned());
            known.difference(&live).try_for_each(|pod| network.detach_now(pod))
        })
        .await
    }

    fn attach_now(&self, pod: &str, netns: &Path, host_ports: &[HostPort]) -> Result<Vec<IpAddr>> {
        let cidrs = self.pod_cidrs.lock().clone();
        if cidrs.is_empty() {
            return Err(NetworkError::NoPodCidr(self.config.node_name.clone()));
        }
        let lease = self.leases.lock().acquire(pod, netns, host_ports, &cidrs)?;
        pod_link::attach(&self.host, pod, netns, &lease.addresses, self.mtu)?;
        let mut table = self.table.lock();
        let parts = parts(&lease, &table.families());
        if let Err(error) = table.update(vec![(Owner::Pod(pod.to_owned()), parts)]) {
            self.broken.notify_one();
            return Err(error);
        }
        drop(table);
        if !host_ports.is_empty() && lease.addresses.iter().any(IpAddr::is_ipv4) {
            pod_link::answer_loopback(pod)?;
        }
        Ok(lease.addresses)
    }

    fn detach_now(&self, pod: &str) -> Result<()> {
        if let Err(error) = self.table.lock().update(vec![(Owner::Pod(pod.to_owned()), Parts::new())]) {
            // No reason to keep the pod: its part goes when the table is repaired.
            tracing::warn!(%error, pod, "a pod's part of the Service table stays for now");
            self.broken.notify_one();
        }
        pod_link::detach(&self.host, pod)?;
        // Only now, so that nobody gets an address that still leads elsewhere.
        self.leases.lock().release(pod)
    }
}

fn place(config: &NetworkConfig) -> Place {
    Place {
        node: config.node_name.clone(),
        zone: None,
        cluster_cidrs: config.cluster_cidrs.clone(),
        service_cidrs: config.service_cidrs.clone(),
    }
}

/// What a pod adds to the table.
fn parts(lease: &Lease, families: &[Family]) -> Parts {
    families.iter().map(|family| (*family, rules::pod(lease, *family))).collect()
}

/// Runs system calls that may wait for the kernel's locks where they hold nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Largest packet of a pod: what the node's interface carries, less what VXLAN adds.
fn mtu(host: &Socket, node_ips: &[IpAddr]) -> Result<u32> {
    let Some(node_ip) = node_ips.first() else { return Ok(DEFAULT_MTU - ENCAPSULATION.0) };
    let addresses = host.addresses().during(|| "listing addresses".into())?;
    let index = addresses.iter().find(|(_, net)| net.addr() == *node_ip).map(|(index, _)| *index);
    let links = host.links().during(|| "listing interfaces".into())?;
    let link = links.into_iter().find(|link| Some(link.index) == index && link.name != "lo");
    let added = if node_ip.is_ipv4() { ENCAPSULATION.0 } else { ENCAPSULATION.1 };
    Ok(link.map_or(DEFAULT_MTU, |link| link.mtu).saturating_sub(added))
}
