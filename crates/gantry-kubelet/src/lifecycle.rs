//! postStart and preStop hooks.

use std::{sync::Arc, time::Duration};

use gantry_cri::RuntimeService;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::{pod, probe::handler};

/// A hook without a limit of its own may take this long: a day.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a hook of a running instance; an error is the text for logs and the container's state.
pub async fn run(
    runtime: &Arc<dyn RuntimeService>,
    hook: &LifecycleHandler,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: &str,
    limit: Option<Duration>,
) -> Result<(), String> {
    let limit = limit.unwrap_or(NO_LIMIT);
    let failed = |sort: &str, what: &str, error: String| {
        let (container, pod) = (&container.name, pod::format_pod(pod));
        format!(
            "{sort} lifecycle hook ({what}) for Container {container:?} in Pod {pod:?} failed - error: {error}"
        )
    };
    if let Some(exec) = &hook.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let (error, output) = match handler::run(runtime, id, command, limit).await {
            Ok(ended) if ended.code == 0 => return Ok(()),
            Ok(ended) => {
                let error =
                    format!("command '{}' exited with {}: {}", command.join(" "), ended.code, ended.errors);
                (error, String::from_utf8_lossy(&ended.output).into_owned())
            }
            Err(error) => (error.to_string(), String::new()),
        };
        Err(failed("Exec", &format!("[{}]", command.join(" ")), format!("{error}, message: {output:?}")))
    } else if let Some(action) = &hook.http_get {
        // Whatever is answered: the hook was told.
        let answer = handler::fetch(action, container, ip, limit, "kube-lifecycle/1.35").await;
        let path = action.path.as_deref().unwrap_or_default();
        answer.map(drop).map_err(|error| failed("HTTP", path, error.to_string()))
    } else if let Some(sleep) = &hook.sleep {
        let wanted = Duration::from_secs(sleep.seconds.max(0) as u64);
        tokio::time::sleep(wanted.min(limit)).await;
        let late = || "container terminated before sleep hook finished".to_owned();
        if wanted > limit { Err(failed("Sleep", &sleep.seconds.to_string(), late())) } else { Ok(()) }
    } else {
        // The API knows connections as hooks, too, but nobody has ever made them.
        Err("cannot run handler: invalid handler".into())
    }
}
