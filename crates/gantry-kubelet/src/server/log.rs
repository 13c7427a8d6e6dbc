//! Serving container logs; following waits for inotify, it does not poll.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{io::unix::AsyncFd, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{Body, route::query, text};
use crate::{
    agent::Agent,
    logs::{Formatter, Options, parse, tail_offset},
    pod,
};

fn options(raw: &str, now: Timestamp) -> Result<Options, String> {
    let mut options = Options::default();
    for (key, value) in query(raw) {
        let number = || value.parse::<i64>().map_err(|_| format!("invalid {key}: {value:?}"));
        let flag = matches!(value.as_str(), "" | "1" | "true" | "True" | "TRUE");
        match key.as_str() {
            "follow" => options.follow = flag,
            "timestamps" => options.timestamps = flag,
            "previous" => options.previous = flag,
            "tailLines" => options.tail = usize::try_from(number()?).ok(),
            "limitBytes" => options.limit = usize::try_from(number()?).ok(),
            "sinceSeconds" => {
                options.since = now.checked_sub(jiff::SignedDuration::from_secs(number()?)).ok()
            }
            "sinceTime" => {
                options.since = Some(value.parse().map_err(|_| format!("invalid sinceTime: {value:?}"))?)
            }
            "stream" if value != "All" => options.stream = Some(value),
            _ => {}
        }
    }
    Ok(options)
}

fn find_status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|s| s.name == container)
}

/// The log file to read, or why there is none.
fn locate(agent: &Agent, pod: &Pod, container: &str, previous: bool) -> Result<PathBuf, String> {
    let name = pod::name(pod);
    if pod::find_container(pod, container).is_none() {
        return Err(format!("container {container} is not valid for pod {name}"));
    }
    let status = find_status(pod, container);
    let attempt = status.map_or(0, |s| s.restart_count);
    let dir = agent.log_dir(pod).join(container);
    if previous {
        let before = dir.join(format!("{}.log", attempt - 1));
        if attempt == 0 || !before.exists() {
            return Err(format!("previous terminated container {container:?} in pod {name:?} not found"));
        }
        return Ok(before);
    }
    let current = dir.join(format!("{attempt}.log"));
    if current.exists() {
        return Ok(current);
    }
    let state = status.and_then(|s| s.state.as_ref()).and_then(|s| s.waiting.as_ref());
    let reason = state.and_then(|w| w.reason.clone()).unwrap_or_else(|| "ContainerCreating".into());
    Err(match reason.as_str() {
        "ImagePullBackOff" | "ErrImagePull" => {
            format!(
                "container {container:?} in pod {name:?} is waiting to start: trying and failing to pull image"
            )
        }
        reason => format!("container {container:?} in pod {name:?} is waiting to start: {reason}"),
    })
}

/// Answers a request for a log.
pub fn serve(agent: &Arc<Agent>, namespace: &str, name: &str, container: &str, raw: &str) -> Response<Body> {
    let Some(pod) = agent.find_pod(namespace, name) else {
        return text(404, format!("pod {name:?} does not exist"));
    };
    let options = match options(raw, Timestamp::now()) {
        Ok(options) => options,
        Err(message) => return text(400, message),
    };
    let path = match locate(agent, &pod, container, options.previous) {
        Ok(path) => path,
        Err(message) => return text(400, message),
    };
    let (tx, rx) = mpsc::channel::<Bytes>(16);
    let ended = CancellationToken::new();
    if options.follow && !options.previous {
        tokio::spawn(until_ended(
            agent.clone(),
            pod::uid(&pod).to_string(),
            container.to_string(),
            ended.clone(),
        ));
    } else {
        ended.cancel();
    }
    tokio::spawn(async move {
        if let Err(error) = send(&path, options, &tx, &ended).await {
            tracing::debug!(%error, path = %path.display(), "log not sent to its end");
        }
        ended.cancel();
    });
    let frames = tokio_stream(rx);
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
    response
}

fn tokio_stream(
    rx: mpsc::Receiver<Bytes>,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> {
    futures::stream::unfold(
        rx,
        |mut rx| async move { rx.recv().await.map(|data| (Ok(Frame::data(data)), rx)) },
    )
}

/// Cancels `ended` when the instance that is being read has stopped.
async fn until_ended(agent: Arc<Agent>, uid: String, container: String, ended: CancellationToken) {
    let instance = {
        let pods = agent.pods.read();
        pods.get(&uid).and_then(|h| find_status(&h.pod, &container)?.container_id.clone())
    };
    let Some(id) = instance.as_deref().and_then(|i| i.strip_prefix("gantry://")).map(String::from) else {
        return ended.cancel();
    };
    let events = agent.runtime.get_container_events(gantry_cri::v1::GetEventsRequest {}).await;
    let request = gantry_cri::v1::ContainerStatusRequest { container_id: id.clone(), verbose: false };
    let running = |r: Result<gantry_cri::v1::ContainerStatusResponse, _>| {
        r.is_ok_and(|r| {
            r.status.is_some_and(|s| s.state() == gantry_cri::v1::ContainerState::ContainerRunning)
        })
    };
    if !running(agent.runtime.container_status(request).await) {
        return ended.cancel();
    }
    let Ok(mut events) = events else { return };
    loop {
        let next = tokio::select! {
            () = ended.cancelled() => return,
            next = futures::StreamExt::next(&mut events) => next,
        };
        let Some(Ok(event)) = next else { return ended.cancel() };
        let stopped = gantry_cri::v1::ContainerEventType::ContainerStoppedEvent as i32;
        let deleted = gantry_cri::v1::ContainerEventType::ContainerDeletedEvent as i32;
        if event.container_id == id && [stopped, deleted].contains(&event.container_event_type) {
            return ended.cancel();
        }
    }
}

async fn send(
    path: &Path,
    options: Options,
    tx: &mpsc::Sender<Bytes>,
    ended: &CancellationToken,
) -> std::io::Result<()> {
    let follow = options.follow && !options.previous;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    #[allow(
        deprecated,
        reason = "an OwnedFd keeps its descriptor, which is all the unsafe constructor asks for"
    )]
    let readiness = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
    let watched = path.parent().unwrap_or(path);
    if follow {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
        inotify.add_watch(watched, flags)?;
    }
    let mut file = File::open(path)?;
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    let tail = options.tail;
    let mut formatter = Formatter::new(options);
    let mut from =
        tail.map_or(0, |n| tail_offset(&data, n, |l| parse(l).is_some_and(|l| formatter.wants(&l))));
    loop {
        let mut out = Vec::new();
        while let Some(length) = data[from..].iter().position(|b| *b == b'\n') {
            if let Some(line) = parse(&data[from..from + length]) {
                formatter.push(&line, &mut out);
            }
            from += length + 1;
        }
        data.drain(..from);
        from = 0;
        if !out.is_empty() && tx.send(out.into()).await.is_err() || formatter.full() {
            return Ok(());
        }
        let last = ended.is_cancelled();
        let before = data.len();
        file.read_to_end(&mut data)?;
        if data.len() > before {
            continue;
        }
        if let Ok(fresh) = File::open(path)
            && is_other(&file, &fresh)?
        {
            file = fresh;
            file.seek(SeekFrom::Start(0))?;
            continue;
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            () = ended.cancelled() => {}
            () = tx.closed() => return Ok(()),
            ready = readiness.readable() => {
                let mut ready = ready?;
                // Which file changed does not matter: the next read tells.
                while inotify.read_events().is_ok() {}
                ready.clear_ready();
            }
        }
    }
}

fn is_other(a: &File, b: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(a.metadata()?.ino() != b.metadata()?.ino())
}
