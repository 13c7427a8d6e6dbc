//! Starting one container: back-off, image, configuration, hooks.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use gantry_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Halt, Worker, hash};
use crate::{
    backoff::{self, format_duration, format_milliseconds},
    env, env_file,
    expand::expand,
    image::{self, Decision},
    lifecycle, names,
    observed::{State, label},
    pod::{self, Sort},
    resources, security, volumes,
};

type Failure = (&'static str, String);

/// Ids of the images that are mounted as volumes, by the volume's name.
type ImageVolumes = BTreeMap<String, String>;

impl Worker {
    fn event(&self, sort: Sort, name: &str, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.agent.events.container(&self.pod, (sort, name), warning, reason, message);
    }

    /// Starts one container of the plan. A failure becomes the container's waiting reason.
    pub(super) async fn start_container(&mut self, sort: Sort, name: &str) -> Result<(), Halt> {
        let Some((_, container)) = pod::find_container(&self.given(), name) else { return Ok(()) };
        if self.crash_looping(sort, &container) {
            return Err(Halt::Later);
        }
        match self.try_start(sort, &container).await {
            Ok(()) => Ok(()),
            Err((reason, message)) => {
                self.reasons.insert(name.to_string(), (reason.to_string(), message));
                if self.wake_at.is_none() || !matches!(reason, "ImagePullBackOff" | "ErrImagePull") {
                    self.wake_after(Duration::from_secs(10));
                }
                Err(Halt::Later)
            }
        }
    }

    fn crash_looping(&mut self, sort: Sort, container: &Container) -> bool {
        let name = &container.name;
        let last = self.observed.of(name).find(|i| i.state == State::Exited);
        let Some(ended) = last.map(|i| i.finished_at) else { return false };
        let now = self.agent.now();
        let key = format!("{name}/{}", hash(container));
        if let Some((left, delay)) = self.crashes.remaining(&key, ended, now) {
            let pod = pod::format_pod(&self.pod);
            let message =
                format!("back-off {} restarting failed container={name} pod={pod}", format_duration(delay));
            self.event(
                sort,
                name,
                true,
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {pod}"),
            );
            self.reasons.insert(name.clone(), ("CrashLoopBackOff".into(), message));
            self.wake_after(left);
            return true;
        }
        self.crashes.next(&key, ended.max(now));
        false
    }

    async fn try_start(&mut self, sort: Sort, container: &Container) -> Result<(), Failure> {
        let name = container.name.clone();
        let (asked, policy) = (container.image.as_deref().unwrap_or_default(), &container.image_pull_policy);
        let image = self.ensure_image(sort, &name, asked, policy.as_deref()).await?;
        let mut volumes = ImageVolumes::new();
        for mount in container.volume_mounts.iter().flatten() {
            let pod = self.pod.clone();
            let volume = pod::spec(&pod).volumes.iter().flatten().find(|v| v.name == mount.name);
            let Some(source) = volume.and_then(|v| v.image.as_ref()) else { continue };
            let asked = source.reference.as_deref().unwrap_or_default();
            let found = self.ensure_image(sort, &name, asked, source.pull_policy.as_deref()).await?;
            volumes.insert(mount.name.clone(), found.id);
        }
        let attempt = self.next_attempt(&name);
        let config = match self.container_config(container, &image, &volumes, attempt).await {
            Ok(config) => config,
            Err(message) => {
                self.event(sort, &name, true, "Failed", format!("Error: {message}"));
                return Err(("CreateContainerConfigError", message));
            }
        };
        let Some(sandbox) = self.observed.sandbox().filter(|s| s.ready).cloned() else {
            return Err(("CreateContainerError", "the pod's sandbox is not ready".into()));
        };
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.id,
            config: Some(config),
            sandbox_config: Some(self.sandbox_config(sandbox.attempt)),
        };
        let runtime = self.agent.runtime.clone();
        let call = tokio::spawn(async move {
            let id = match runtime.create_container(request).await {
                Ok(response) => response.container_id,
                Err(error) => return Err((false, error.message)),
            };
            let start = cri::StartContainerRequest { container_id: id.clone() };
            runtime.start_container(start).await.map_err(|e| (true, e.message)).map(|_| id)
        });
        let id = match call.await.unwrap_or_else(|e| Err((false, e.to_string()))) {
            Ok(id) => id,
            Err((created, message)) => {
                self.event(sort, &name, true, "Failed", format!("Error: {message}"));
                let reason = if created { "RunContainerError" } else { "CreateContainerError" };
                return Err((reason, message));
            }
        };
        self.sizes.started(id.clone(), container.resources.clone().unwrap_or_default());
        self.event(sort, &name, false, "Created", "Container created");
        self.event(sort, &name, false, "Started", "Container started");
        self.reasons.remove(&name);
        let post_start = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        if let Some(hook) = post_start {
            let ip = self.facts().pod_ips.first().cloned().unwrap_or_default();
            let (runtime, pod) = (&self.agent.runtime, &self.pod);
            if let Err(error) = lifecycle::run(runtime, hook, pod, container, &id, &ip, None).await {
                self.event(sort, &name, true, "FailedPostStartHook", "PostStartHook failed");
                tracing::warn!(container = name, error, "postStart hook failed");
                if self.observe().await
                    && let Some(instance) = self.observed.instances.iter().find(|i| i.id == id).cloned()
                {
                    let grace = pod::grace_period(&self.pod);
                    // A panic of the task has been logged by the runtime.
                    let _ = self.stop_instance(&instance, grace, "FailedPostStartHook".into()).await;
                }
                return Err(("PostStartHookError", error));
            }
        }
        Ok(())
    }

    fn next_attempt(&self, name: &str) -> u32 {
        if let Some(newest) = self.observed.newest(name) {
            return newest.restart_count + 1;
        }
        let status = self.pod.status.as_ref();
        let lists = status.into_iter().flat_map(|s| {
            s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten())
        });
        let lost = lists.filter(|s| s.name == name).find(|s| s.container_id.is_some() || s.restart_count > 0);
        lost.map_or(0, |s| s.restart_count.max(0) as u32)
    }

    /// The image, fetched if need be, for the container of that name.
    async fn ensure_image(
        &mut self,
        sort: Sort,
        name: &str,
        asked: &str,
        policy: Option<&str>,
    ) -> Result<cri::Image, Failure> {
        let full = match image::with_default_tag(asked) {
            Ok(full) => full,
            Err(message) => {
                self.event(sort, name, true, "InspectFailed", message.clone());
                return Err(("InvalidImageName", message));
            }
        };
        let spec =
            cri::ImageSpec { image: full.clone(), user_specified_image: asked.into(), ..Default::default() };
        let status = cri::ImageStatusRequest { image: Some(spec.clone()), verbose: false };
        let present = match self.agent.images.image_status(status.clone()).await {
            Ok(response) => response.image,
            Err(error) => {
                let message = format!("Failed to inspect image {asked:?}: {error}");
                self.event(sort, name, true, "InspectFailed", message.clone());
                return Err(("ImageInspectError", message));
            }
        };
        match image::decide(policy, &full, present.is_some()) {
            Decision::Use => {
                let text = format!(
                    "Container image {asked:?} already present on machine and can be accessed by the pod"
                );
                self.event(sort, name, false, "Pulled", text);
                return Ok(present.unwrap_or_default());
            }
            Decision::Never => {
                let message = format!("Container image {asked:?} is not present with pull policy of Never");
                self.event(sort, name, true, "ErrImageNeverPull", message.clone());
                return Err(("ErrImageNeverPull", message));
            }
            Decision::Pull => {}
        }
        let now = self.agent.now();
        if let Some((left, _)) = self.pulls.remaining_since_update(&full, now) {
            let message = format!("Back-off pulling image {asked:?}");
            self.event(sort, name, false, "BackOff", message.clone());
            self.event(sort, name, true, "Failed", "Error: ImagePullBackOff");
            self.wake_after(left);
            let last =
                self.pull_errors.get(&full).map(|e| format!(": ErrImagePull: {e}")).unwrap_or_default();
            return Err(("ImagePullBackOff", format!("{message}{last}")));
        }
        self.event(sort, name, false, "Pulling", format!("Pulling image {asked:?}"));
        let objects = self.objects().await.unwrap_or_default();
        let pull_secrets = pod::spec(&self.pod).image_pull_secrets.iter().flatten();
        let absent =
            pull_secrets.clone().filter(|s| !s.name.is_empty() && !objects.secrets.contains_key(&s.name));
        let absent: Vec<&str> = absent.map(|s| s.name.as_str()).collect();
        if !absent.is_empty() {
            let text = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                absent.join(", ")
            );
            self.agent.events.pod(&self.pod, true, "FailedToRetrieveImagePullSecret", text);
        }
        let secrets = pull_secrets.filter_map(|s| objects.secrets.get(&s.name)).map(|s| s.as_ref());
        let request = cri::PullImageRequest {
            image: Some(spec),
            auth: image::credentials(&full, secrets),
            sandbox_config: None,
        };
        let begun = std::time::Instant::now();
        match self.agent.images.pull_image(request).await {
            Ok(_) => {
                self.pulls.reset(&full);
                self.pull_errors.remove(&full);
                let image = self
                    .agent
                    .images
                    .image_status(status)
                    .await
                    .ok()
                    .and_then(|r| r.image)
                    .unwrap_or_default();
                let took = format_milliseconds(begun.elapsed());
                let text = format!(
                    "Successfully pulled image {asked:?} in {took} ({took} including waiting). Image size: {} bytes.",
                    image.size
                );
                self.event(sort, name, false, "Pulled", text);
                Ok(image)
            }
            Err(error) => {
                let now = self.agent.now();
                self.pulls.next(&full, now);
                let message = format!("failed to pull image {asked:?}: {error}");
                self.event(sort, name, true, "Failed", format!("Failed to pull image {asked:?}: {error}"));
                self.event(sort, name, true, "Failed", "Error: ErrImagePull");
                self.pull_errors.insert(full.clone(), message.clone());
                let wait = self.pulls.remaining_since_update(&full, now).map_or(backoff::INITIAL, |(l, _)| l);
                // The first wait shows ErrImagePull, a sync soon after shows ImagePullBackOff.
                self.wake_after(wait.min(Duration::from_secs(2)));
                Err(("ErrImagePull", message))
            }
        }
    }

    async fn container_config(
        &mut self,
        container: &Container,
        image: &cri::Image,
        volumes: &ImageVolumes,
        attempt: u32,
    ) -> Result<cri::ContainerConfig, String> {
        let pod = self.given();
        let objects = self.objects().await?;
        let facts = self.facts();
        let services = {
            let mut rx = self.agent.services.clone();
            let known = tokio::time::timeout(Duration::from_secs(10), rx.wait_for(|s| s.is_some())).await;
            let services = known.ok().and_then(|r| r.ok()).and_then(|s| s.clone());
            let services =
                services.ok_or("services have not yet been read at least once, cannot construct envvars")?;
            let list: Vec<_> = services.values().cloned().collect();
            env::service_env(
                &list,
                pod::namespace(&pod),
                pod::spec(&pod).enable_service_links.unwrap_or(true),
            )
        };
        let files = |selector: &_| env_file::read(&self.agent.pod_dir(pod::uid(&pod)), &pod, selector);
        let envs = env::container_env(&pod, container, &services, &objects, &facts, &files)?;
        let lookup = |name: &str| envs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let words = |list: &Option<Vec<String>>| list.iter().flatten().map(|w| expand(w, lookup)).collect();
        let uid = image.uid.as_ref().map(|u| u.value);
        let mut context = security::container(&pod, container, uid, &image.username)?;
        if let Some(target) = pod::target_of(&pod, &container.name) {
            let running = self.observed.current(target).filter(|i| i.state == State::Running);
            let id = running.map(|i| i.id.clone());
            let options = context.namespace_options.get_or_insert_default();
            options.target_id = id.ok_or_else(|| format!("unable to find target container {target:?}"))?;
            options.pid = cri::NamespaceMode::Target as i32;
        }
        let users = self.users()?;
        let mut mounts = self.mounts(container, volumes, attempt, &lookup)?;
        for mount in mounts.iter_mut().filter(|mount| mount.image.is_none()) {
            mount.uid_mappings = users.uids.clone();
            mount.gid_mappings = users.gids.clone();
        }
        context.namespace_options.get_or_insert_default().userns_options = Some(users);
        let text = |v: &str| v.to_string();
        let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        Ok(cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata { name: container.name.clone(), attempt }),
            image: Some(cri::ImageSpec {
                image: if image.id.is_empty() {
                    container.image.clone().unwrap_or_default()
                } else {
                    image.id.clone()
                },
                user_specified_image: container.image.clone().unwrap_or_default(),
                ..Default::default()
            }),
            command: words(&container.command),
            args: words(&container.args),
            working_dir: container.working_dir.clone().unwrap_or_default(),
            envs: envs.iter().map(|(k, v)| cri::KeyValue { key: k.clone(), value: v.clone() }).collect(),
            mounts,
            labels: [
                (label::POD_NAME, pod::name(&pod)),
                (label::POD_NAMESPACE, pod::namespace(&pod)),
                (label::POD_UID, pod::uid(&pod)),
                (label::CONTAINER_NAME, &container.name),
            ]
            .map(|(k, v)| (text(k), text(v)))
            .into(),
            annotations: [
                (label::HASH, hash(container)),
                (label::RESTART_COUNT, attempt.to_string()),
                (label::MESSAGE_PATH, text(path)),
                (
                    label::MESSAGE_POLICY,
                    container.termination_message_policy.clone().unwrap_or_else(|| "File".into()),
                ),
                (label::GRACE_PERIOD, pod::grace_period(&pod).to_string()),
            ]
            .map(|(k, v)| (text(k), v))
            .into(),
            log_path: format!("{}/{attempt}.log", container.name),
            stdin: container.stdin.unwrap_or(false),
            stdin_once: container.stdin_once.unwrap_or(false),
            tty: container.tty.unwrap_or(false),
            linux: Some(cri::LinuxContainerConfig {
                resources: Some(resources::container(&pod, container, self.agent.machine.memory)),
                security_context: Some(context),
            }),
            ..Default::default()
        })
    }

    fn mounts(
        &self,
        container: &Container,
        images: &ImageVolumes,
        attempt: u32,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<cri::Mount>, String> {
        let pod_dir = self.agent.pod_dir(pod::uid(&self.pod));
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            if let Some(image) = images.get(&mount.name) {
                mounts.push(cri::Mount {
                    container_path: absolute(&mount.mount_path),
                    readonly: true,
                    image: Some(cri::ImageSpec { image: image.clone(), ..Default::default() }),
                    image_sub_path: expanded(mount, lookup)?,
                    ..Default::default()
                });
                continue;
            }
            let volumes = pod::spec(&self.pod).volumes.iter().flatten();
            let volume = volumes.clone().find(|v| v.name == mount.name);
            let root = volume.and_then(|v| volumes::path(&pod_dir, v)).ok_or_else(|| {
                format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name)
            })?;
            mounts.push(cri::Mount {
                container_path: absolute(&mount.mount_path),
                host_path: sub_path(&root, mount, lookup)?.to_string_lossy().into_owned(),
                readonly: mount.read_only.unwrap_or(false),
                propagation: match mount.mount_propagation.as_deref() {
                    Some("HostToContainer") => cri::MountPropagation::PropagationHostToContainer,
                    Some("Bidirectional") => cri::MountPropagation::PropagationBidirectional,
                    _ => cri::MountPropagation::PropagationPrivate,
                } as i32,
                recursive_read_only: matches!(
                    mount.recursive_read_only.as_deref(),
                    Some("Enabled" | "IfPossible")
                ),
                ..Default::default()
            });
        }
        let failed = |e: std::io::Error| format!("{}: {e}", pod_dir.display());
        let has = |path: &str| container.volume_mounts.iter().flatten().any(|m| m.mount_path == path);
        fs::create_dir_all(&pod_dir).map_err(failed)?;
        if !has("/etc/hosts") {
            let node_hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
            let file = pod_dir.join("etc-hosts");
            let domain = &self.agent.config.cluster_domain;
            fs::write(&file, names::hosts(&self.pod, self.observed.ips(), domain, &node_hosts))
                .map_err(failed)?;
            mounts.push(bind(&file, "/etc/hosts"));
        }
        let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        if !path.is_empty() {
            let file = self.message_file(&container.name, attempt);
            fs::create_dir_all(file.parent().unwrap_or(&pod_dir)).map_err(failed)?;
            fs::write(&file, b"").map_err(failed)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).map_err(failed)?;
            mounts.push(bind(&file, path));
        }
        let logs = self.log_path(&container.name, attempt);
        fs::create_dir_all(logs.parent().unwrap_or(&pod_dir)).map_err(failed)?;
        Ok(mounts)
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
}

fn bind(host: &Path, container: &str) -> cri::Mount {
    cri::Mount {
        container_path: container.to_string(),
        host_path: host.to_string_lossy().into_owned(),
        ..Default::default()
    }
}

/// Makes the directories of a path in a volume as accessible as the volume itself is.
fn make_like(root: &Path, relative: &Path) -> std::io::Result<()> {
    let permissions = fs::metadata(root)?.permissions();
    let mut dir = root.to_path_buf();
    for part in relative.components() {
        dir.push(part);
        if fs::symlink_metadata(&dir).is_err() {
            fs::create_dir(&dir)?;
            fs::set_permissions(&dir, permissions.clone())?;
        }
    }
    Ok(())
}

/// The mount's path in its volume, with variables in it replaced.
fn expanded(mount: &VolumeMount, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let missing = RefCell::new(BTreeSet::new());
    let path = expand(expression, |name: &str| {
        let value = lookup(name).filter(|v| !v.is_empty());
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        value
    });
    let missing: Vec<String> = missing.into_inner().into_iter().collect();
    if missing.is_empty() { Ok(path) } else { Err(format!("missing value for {}", missing.join(", "))) }
}

/// The host path of a mount: the volume, or a path in it that may not lead out of it.
fn sub_path(
    root: &Path,
    mount: &VolumeMount,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, String> {
    let sub = expanded(mount, lookup)?;
    if sub.is_empty() {
        return Ok(root.to_path_buf());
    }
    let failed = |e: &dyn std::fmt::Display| {
        format!("failed to prepare subPath for volumeMount {:?} of container: {e}", mount.name)
    };
    let relative = Path::new(&sub);
    if relative
        .components()
        .any(|c| !matches!(c, std::path::Component::Normal(_) | std::path::Component::CurDir))
    {
        return Err(failed(&format_args!("subPath {sub:?} must be a relative path within the volume")));
    }
    let path = root.join(relative);
    if !path.exists() {
        make_like(root, relative).map_err(|e| failed(&e))?;
    }
    let (real_root, real) =
        (fs::canonicalize(root).map_err(|e| failed(&e))?, fs::canonicalize(&path).map_err(|e| failed(&e))?);
    if !real.starts_with(&real_root) {
        return Err(failed(&format_args!("subPath {sub:?} leads out of the volume")));
    }
    Ok(real)
}
