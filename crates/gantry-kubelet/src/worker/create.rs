//! Making the sandbox.

use gantry_cri::v1 as cri;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;

use super::{Halt, Worker};
use crate::{names, observed::label, pod, resources, security, users};

impl Worker {
    pub(super) fn sandbox_config(&self, attempt: u32) -> cri::PodSandboxConfig {
        let pod = &self.pod;
        let spec = pod::spec(pod);
        let config = &self.agent.config;
        let mut labels = pod.metadata.labels.clone().unwrap_or_default();
        labels.insert(label::POD_NAME.into(), pod::name(pod).into());
        labels.insert(label::POD_NAMESPACE.into(), pod::namespace(pod).into());
        labels.insert(label::POD_UID.into(), pod::uid(pod).into());
        let ports =
            pod::init_containers(pod).iter().chain(&spec.containers).flat_map(|c| c.ports.iter().flatten());
        let hostname = match pod::host_network(pod) {
            true => config.node_name.clone(),
            // That it is too long has been told before.
            false => names::shown_hostname(pod, &config.cluster_domain).unwrap_or_default(),
        };
        let mut security = security::sandbox(pod);
        security.namespace_options.get_or_insert_default().userns_options = self.users().ok();
        let sysctls = spec.security_context.iter().flat_map(|s| s.sysctls.iter().flatten());
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: pod::name(pod).into(),
                uid: pod::uid(pod).into(),
                namespace: pod::namespace(pod).into(),
                attempt,
            }),
            hostname,
            log_directory: self.agent.log_dir(pod).to_string_lossy().into_owned(),
            dns_config: Some(self.dns().0),
            port_mappings: ports
                .filter(|p| p.host_port.unwrap_or(0) > 0 && !pod::host_network(pod))
                .map(|p| cri::PortMapping {
                    protocol: match p.protocol.as_deref() {
                        Some("UDP") => cri::Protocol::Udp,
                        Some("SCTP") => cri::Protocol::Sctp,
                        _ => cri::Protocol::Tcp,
                    } as i32,
                    container_port: p.container_port,
                    host_port: p.host_port.unwrap_or(0),
                    host_ip: p.host_ip.clone().unwrap_or_default(),
                })
                .collect(),
            labels,
            annotations: pod.metadata.annotations.clone().unwrap_or_default(),
            linux: Some(cri::LinuxPodSandboxConfig {
                cgroup_parent: resources::cgroup_parent(&self.agent.config.cgroup_root, pod),
                security_context: Some(security),
                sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
                resources: Some(resources::pod_level(&self.given())),
                ..Default::default()
            }),
        }
    }

    /// The pod's resolver settings, and what of them had to be left out.
    fn dns(&self) -> (cri::DNSConfig, Vec<String>) {
        let config = &self.agent.config;
        names::dns(&self.pod, &config.cluster_dns, &config.cluster_domain, &self.agent.node_dns)
    }

    /// The name that the runtime knows the pod's RuntimeClass by; empty for the usual one.
    async fn runtime_handler(&self) -> Result<String, String> {
        let spec = pod::spec(&self.pod);
        let name = spec.runtime_class_name.as_deref().filter(|name| !name.is_empty());
        let handler = match name {
            None => String::new(),
            Some(name) => {
                let api: Api<RuntimeClass> = Api::all(self.agent.client.clone());
                let found = api.get_opt(name).await.map_err(|e| {
                    format!("failed to get sandbox runtime: failed to get RuntimeClass {name:?}: {e}")
                })?;
                let missing = || {
                    format!("failed to get sandbox runtime: RuntimeClass.node.k8s.io \"{name}\" not found")
                };
                found.ok_or_else(missing)?.handler
            }
        };
        if users::are_own(&self.pod) {
            let status = self.agent.runtime.status(cri::StatusRequest::default()).await;
            let handlers = status.map_err(|e| e.message)?.runtime_handlers;
            let able = |h: &cri::RuntimeHandler| h.features.as_ref().is_some_and(|f| f.user_namespaces);
            if !handlers.iter().any(|h| h.name == handler && able(h)) {
                return Err(format!("RuntimeClass handler {handler:?} does not support user namespaces"));
            }
            self.users()?;
        }
        Ok(handler)
    }

    /// The users that the pod's containers have.
    pub(super) fn users(&self) -> Result<cri::UserNamespace, String> {
        let _one_at_a_time = self.agent.users.lock();
        users::of(&self.pod, &self.agent.config.root_dir.join("pods"))
            .map_err(|e| format!("users of the pod: {e}"))
    }

    pub(super) async fn create_sandbox(&mut self, attempt: u32) -> Result<(), Halt> {
        let logs = self.agent.log_dir(&self.pod);
        if attempt > 0 {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.agent.events.pod(&self.pod, false, "SandboxChanged", message);
        }
        let made = std::fs::create_dir_all(&logs).map_err(|e| format!("{}: {e}", logs.display()));
        for omitted in self.dns().1 {
            self.agent.events.pod(&self.pod, true, "DNSConfigForming", omitted);
        }
        let named = match pod::host_network(&self.pod) {
            true => Ok(()),
            false => names::shown_hostname(&self.pod, &self.agent.config.cluster_domain).map(drop),
        };
        let prepared = match made.and(named) {
            Ok(()) => self.runtime_handler().await,
            Err(error) => Err(error),
        };
        let result = match prepared {
            Ok(runtime_handler) => {
                let config = Some(self.sandbox_config(attempt));
                let request = cri::RunPodSandboxRequest { config, runtime_handler };
                let runtime = self.agent.runtime.clone();
                // A call that was begun ends, also when this sync is interrupted.
                let call = tokio::spawn(async move { runtime.run_pod_sandbox(request).await });
                call.await.map_err(|e| e.to_string()).and_then(|r| r.map(drop).map_err(|e| e.message))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let message = format!("Failed to create pod sandbox: {error}");
            self.agent.events.pod(&self.pod, true, "FailedCreatePodSandBox", message);
            self.setup_failed("sandbox");
            return Err(Halt::Later);
        }
        self.setup.reset("sandbox");
        self.observe().await;
        Ok(())
    }
}
