//! postStart and preStop hooks.

use std::{sync::Arc, time::Duration};

use gantry_cri::RuntimeService;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probe::handler;

/// A hook without a limit of its own may take this long: a day.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook of a running instance; an error is the text for logs and events.
pub async fn run(
    runtime: &Arc<dyn RuntimeService>,
    hook: &LifecycleHandler,
    container: &Container,
    id: &str,
    ip: &str,
    limit: Option<Duration>,
) -> Result<(), String> {
    let limit = limit.unwrap_or(NO_LIMIT);
    if let Some(exec) = &hook.exec {
        handler::exec(runtime, id, exec.command.as_deref().unwrap_or_default(), limit).await
    } else if let Some(action) = &hook.http_get {
        let limit = limit.min(Duration::from_secs(60));
        handler::http_get(action, container, ip, limit, "kube-lifecycle/1.35").await.map(drop)
    } else if let Some(action) = &hook.tcp_socket {
        let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(ip);
        handler::tcp(host, handler::port(&action.port, container)?, limit).await
    } else if let Some(sleep) = &hook.sleep {
        let wanted = Duration::from_secs(sleep.seconds.max(0) as u64);
        tokio::time::sleep(wanted.min(limit)).await;
        if wanted > limit { Err("the grace period ended before the hook did".into()) } else { Ok(()) }
    } else {
        Err("invalid handler".into())
    }
}
