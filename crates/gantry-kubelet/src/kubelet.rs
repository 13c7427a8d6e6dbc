//! Starting and stopping the node agent.

use std::{fs, sync::Arc};

use gantry_cri::{ImageService, RuntimeService, v1::VersionRequest};
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::Agent,
    config::{Config, Error},
    events::Events,
    eviction, gc, image_gc,
    machine::Machine,
    names, node,
    objects::Cache,
    pods, server,
};

/// The running node agent. Pods keep running when it stops.
pub struct Kubelet {
    agent: Arc<Agent>,
    tasks: JoinSet<()>,
}

impl Kubelet {
    /// Starts the agent: registers the node, takes over running pods, serves the node's API. `client` acts
    /// as `system:node:NAME`. Returns when the listener is bound; everything ends with `shutdown`.
    pub async fn start(
        client: Client,
        runtime: Arc<dyn RuntimeService>,
        images: Arc<dyn ImageService>,
        config: Config,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        for dir in [&config.root_dir, &config.pod_logs_dir] {
            fs::create_dir_all(dir)
                .map_err(|source| Error::Io { what: dir.to_string_lossy().into_owned(), source })?;
        }
        runtime.version(VersionRequest::default()).await?;
        let resolv = fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        let (services_tx, services) = watch::channel(None);
        let (node_tx, node_rx) = watch::channel(None);
        let agent = Arc::new(Agent {
            events: Events::start(client.clone(), config.node_name.clone()),
            config_maps: Cache::new(client.clone()),
            secrets: Cache::new(client.clone()),
            machine: Machine::read(&config.root_dir),
            host_ips: vec![config.node_ip.to_string()],
            node_dns: names::parse_resolv_conf(&resolv),
            clock: Arc::new(jiff::Timestamp::now),
            pressures: Default::default(),
            known_images: Default::default(),
            users: Default::default(),
            listed: Default::default(),
            pods: Default::default(),
            services,
            node: node_rx,
            client: client.clone(),
            runtime,
            images,
            config,
        });
        let listener = server::bind(&agent.config).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(agent.clone(), listener, shutdown.clone()));
        tasks.spawn(node::run(agent.clone(), node_tx, shutdown.clone()));
        tasks.spawn(pods::run(agent.clone(), shutdown.clone()));
        tasks.spawn(pods::runtime_events(agent.clone(), shutdown.clone()));
        tasks.spawn(gc::run(agent.clone(), shutdown.clone()));
        tasks.spawn(eviction::run(agent.clone(), shutdown.clone()));
        tasks.spawn(image_gc::run(agent.clone(), shutdown.clone()));
        tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = pods::services(client, services_tx) => {}
            }
        });
        Ok(Self { agent, tasks })
    }

    /// The number of pods on the node that the agent knows.
    pub fn pod_count(&self) -> usize {
        self.agent.pods.read().len()
    }

    /// Waits until everything has ended after shutdown.
    pub async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
