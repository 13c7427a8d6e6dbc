//! An API server with some controllers, and waiting for what they do without polling.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gantry_apiserver::User;
use gantry_client::{Cached, Informers, Recorder};
use gantry_controllers::{Config, Context};
use gantry_json::Value;
use gantry_testing::TestServer;
use http::Method;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The authority that the test publishes.
pub const ROOT_CA: &str = "-----BEGIN CERTIFICATE-----\n";

/// A server; its controllers end when this is dropped.
pub struct Cluster {
    pub server: TestServer,
    pub informers: Informers,
    shutdown: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Cluster {
    pub async fn start() -> Result<Self> {
        let server = TestServer::start().await?;
        let shutdown = CancellationToken::new();
        let manager = User::new("system:kube-controller-manager", ["system:authenticated"]);
        let informers = Informers::new(server.client_as(manager), shutdown.clone());
        Ok(Self { server, informers, shutdown })
    }

    /// Starts a controller under the identity of its service account.
    pub fn run<F>(&self, account: &'static str, controller: impl FnOnce(Context) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
        let user = User::new(format!("system:serviceaccount:kube-system:{account}"), groups);
        let config = Config::new(ROOT_CA, "10.42.0.0/16".parse().expect("a network"));
        self.run_with(account, user, config, controller);
    }

    /// Starts a controller as `user` with settings of its own.
    pub fn run_with<F>(
        &self,
        name: &'static str,
        user: User,
        config: Config,
        controller: impl FnOnce(Context) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let client = self.server.client_as(user);
        tokio::spawn(controller(Context {
            recorder: Recorder::new(client.clone(), name),
            client,
            informers: self.informers.clone(),
            config: Arc::new(config),
            shutdown: self.shutdown.clone(),
        }));
    }

    /// Writes `object` and returns what was stored.
    pub async fn send(&self, method: Method, path: &str, object: &Value) -> Result<Value> {
        let reply = self.server.json(method.clone(), path, object).await?;
        anyhow::ensure!(reply.code.is_success(), "{method} {path}: {}", reply.text());
        Ok(reply.json())
    }

    /// Waits until the objects of a kind are as `expect` wants them.
    pub async fn until<T: Cached>(
        &self,
        what: &str,
        expect: impl Fn(&[Arc<T>]) -> bool,
    ) -> Result<Vec<Arc<T>>> {
        let informer = self.informers.get::<T>();
        let wait = async {
            informer.synced().await;
            let mut changes = informer.changes();
            loop {
                let all = informer.list();
                if expect(&all) {
                    return Ok(all);
                }
                changes.next().await.context("the informer ended")?;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("waiting for {what}"))?
    }
}
