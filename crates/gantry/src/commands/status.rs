//! `gantry status`: what runs, where it listens and how long its certificates last.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::version::{GANTRY, KUBERNETES};
use crate::config::Config;
use crate::pki;

/// How long a port may take to answer before it counts as closed.
const ANSWER: Duration = Duration::from_secs(2);

/// Prints the status of this machine.
pub fn run(config: &Config) -> Result<()> {
    println!("gantry      {GANTRY}");
    println!("kubernetes  {KUBERNETES}");
    println!("data        {}", config.data_dir.display());
    println!("kubeconfig  {}", config.kubeconfig().display());
    println!("\n{:<16}{:<24}STATE", "COMPONENT", "ADDRESS");
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for (component, address) in [
        ("apiserver", loopback(config.https_port)),
        ("kubelet", SocketAddr::new(config.node_ip, config.kubelet_port)),
        ("dns", SocketAddr::new(config.cluster_dns, 53)),
    ] {
        let state = match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => "listening",
            Err(_) => "not listening",
        };
        println!("{component:<16}{:<24}{state}", address.to_string());
    }
    certificates(config)
}

fn certificates(config: &Config) -> Result<()> {
    let Ok(files) = std::fs::read_dir(config.pki_dir()) else {
        println!("\nno certificates in {}", config.pki_dir().display());
        return Ok(());
    };
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
    paths.sort();
    println!("\n{:<28}{:<24}SUBJECT", "CERTIFICATE", "EXPIRES");
    for path in paths {
        let facts = pki::inspect(&std::fs::read_to_string(&path)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<28}{:<24}{}", facts.not_after.to_string(), facts.subject);
    }
    Ok(())
}
