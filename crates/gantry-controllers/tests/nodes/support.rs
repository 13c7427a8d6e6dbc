//! A server with all controllers.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use gantry_apiserver::User;
use gantry_client::Informers;
use gantry_controllers::{Config, PrivateKey};
use gantry_testing::TestServer;
use k8s_openapi::api::core::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; its controllers end with it.
pub struct Cluster {
    pub server: TestServer,
    _controllers: DropGuard,
}

impl Cluster {
    /// Starts the server and the controllers with the settings that `change` makes.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let server = TestServer::start().await?;
        let mut config = Config::new(server.authority.certificate(), "10.42.0.0/16".parse()?);
        config.ca_key = Some(PrivateKey(server.authority.key()));
        change(&mut config);
        let shutdown = CancellationToken::new();
        let informers = Informers::new(
            server.client_as(User::new("system:kube-controller-manager", [])),
            shutdown.clone(),
        );
        let api = server.server.clone();
        let client = move |account: &str| {
            let user = User::new(
                format!("system:serviceaccount:kube-system:{account}"),
                ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
            );
            Client::new(api.client_service(user), "default")
        };
        let guard = shutdown.clone().drop_guard();
        tokio::spawn(gantry_controllers::run(client, informers, config, shutdown));
        Ok(Self { server, _controllers: guard })
    }

    /// All objects of a kind, as the administrator.
    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.server.client())
    }

    /// Returns once there is an event like `wanted`.
    pub async fn event(&self, wanted: impl Fn(&Event) -> bool) -> Result<()> {
        let events = watcher(self.all::<Event>(), watcher::Config::default()).default_backoff();
        let mut events = events.applied_objects().boxed();
        let seen = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.next().await {
                if wanted(&event?) {
                    return Ok(());
                }
            }
            anyhow::bail!("the watch ended")
        });
        seen.await.context("no such event")?
    }
}

/// The object `name`, as soon as it is as `done` wants it; `None` stands for one that is not there.
pub async fn until<K>(api: Api<K>, name: &str, mut done: impl FnMut(Option<&K>) -> bool) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut last = None;
    let seen = tokio::time::timeout(PATIENCE, async {
        while let Some(event) = events.next().await {
            match event? {
                watcher::Event::Init => last = None,
                watcher::Event::InitApply(object) => {
                    last = Some(object);
                    continue;
                }
                watcher::Event::Apply(object) => last = Some(object),
                watcher::Event::Delete(_) => last = None,
                watcher::Event::InitDone => {}
            }
            if done(last.as_ref()) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    });
    match seen.await {
        Ok(result) => result.map(|()| last),
        Err(elapsed) => Err(elapsed).with_context(|| format!("{name} is {last:?}")),
    }
}
