//! Settings that are the same on every machine of a cluster: the control plane publishes its own in a
//! ConfigMap, and nodes that join take them from there.

use std::time::Duration;

use anyhow::{Context, Result};
use gantry_json::json;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

use crate::config::Config;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "gantry-cluster";
/// The longest pause between two questions.
const LONGEST: Duration = Duration::from_secs(10);

/// Publishes what `config` says about the cluster.
pub async fn publish(client: Client, config: &Config) -> kube::Result<()> {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {
            "cluster-cidr": config.cluster_cidr,
            "service-cidr": config.service_cidr,
            "cluster-dns": config.cluster_dns,
            "cluster-domain": config.cluster_domain,
        },
    });
    let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    api.patch(NAME, &PatchParams::apply("gantry").force(), &Patch::Apply(map)).await.map(drop)
}

/// `config` with what the cluster of `client` says about itself, as soon as it answers.
pub async fn wait(client: Client, config: &Config) -> Config {
    let mut delay = Duration::from_millis(250);
    loop {
        match of(client.clone(), config).await {
            Ok(config) => return config,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the cluster does not tell its settings yet; it is asked again");
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST);
    }
}

/// `config` with what the cluster of `client` says about itself.
async fn of(client: Client, config: &Config) -> Result<Config> {
    let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    let map = api.get(NAME).await.with_context(|| format!("ConfigMap {NAMESPACE}/{NAME}"))?;
    with(config, &map).with_context(|| format!("ConfigMap {NAMESPACE}/{NAME}"))
}

fn with(config: &Config, map: &ConfigMap) -> Result<Config> {
    let value = |key: &'static str| {
        let value = map.data.as_ref().and_then(|data| data.get(key));
        value.with_context(|| format!("{key} is missing"))
    };
    let mut config = config.clone();
    config.cluster_cidr = value("cluster-cidr")?.parse().context("cluster-cidr")?;
    config.service_cidr = value("service-cidr")?.parse().context("service-cidr")?;
    config.cluster_dns = value("cluster-dns")?.parse().context("cluster-dns")?;
    config.cluster_domain.clone_from(value("cluster-domain")?);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use gantry_apiserver::User;
    use gantry_testing::TestServer;

    use super::*;
    use crate::config::Settings;

    #[tokio::test]
    async fn a_node_takes_the_clusters_settings() -> Result<()> {
        let server = TestServer::start().await?;
        let network = |text: &str| text.parse::<ipnet::IpNet>();
        let given = Settings {
            service_cidr: Some(network("10.9.0.0/16")?),
            cluster_domain: Some("example.test".into()),
            ..Settings::default()
        };
        publish(server.client(), &Config::resolve(given, None)?).await?;
        let own = Settings { cluster_cidr: Some(network("10.8.0.0/16")?), ..Settings::default() };
        let node = server.client_as(User::new("system:node:n1", ["system:nodes", "system:authenticated"]));
        let taken = of(node, &Config::resolve(own, None)?).await?;
        assert_eq!(taken.cluster_cidr, network("10.42.0.0/16")?);
        assert_eq!(taken.service_cidr, network("10.9.0.0/16")?);
        assert_eq!(taken.cluster_dns.to_string(), "10.9.0.10");
        assert_eq!(taken.cluster_domain, "example.test");
        let other = server.client_as(User::new("jane", ["system:authenticated"]));
        assert!(of(other, &taken).await.is_err());
        Ok(())
    }
}
