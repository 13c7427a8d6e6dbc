//! Security contexts as the runtime takes them.

use gantry_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};

use crate::pod;

const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Namespaces the pod shares with the node or among its containers.
pub fn namespaces(pod: &Pod) -> cri::NamespaceOption {
    use cri::NamespaceMode as Mode;
    let spec = pod::spec(pod);
    let node = |on: Option<bool>, other: Mode| if on == Some(true) { Mode::Node } else { other } as i32;
    let shared = if spec.share_process_namespace == Some(true) { Mode::Pod } else { Mode::Container };
    cri::NamespaceOption {
        network: node(spec.host_network, Mode::Pod),
        ipc: node(spec.host_ipc, Mode::Pod),
        pid: node(spec.host_pid, shared),
        ..Default::default()
    }
}

fn seccomp(profile: Option<&SeccompProfile>, privileged: bool) -> cri::SecurityProfile {
    let (kind, path) = match profile.map(|p| p.type_.as_str()) {
        _ if privileged => (cri::ProfileType::Unconfined, String::new()),
        Some("Unconfined") => (cri::ProfileType::Unconfined, String::new()),
        Some("Localhost") => (
            cri::ProfileType::Localhost,
            profile.and_then(|p| p.localhost_profile.clone()).unwrap_or_default(),
        ),
        _ => (cri::ProfileType::RuntimeDefault, String::new()),
    };
    cri::SecurityProfile { profile_type: kind as i32, localhost_ref: path }
}

fn int(value: i64) -> cri::Int64Value {
    cri::Int64Value { value }
}

/// Whether the pod or one of its containers is privileged.
fn any_privileged(pod: &Pod) -> bool {
    pod::all_containers(pod)
        .iter()
        .any(|(_, c)| c.security_context.as_ref().and_then(|s| s.privileged).unwrap_or(false))
}

/// The sandbox's security context.
pub fn sandbox(pod: &Pod) -> cri::LinuxSandboxSecurityContext {
    let context = pod::spec(pod).security_context.clone().unwrap_or_default();
    let privileged = any_privileged(pod);
    cri::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: context.run_as_user.map(int),
        run_as_group: context.run_as_group.map(int),
        supplemental_groups: groups(pod),
        privileged,
        seccomp: Some(seccomp(context.seccomp_profile.as_ref(), privileged)),
        ..Default::default()
    }
}

fn groups(pod: &Pod) -> Vec<i64> {
    let context = pod::spec(pod).security_context.clone().unwrap_or_default();
    context.fs_group.into_iter().chain(context.supplemental_groups.into_iter().flatten()).collect()
}

/// The container's security context. `image_user` is the image's uid when it is numeric and no user is
/// set; an error is the message of `CreateContainerConfigError`.
pub fn container(
    pod: &Pod,
    container: &Container,
    image_uid: Option<i64>,
    image_username: &str,
) -> Result<cri::LinuxContainerSecurityContext, String> {
    let pod_context = pod::spec(pod).security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(pod_context.run_as_user);
    if own.run_as_non_root.or(pod_context.run_as_non_root) == Some(true) {
        let name = format!("(pod: {:?}, container: {})", pod::format_pod(pod), container.name);
        match user.or(image_uid) {
            Some(0) if user.is_some() => {
                return Err(format!("container's runAsUser breaks non-root policy {name}"));
            }
            Some(0) => return Err(format!("container has runAsNonRoot and image will run as root {name}")),
            Some(_) => {}
            None if !image_username.is_empty() => {
                return Err(format!(
                    "container has runAsNonRoot and image has non-numeric user ({image_username}), \
                     cannot verify user is non-root {name}"
                ));
            }
            None => return Err(format!("container has runAsNonRoot and image will run as root {name}")),
        }
    }
    let privileged = own.privileged.unwrap_or(false);
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let strip = |list: Option<Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|c| c.trim_start_matches("CAP_").to_string()).collect()
    };
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| if unmasked { vec![] } else { list.iter().map(|p| p.to_string()).collect() };
    let strict = pod_context.supplemental_groups_policy.as_deref() == Some("Strict");
    let policy =
        if strict { cri::SupplementalGroupsPolicy::Strict } else { cri::SupplementalGroupsPolicy::Merge };
    Ok(cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: strip(capabilities.add),
            drop_capabilities: strip(capabilities.drop),
            ..Default::default()
        }),
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: user.or(image_uid).map(int),
        run_as_group: own.run_as_group.or(pod_context.run_as_group).map(int),
        run_as_username: if user.or(image_uid).is_none() {
            image_username.to_string()
        } else {
            String::new()
        },
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: policy as i32,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(MASKED),
        readonly_paths: paths(READONLY),
        seccomp: Some(seccomp(
            own.seccomp_profile.as_ref().or(pod_context.seccomp_profile.as_ref()),
            privileged,
        )),
        ..Default::default()
    })
}
