//! `gantry status`: what runs, where it listens, who leads, and how long certificates last.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};

use super::version::{GANTRY, KUBERNETES};
use crate::config::Config;
use crate::pki;

/// How long a port or the API may take to answer before it counts as closed.
const ANSWER: Duration = Duration::from_secs(2);

/// Prints the status of this machine, and of the cluster where it can be asked.
pub fn run(config: &Config) -> Result<()> {
    println!("gantry      {GANTRY}");
    println!("kubernetes  {KUBERNETES}");
    println!("data        {}", config.data_dir.display());
    println!("kubeconfig  {}", config.kubeconfig().display());
    ports(config);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(cluster(config));
    certificates(config)
}

fn ports(config: &Config) {
    println!("\n{:<28}{:<40}STATE", "COMPONENT", "ADDRESS");
    let line = |component: &str, address: &str, listens: bool| {
        let state = if listens { "listening" } else { "not listening" };
        println!("{component:<28}{address:<40}{state}");
    };
    for (component, address) in [
        ("apiserver", SocketAddr::from(([127, 0, 0, 1], config.https_port))),
        ("kubelet", SocketAddr::new(config.node_ip, config.kubelet_port)),
        ("dns", SocketAddr::new(config.cluster_dns, 53)),
    ] {
        line(component, &address.to_string(), TcpStream::connect_timeout(&address, ANSWER).is_ok());
    }
    let socket = config.runtime_socket();
    line("runtime", &socket.display().to_string(), UnixStream::connect(&socket).is_ok());
}

/// Who leads, and the nodes. A machine that only runs pods has no kubeconfig to ask with.
async fn cluster(config: &Config) {
    let answered = tokio::time::timeout(ANSWER, ask(config)).await;
    let Ok(Ok((leases, nodes))) = answered else {
        println!("\nThe API server does not answer with {}.", config.kubeconfig().display());
        return;
    };
    // An API server's Lease has a hash for its name.
    let width = leases.iter().map(|lease| lease.name_any().len() + 2).fold(28, usize::max);
    println!("\n{:<width$}LEADER", "COMPONENT");
    for lease in leases {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        println!("{:<width$}{holder}", lease.name_any());
    }
    println!("\n{:<28}{:<16}{:<24}ADDRESS", "NODE", "READY", "VERSION");
    for node in nodes {
        let status = node.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        let ready = ready.map_or("Unknown", |condition| &condition.status);
        let version = status.node_info.map(|info| info.kubelet_version).unwrap_or_default();
        let addresses: Vec<_> = status.addresses.into_iter().flatten().map(|each| each.address).collect();
        println!("{:<28}{ready:<16}{version:<24}{}", node.name_any(), addresses.join(" "));
    }
}

async fn ask(config: &Config) -> Result<(Vec<Lease>, Vec<Node>)> {
    let kubeconfig = Kubeconfig::read_from(config.kubeconfig())?;
    let options = KubeConfigOptions::default();
    let client = Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)?;
    let leases = Api::namespaced(client.clone(), "kube-system").list(&ListParams::default()).await?;
    let nodes = Api::all(client).list(&ListParams::default()).await?;
    Ok((leases.items, nodes.items))
}

fn certificates(config: &Config) -> Result<()> {
    let Ok(files) = std::fs::read_dir(config.pki_dir()) else {
        println!("\nno certificates in {}", config.pki_dir().display());
        return Ok(());
    };
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
    paths.sort();
    println!("\n{:<28}{:<40}SUBJECT", "CERTIFICATE", "EXPIRES");
    for path in paths {
        let facts = pki::inspect(&std::fs::read_to_string(&path)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<28}{:<40}{}", facts.not_after.to_string(), facts.subject);
    }
    Ok(())
}
