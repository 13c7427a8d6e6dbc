//! Serving container logs; following waits for inotify, it does not poll.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use gantry_cri::v1 as cri;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
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

/// The instance whose log is asked for, or why there is none. `previous`: the one before the current.
fn instance(pod: &Pod, container: &str, previous: bool) -> Result<String, String> {
    let name = pod::name(pod);
    if pod::find_container(pod, container).is_none() {
        return Err(format!("container {container} is not valid for pod {name}"));
    }
    let status = find_status(pod, container);
    let state = status.and_then(|s| s.state.clone()).unwrap_or_default();
    let ended = |terminated: Option<ContainerStateTerminated>| {
        terminated.and_then(|t| t.container_id).filter(|id| !id.is_empty())
    };
    let last = ended(status.and_then(|s| s.last_state.clone()).and_then(|s| s.terminated));
    if previous {
        return last
            .ok_or_else(|| format!("previous terminated container {container:?} in pod {name:?} not found"));
    }
    let waiting = state.waiting.and_then(|w| w.reason).unwrap_or_else(|| "ContainerCreating".into());
    let current = match (state.running, state.terminated) {
        (Some(_), _) => status.and_then(|s| s.container_id.clone()),
        (None, Some(terminated)) => {
            let gone = || format!("container {container:?} in pod {name:?} is terminated");
            return ended(Some(terminated)).or(last).ok_or_else(gone);
        }
        (None, None) => last,
    };
    current.ok_or_else(|| {
        let why = match waiting.as_str() {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            reason => reason,
        };
        format!("container {container:?} in pod {name:?} is waiting to start: {why}")
    })
}

/// Answers a request for a log.
pub async fn serve(
    agent: &Arc<Agent>,
    namespace: &str,
    name: &str,
    container: &str,
    raw: &str,
) -> Response<Body> {
    let Some(pod) = agent.find_pod(namespace, name) else {
        return text(404, format!("pod {name:?} does not exist"));
    };
    let options = match options(raw, Timestamp::now()) {
        Ok(options) => options,
        Err(message) => return text(400, message),
    };
    let shown = match instance(&pod, container, options.previous) {
        Ok(id) => id,
        Err(message) => return text(400, message),
    };
    let id = shown.strip_prefix("gantry://").unwrap_or(&shown).to_owned();
    let request = cri::ContainerStatusRequest { container_id: id.clone(), verbose: false };
    let status = agent.runtime.container_status(request).await.ok().and_then(|response| response.status);
    let Some(status) = status else {
        return text(400, format!("unable to retrieve container logs for {shown}"));
    };
    let path = PathBuf::from(&status.log_path);
    let (tx, rx) = mpsc::channel::<Bytes>(16);
    let ended = CancellationToken::new();
    if options.follow && !options.previous {
        tokio::spawn(until_ended(agent.clone(), id, ended.clone()));
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
async fn until_ended(agent: Arc<Agent>, id: String, ended: CancellationToken) {
    // Asked for before the state, so that an end in between is not missed.
    let events = agent.runtime.get_container_events(cri::GetEventsRequest {}).await;
    let request = cri::ContainerStatusRequest { container_id: id.clone(), verbose: false };
    let running = |r: Result<cri::ContainerStatusResponse, _>| {
        r.is_ok_and(|r| r.status.is_some_and(|s| s.state() == cri::ContainerState::ContainerRunning))
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
        let stopped = cri::ContainerEventType::ContainerStoppedEvent as i32;
        let deleted = cri::ContainerEventType::ContainerDeletedEvent as i32;
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

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    #[test]
    fn the_instance_that_is_meant() {
        let ended = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = json!({"running": {}});
        for (state, last, previous, expect) in [
            (running.clone(), json!({}), false, Ok("now")),
            (running.clone(), ended("before"), true, Ok("before")),
            (running, json!({}), true, Err("previous terminated container \"c\" in pod \"p\" not found")),
            (ended("now"), json!({}), false, Ok("now")),
            (ended(""), ended("before"), false, Ok("before")),
            (ended(""), json!({}), false, Err("container \"c\" in pod \"p\" is terminated")),
            (waiting("CrashLoopBackOff"), ended("before"), false, Ok("before")),
            (
                waiting("ImagePullBackOff"),
                json!({}),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
            ),
        ] {
            let pod: Pod = gantry_json::from_value(json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c"}]},
                "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                    "restartCount": 1, "containerID": "now", "state": state, "lastState": last}]},
            }))
            .unwrap();
            let expect = expect.map(String::from).map_err(String::from);
            assert_eq!(instance(&pod, "c", previous), expect, "{state} {last} {previous}");
        }
    }
}
