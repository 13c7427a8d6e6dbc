//! What containers are given: objects, tokens, volumes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};

use super::{Message, Worker};
use crate::{
    backoff,
    env::Objects,
    field_ref::NodeFacts,
    objects::{self, AbortOnDrop, Entry, Loaded},
    pod,
    volumes::{self, DEFAULT_TOKEN_SECONDS},
};

fn forward<K: Send + Sync + 'static>(
    entry: &Arc<Entry<K>>,
    tx: &tokio::sync::mpsc::UnboundedSender<Message>,
) -> AbortOnDrop {
    let (mut state, tx) = (entry.state.clone(), tx.clone());
    AbortOnDrop(tokio::spawn(async move {
        // The first answer is waited for by whoever asks; only later changes are news.
        if state.wait_for(|s| !matches!(s, Loaded::Pending)).await.is_err() {
            return;
        }
        while state.changed().await.is_ok() && tx.send(Message::Wake).is_ok() {}
    }))
}

impl Worker {
    /// Addresses and sizes that field references use.
    pub(super) fn facts(&self) -> NodeFacts {
        let machine = &self.agent.machine;
        NodeFacts {
            host_ips: self.agent.host_ips.clone(),
            pod_ips: if pod::host_network(&self.pod) {
                self.agent.host_ips.clone()
            } else {
                self.observed.ips().to_vec()
            },
            allocatable_cpu_milli: machine.cpus * 1000,
            allocatable_memory: self.agent.allocatable_memory(),
            allocatable_storage: self.agent.allocatable_storage(),
        }
    }

    /// The ConfigMaps and Secrets the pod names; an error names one that cannot be read.
    pub(super) async fn objects(&mut self) -> Result<Objects, String> {
        let (maps, secrets) = objects::references(&self.pod);
        let namespace = pod::namespace(&self.pod).to_string();
        self.config_maps.retain(|n, _| maps.contains(n));
        self.secrets.retain(|n, _| secrets.contains(n));
        for name in &maps {
            if !self.config_maps.contains_key(name) {
                let entry = self.agent.config_maps.subscribe(&namespace, name);
                let task = forward(&entry, &self.tx);
                self.config_maps.insert(name.clone(), (entry, task));
            }
        }
        for name in &secrets {
            if !self.secrets.contains_key(name) {
                let entry = self.agent.secrets.subscribe(&namespace, name);
                let task = forward(&entry, &self.tx);
                self.secrets.insert(name.clone(), (entry, task));
            }
        }
        let mut found = Objects::default();
        for (name, (entry, _)) in &self.config_maps {
            if let Some(object) = entry.get().await? {
                found.config_maps.insert(name.clone(), object);
            }
        }
        for (name, (entry, _)) in &self.secrets {
            if let Some(object) = entry.get().await? {
                found.secrets.insert(name.clone(), object);
            }
        }
        Ok(found)
    }

    /// Tokens for the pod's projections, renewed when four fifths of their life are over.
    async fn tokens(&mut self) -> Result<volumes::Tokens, String> {
        let mut wanted = Vec::new();
        for volume in pod::spec(&self.pod).volumes.iter().flatten() {
            for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
                if let Some(p) = &source.service_account_token {
                    let seconds = p.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
                    wanted.push((p.audience.clone().unwrap_or_default(), seconds));
                }
            }
        }
        let now = self.agent.now();
        let mut tokens = volumes::Tokens::new();
        for key in wanted {
            if self.tokens.get(&key).is_none_or(|(_, renew)| *renew <= now) {
                match self.request_token(&key).await {
                    Ok(fresh) => {
                        self.tokens.insert(key.clone(), fresh);
                    }
                    Err(error) if !self.tokens.contains_key(&key) => return Err(error),
                    Err(error) => {
                        tracing::warn!(error, "token not renewed");
                        self.wake_after(Duration::from_secs(10));
                    }
                }
            }
            if let Some((token, renew)) = self.tokens.get(&key).cloned() {
                if renew > now {
                    self.wake_after(Duration::try_from(renew.duration_since(now)).unwrap_or_default());
                }
                tokens.insert(key, token);
            }
        }
        Ok(tokens)
    }

    async fn request_token(&self, key: &(String, i64)) -> Result<(String, Timestamp), String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.agent.client.clone(), pod::namespace(&self.pod));
        let account = pod::spec(&self.pod).service_account_name.clone().unwrap_or_else(|| "default".into());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: Some(key.0.clone()).filter(|a| !a.is_empty()).into_iter().collect(),
                expiration_seconds: Some(key.1),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let mut response = api.create_token_request(&account, &PostParams::default(), &request).await;
        // The authorizer may learn of the pod a moment after the node does.
        for delay in [10, 30, 100, 300] {
            if !matches!(&response, Err(kube::Error::Api(status)) if status.code == 403) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(delay)).await;
            response = api.create_token_request(&account, &PostParams::default(), &request).await;
        }
        let response = response.map_err(|e| format!("failed to fetch token: {e}"))?;
        let status = response.status.ok_or("failed to fetch token: no status")?;
        let now = self.agent.now();
        let life = Duration::try_from(status.expiration_timestamp.0.duration_since(now)).unwrap_or_default();
        Ok((status.token, backoff::after(now, life.mul_f64(0.8))))
    }

    /// Makes or refreshes all volumes. With `only_refresh` a failure waits for the next change.
    pub(super) async fn supply(&mut self, only_refresh: bool) -> Result<(), String> {
        let result = self.set_up_volumes().await;
        if let (true, Err(error)) = (only_refresh, &result) {
            tracing::debug!(error, "volumes not refreshed");
        }
        result
    }

    async fn set_up_volumes(&mut self) -> Result<(), String> {
        let objects = self.objects().await?;
        let volumes = pod::spec(&self.pod).volumes.clone().unwrap_or_default();
        if volumes.is_empty() {
            return Ok(());
        }
        let first =
            volumes.iter().find(|v| v.projected.is_some()).map(|v| v.name.clone()).unwrap_or_default();
        let tokens = self.tokens().await;
        let tokens = tokens.map_err(|e| format!("MountVolume.SetUp failed for volume {first:?} : {e}"))?;
        let pod_dir = self.agent.pod_dir(pod::uid(&self.pod));
        let (pod, facts) = (self.given(), self.facts());
        let work = move || {
            let source = volumes::Source {
                pod: &pod,
                pod_dir: &pod_dir,
                objects: &objects,
                facts: &facts,
                tokens: &tokens,
            };
            volumes.iter().try_for_each(|v| volumes::set_up(&source, v))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(e.to_string()))
    }
}
