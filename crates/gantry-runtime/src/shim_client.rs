//! The agent's side of a shim's socket.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    task::spawn_blocking,
};

use crate::{
    error::{Result, RuntimeError},
    socket,
    spec::*,
    wire,
};

/// Longest a shim may take to answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// A pod's shim, by its run directory.
#[derive(Clone, Debug)]
pub struct ShimClient {
    dir: PathBuf,
}

/// A process started by exec.
pub struct ExecSession {
    /// Its pid on the host.
    pub pid: i32,
    /// Master side of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    stream: tokio::net::UnixStream,
}

impl ExecSession {
    /// Waits for its end; returns the exit code.
    pub async fn wait(&mut self) -> Result<i32> {
        match read_frame(&mut self.stream).await {
            Ok(Response::Exited { code }) => Ok(code),
            Ok(other) => Err(RuntimeError::Shim(format!("unexpected answer {other:?}"))),
            Err(error) => Err(RuntimeError::Shim(format!("shim of process {}: {error}", self.pid))),
        }
    }
}

/// Reads one message from a stream that carries no descriptors any more.
pub async fn read_frame(stream: &mut tokio::net::UnixStream) -> io::Result<Response> {
    let length = stream.read_u32_le().await?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(gantry_json::from_slice(&bytes)?)
}

impl ShimClient {
    /// The shim whose run directory is `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Starts the shim; its [`PodSpec`] is in the directory already.
    pub async fn spawn(&self, command: &[OsString]) -> Result<()> {
        let failed = |e: io::Error| RuntimeError::Shim(format!("start shim: {e}"));
        let mut child = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line).await;
            read.map_err(failed)?;
        }
        child.wait().await.map_err(failed)?;
        match line.trim() {
            "ok" => Ok(()),
            "" => Err(RuntimeError::Shim("shim ended while starting".into())),
            reason => Err(RuntimeError::Shim(reason.to_owned())),
        }
    }

    async fn exchange(
        &self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(UnixStream, Response, Vec<OwnedFd>)> {
        let dir = self.dir.clone();
        let exchange = move || -> io::Result<(UnixStream, Response, Vec<OwnedFd>)> {
            let stream = socket::connect(&dir, SOCKET)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            wire::send(&stream, &request, &raw)?;
            let (response, fds) =
                wire::receive(&stream)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            Ok((stream, response, fds))
        };
        match spawn_blocking(exchange).await {
            Ok(Ok((_, Response::Failed { message }, _))) => Err(RuntimeError::Shim(message)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RuntimeError::Shim(format!("shim in {}: {error}", self.dir.display()))),
            Err(error) => Err(RuntimeError::Shim(error.to_string())),
        }
    }

    /// A request whose answer carries nothing else.
    pub async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Result<Response> {
        self.exchange(request, fds).await.map(|(_, response, _)| response)
    }

    /// Starts a process in a container; `stdio` is empty for a terminal, else stdin, stdout and stderr.
    pub async fn exec(
        &self,
        id: &str,
        args: Vec<String>,
        tty: bool,
        stdio: Vec<OwnedFd>,
    ) -> Result<ExecSession> {
        let request = Request::Exec { id: id.to_owned(), args, tty };
        let (stream, response, fds) = self.exchange(request, stdio).await?;
        let Response::Started { pid, .. } = response else {
            return Err(RuntimeError::Shim(format!("unexpected answer {response:?}")));
        };
        Ok(ExecSession { pid, terminal: fds.into_iter().next(), stream: asynchronous(stream)? })
    }

    /// What runs, and a stream of exits from now on.
    pub async fn watch(&self) -> Result<(Vec<(String, i32)>, tokio::net::UnixStream)> {
        let (stream, response, _) = self.exchange(Request::Watch, Vec::new()).await?;
        match response {
            Response::Running(running) => Ok((running, asynchronous(stream)?)),
            other => Err(RuntimeError::Shim(format!("unexpected answer {other:?}"))),
        }
    }
}

fn asynchronous(stream: UnixStream) -> Result<tokio::net::UnixStream> {
    stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(stream))
        .map_err(RuntimeError::io("shim socket"))
}
