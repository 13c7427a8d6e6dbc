//! The pure difference between what a pod's spec asks for and what the runtime shows.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    observed::{Instance, Observed, State},
    pod::{self, Sort},
};

/// What probes know of a running instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeView {
    /// The startup probe has succeeded, or there is none.
    pub started: bool,
    /// The liveness probe has failed for good.
    pub liveness_failed: bool,
    /// The startup probe has failed for good.
    pub startup_failed: bool,
}

/// Why an instance is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Its definition is not the spec's any more.
    DefinitionChanged,
    /// Liveness probe failed.
    Liveness,
    /// Startup probe failed.
    Startup,
    /// Its state is not known.
    Unknown,
    /// It asks to be started anew when its resources change.
    Resized,
}

/// An instance to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Instance id.
    pub id: String,
    /// Container name.
    pub name: String,
    /// Why.
    pub reason: KillReason,
}

/// The runtime calls one sync makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Stop every sandbox and everything in it first.
    pub kill_pod: bool,
    /// Make a sandbox with this attempt number.
    pub create_sandbox: Option<u32>,
    /// Instances to stop.
    pub kill: Vec<Kill>,
    /// Containers to start, in order.
    pub start: Vec<(Sort, String)>,
}

/// Inputs of [`plan`].
pub struct Input<'a> {
    /// Desired.
    pub pod: &'a Pod,
    /// Observed.
    pub observed: &'a Observed,
    /// Probe results by instance.
    pub probes: &'a dyn Fn(&Instance) -> ProbeView,
    /// Hash of a container's definition.
    pub hash: &'a dyn Fn(&Container) -> String,
}

/// Whether a container that is not running is to be started again under its restart policy.
pub fn should_restart(pod: &Pod, container: &Container, sort: Sort, newest: Option<&Instance>) -> bool {
    if pod::is_deleted(pod) {
        return false;
    }
    let Some(instance) = newest else { return true };
    match instance.state {
        State::Running => return false,
        State::Created | State::Unknown => return true,
        State::Exited => {}
    }
    sort != Sort::Ephemeral && restarts_after(pod, container, sort, instance.exit_code)
}

/// Whether a container that ended with this code is started again: by its own rules, its own policy or the
/// pod's.
pub fn restarts_after(pod: &Pod, container: &Container, sort: Sort, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|c| *c == exit_code);
        if rule.action == "Restart" && (codes.operator == "In") == listed {
            return true;
        }
    }
    let policy =
        container.restart_policy.as_deref().unwrap_or_else(|| match (sort, pod::restart_policy(pod)) {
            (Sort::Init, "Always") => "OnFailure",
            (_, policy) => policy,
        });
    match policy {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

fn unhealthy(input: &Input<'_>, container: &Container, instance: &Instance) -> Option<KillReason> {
    let view = (input.probes)(instance);
    if !instance.hash.is_empty() && instance.hash != (input.hash)(container) {
        Some(KillReason::DefinitionChanged)
    } else if view.liveness_failed {
        Some(KillReason::Liveness)
    } else if view.startup_failed {
        Some(KillReason::Startup)
    } else {
        None
    }
}

fn kill(instance: &Instance, reason: KillReason) -> Kill {
    Kill { id: instance.id.clone(), name: instance.name.clone(), reason }
}

/// Result of walking the init containers.
enum Init {
    /// All done: regular containers may run.
    Done,
    /// Something has to run first.
    Pending,
    /// One failed and may not be tried again.
    Failed,
}

fn plan_init(input: &Input<'_>, plan: &mut Plan) -> Init {
    let (pod, observed) = (input.pod, input.observed);
    let initialized = pod::spec(pod).containers.iter().any(|c| observed.current(&c.name).is_some());
    for container in pod::init_containers(pod) {
        let sidecar = pod::is_sidecar(container);
        if initialized && !sidecar {
            continue;
        }
        let Some(instance) = observed.current(&container.name) else {
            plan.start.push((Sort::Init, container.name.clone()));
            if initialized {
                continue;
            }
            return Init::Pending;
        };
        match instance.state {
            State::Running => {
                if let Some(reason) = unhealthy(input, container, instance).filter(|_| sidecar) {
                    plan.kill.push(kill(instance, reason));
                    if !initialized {
                        return Init::Pending;
                    }
                } else if !(initialized || sidecar && (input.probes)(instance).started) {
                    return Init::Pending;
                }
            }
            State::Exited if !sidecar && instance.exit_code == 0 => {}
            _ => {
                if !should_restart(pod, container, Sort::Init, Some(instance)) {
                    return Init::Failed;
                }
                if instance.state == State::Unknown {
                    plan.kill.push(kill(instance, KillReason::Unknown));
                }
                plan.start.push((Sort::Init, container.name.clone()));
                if !initialized {
                    return Init::Pending;
                }
            }
        }
    }
    Init::Done
}

/// Decides the next calls. Calling again with nothing changed gives the same plan; a pod that is as
/// it should be gives an empty one.
pub fn plan(input: &Input<'_>) -> Plan {
    let (pod, observed) = (input.pod, input.observed);
    let mut plan = Plan::default();
    let spec = pod::spec(pod);
    let ready = observed.sandboxes.iter().filter(|s| s.ready).count();
    let usable = observed.sandbox().is_some_and(|s| s.ready) && ready == 1;

    if !usable {
        let attempt = observed.sandbox().map_or(0, |s| s.attempt + 1);
        let pending = spec.containers.iter().any(|c| {
            let newest = observed.newest(&c.name);
            should_restart(pod, c, Sort::Regular, newest)
                || newest.is_some_and(|i| i.state == State::Running && pod::restart_policy(pod) != "Never")
        });
        let init_failed = pod::init_containers(pod).iter().any(|c| {
            observed.newest(&c.name).is_some_and(|i| {
                !pod::is_sidecar(c)
                    && i.state == State::Exited
                    && i.exit_code != 0
                    && !should_restart(pod, c, Sort::Init, Some(i))
            })
        });
        plan.kill_pod = !observed.sandboxes.is_empty() && (ready > 0 || observed.running().next().is_some());
        if !pending || init_failed {
            return plan;
        }
        plan.create_sandbox = Some(attempt);
        match pod::init_containers(pod).first() {
            Some(first) => plan.start.push((Sort::Init, first.name.clone())),
            None => {
                for c in &spec.containers {
                    if should_restart(
                        pod,
                        c,
                        Sort::Regular,
                        observed.newest(&c.name).filter(|i| i.state == State::Exited),
                    ) {
                        plan.start.push((Sort::Regular, c.name.clone()));
                    }
                }
            }
        }
        return plan;
    }

    for c in pod::ephemeral_containers(pod) {
        if observed.current(&c.name).is_none() {
            plan.start.push((Sort::Ephemeral, c.name));
        }
    }
    match plan_init(input, &mut plan) {
        Init::Done => {}
        Init::Pending => return plan,
        Init::Failed => {
            plan.kill_pod = true;
            plan.start.clear();
            plan.kill.clear();
            return plan;
        }
    }
    let sidecars_starting = plan.start.iter().any(|(s, _)| *s == Sort::Init);
    let mut kept = 0;
    for c in &spec.containers {
        match observed.current(&c.name) {
            Some(instance) if instance.state == State::Running => match unhealthy(input, c, instance) {
                Some(reason) => {
                    plan.kill.push(kill(instance, reason));
                    kept += 1;
                }
                None => kept += 1,
            },
            newest => {
                if should_restart(pod, c, Sort::Regular, newest) {
                    if let Some(instance) = newest.filter(|i| i.state == State::Unknown) {
                        plan.kill.push(kill(instance, KillReason::Unknown));
                    }
                    plan.start.push((Sort::Regular, c.name.clone()));
                    kept += 1;
                }
            }
        }
    }
    if kept == 0 {
        plan = Plan { kill_pod: true, ..Plan::default() };
    } else if sidecars_starting && !spec.containers.iter().any(|c| observed.current(&c.name).is_some()) {
        plan.start.retain(|(s, _)| *s != Sort::Regular);
    }
    plan
}

#[cfg(test)]
mod tests;
