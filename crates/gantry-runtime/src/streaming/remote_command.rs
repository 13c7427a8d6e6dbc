//! Exec and attach: the channels of the Kubernetes remote-command protocol over a WebSocket. Each binary
//! message starts with the number of its channel.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use gantry_cri::{
    Code, CriError,
    v1::{AttachRequest, ExecRequest, ExecSyncResponse},
};
use nix::{fcntl::OFlag, unistd::pipe2};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd},
    net::unix::pipe,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::{Shared, Socket};
use crate::{shim_client::ShimClient, spec::Request, sys};

/// Protocols served, the preferred one first. Version 5 adds the closing of single channels.
pub const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// After the process has ended, how long output of those it left behind is waited for.
const DRAIN: Duration = Duration::from_millis(300);

/// Size of a terminal as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// What the client's end of a session does.
enum Input {
    Bytes(Bytes),
    End,
    Resize(u16, u16),
}

/// A terminal's master side, for reading and writing without blocking.
struct Terminal(AsyncFd<File>);

impl Terminal {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        crate::shim::set_nonblocking(&fd)?;
        Ok(Self(sys::register(File::from(fd))?))
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(tokio::io::Interest::READABLE, |mut file| io::Read::read(&mut file, buffer)).await
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self
                .0
                .async_io(tokio::io::Interest::WRITABLE, |mut file| io::Write::write(&mut file, bytes))
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

fn status(code: i32) -> Vec<u8> {
    let value = if code == 0 {
        gantry_json::json!({"metadata": {}, "status": "Success"})
    } else {
        gantry_json::json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        })
    };
    value.to_string().into_bytes()
}

fn failure(message: &str) -> Vec<u8> {
    gantry_json::json!({
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    })
    .to_string()
    .into_bytes()
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    Message::Binary(data.into())
}

/// Splits the socket: what the client does comes out of the receiver, what is sent to the sender goes to
/// the client. Dropping all senders closes the socket.
fn run_socket(socket: Socket) -> (mpsc::Receiver<Input>, mpsc::Sender<Message>) {
    let (sink, mut stream) = socket.split();
    let (input_sender, input) = mpsc::channel(16);
    let (output, output_receiver) = mpsc::channel(16);
    let pong = output.downgrade();
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
                Message::Ping(data) => {
                    if let Some(output) = pong.upgrade() {
                        let _ = output.send(Message::Pong(data)).await;
                    }
                    continue;
                }
                Message::Close(_) => break,
                _ => continue,
            };
            let input = match data.first() {
                Some(&STDIN) => Input::Bytes(data.slice(1..)),
                Some(&RESIZE) => match gantry_json::from_slice::<Size>(&data[1..]) {
                    Ok(size) => Input::Resize(size.width, size.height),
                    Err(_) => continue,
                },
                Some(&CLOSE) if data.get(1) == Some(&STDIN) => Input::End,
                _ => continue,
            };
            if input_sender.send(input).await.is_err() {
                // Nobody listens, but the close of the socket is still to be seen.
                continue;
            }
        }
    });
    tokio::spawn(write_socket(sink, output_receiver));
    (input, output)
}

async fn write_socket(mut sink: SplitSink<Socket, Message>, mut output: mpsc::Receiver<Message>) {
    while let Some(message) = output.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    super::close(sink).await;
}

fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

/// Copies a pipe to a channel until it ends.
async fn copy_out(reader: OwnedFd, channel: u8, output: mpsc::Sender<Message>) {
    let Ok(mut reader) =
        crate::shim::set_nonblocking(&reader).and_then(|()| pipe::Receiver::from_owned_fd(reader))
    else {
        return;
    };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        if output.send(message(channel, &buffer[..length])).await.is_err() {
            return;
        }
    }
}

/// Copies the client's input to a pipe until it ends; sizes go to `resize`.
async fn copy_in(mut input: mpsc::Receiver<Input>, writer: Option<OwnedFd>, resize: impl AsyncFn(u16, u16)) {
    let mut writer = writer
        .and_then(|fd| crate::shim::set_nonblocking(&fd).and_then(|()| pipe::Sender::from_owned_fd(fd)).ok());
    while let Some(event) = input.recv().await {
        match event {
            Input::Bytes(bytes) => {
                if let Some(pipe) = &mut writer
                    && pipe.write_all(&bytes).await.is_err()
                {
                    writer = None;
                }
            }
            Input::End => writer = None,
            Input::Resize(columns, rows) => resize(columns, rows).await,
        }
    }
}

/// An exec session.
pub async fn exec(socket: Socket, shim: ShimClient, id: String, request: ExecRequest) {
    let (input, output) = run_socket(socket);
    let result = if request.tty {
        exec_terminal(&shim, &id, request, input, &output).await
    } else {
        exec_pipes(&shim, &id, request, input, &output).await
    };
    let report = match result {
        Ok(code) => status(code),
        Err(message) => failure(&message),
    };
    let _ = output.send(message(ERROR, &report)).await;
}

async fn exec_terminal(
    shim: &ShimClient,
    id: &str,
    request: ExecRequest,
    mut input: mpsc::Receiver<Input>,
    output: &mpsc::Sender<Message>,
) -> Result<i32, String> {
    let mut session = shim.exec(id, request.cmd, true, Vec::new()).await.map_err(|e| e.to_string())?;
    let fd = session.terminal.take().ok_or("terminal is missing")?;
    let terminal = Terminal::new(fd).map_err(|e| e.to_string())?;
    let mut buffer = vec![0; 32 * 1024];
    let mut client = true;
    loop {
        tokio::select! {
            read = terminal.read(&mut buffer) => match read {
                Ok(length @ 1..) => {
                    if output.send(message(STDOUT, &buffer[..length])).await.is_err() {
                        break;
                    }
                }
                // Its other side is closed.
                _ => break,
            },
            event = input.recv(), if client => match event {
                Some(Input::Bytes(bytes)) => drop(terminal.write_all(&bytes).await),
                // End of input, as a person would type it.
                Some(Input::End) => drop(terminal.write_all(&[4]).await),
                Some(Input::Resize(columns, rows)) => {
                    let _ = sys::set_window_size(terminal.0.get_ref().as_fd(), columns, rows);
                }
                // The client has gone: closing the terminal hangs up on the process.
                None => break,
            },
            code = session.wait() => {
                let code = code.map_err(|e| e.to_string())?;
                while let Ok(Ok(length @ 1..)) = tokio::time::timeout(DRAIN, terminal.read(&mut buffer)).await {
                    if output.send(message(STDOUT, &buffer[..length])).await.is_err() {
                        break;
                    }
                }
                return Ok(code);
            }
        }
        client &= !input.is_closed();
    }
    drop(terminal);
    session.wait().await.map_err(|e| e.to_string())
}

async fn exec_pipes(
    shim: &ShimClient,
    id: &str,
    request: ExecRequest,
    input: mpsc::Receiver<Input>,
    output: &mpsc::Sender<Message>,
) -> Result<i32, String> {
    let failed = |e: io::Error| e.to_string();
    let (stdin, stdin_writer) = if request.stdin {
        let (reader, writer) = pipe_pair().map_err(failed)?;
        (reader, Some(writer))
    } else {
        (File::open("/dev/null").map_err(failed)?.into(), None)
    };
    let (stdout_reader, stdout) = pipe_pair().map_err(failed)?;
    let (stderr_reader, stderr) = pipe_pair().map_err(failed)?;
    let mut session =
        shim.exec(id, request.cmd, false, vec![stdin, stdout, stderr]).await.map_err(|e| e.to_string())?;
    let mut copies = tokio::task::JoinSet::new();
    copies.spawn(copy_out(stdout_reader, STDOUT, output.clone()));
    copies.spawn(copy_out(stderr_reader, STDERR, output.clone()));
    let feeding = tokio::spawn(copy_in(input, stdin_writer, async |_, _| {}));
    let code = session.wait().await.map_err(|e| e.to_string());
    feeding.abort();
    let drained = async { while copies.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    code
}

/// An attach session; it ends with the container.
pub async fn attach(
    socket: Socket,
    shim: ShimClient,
    container: Option<Shared>,
    id: String,
    request: AttachRequest,
) {
    let (input, output) = run_socket(socket);
    let report = match attach_pipes(&shim, &id, request, input, &output).await {
        Ok(()) => {
            let code = container.map_or(0, |c| {
                let state = c.state.lock();
                if state.phase == crate::state::Phase::Exited { state.exit_code } else { 0 }
            });
            status(code)
        }
        Err(message) => failure(&message),
    };
    let _ = output.send(message(ERROR, &report)).await;
}

async fn attach_pipes(
    shim: &ShimClient,
    id: &str,
    request: AttachRequest,
    input: mpsc::Receiver<Input>,
    output: &mpsc::Sender<Message>,
) -> Result<(), String> {
    let failed = |e: io::Error| e.to_string();
    let mut theirs = Vec::new();
    let mut copies = tokio::task::JoinSet::new();
    let mut stdin_writer = None;
    if request.stdin {
        let (reader, writer) = pipe_pair().map_err(failed)?;
        theirs.push(reader);
        stdin_writer = Some(writer);
    }
    for (wanted, channel) in [(request.stdout, STDOUT), (request.stderr, STDERR)] {
        if wanted {
            let (reader, writer) = pipe_pair().map_err(failed)?;
            theirs.push(writer);
            copies.spawn(copy_out(reader, channel, output.clone()));
        }
    }
    let call = Request::Attach {
        id: id.to_owned(),
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
    };
    shim.call(call, theirs).await.map_err(|e| e.to_string())?;
    let (resizer, container) = (shim.clone(), id.to_owned());
    let feeding = copy_in(input, stdin_writer, async move |columns, rows| {
        let _ = resizer.call(Request::Resize { id: container.clone(), columns, rows }, Vec::new()).await;
    });
    tokio::select! {
        () = async { while copies.join_next().await.is_some() {} }, if request.stdout || request.stderr => {}
        () = feeding => {}
    }
    Ok(())
}

/// Runs a command and collects its output; past the timeout it is killed.
pub async fn exec_sync(
    shim: &ShimClient,
    id: &str,
    args: Vec<String>,
    timeout: Option<Duration>,
) -> Result<ExecSyncResponse, CriError> {
    /// As much output as is kept of each stream.
    const LIMIT: usize = 16 << 20;
    async fn collect(reader: OwnedFd) -> Vec<u8> {
        let mut out = Vec::new();
        let opened =
            crate::shim::set_nonblocking(&reader).and_then(|()| pipe::Receiver::from_owned_fd(reader));
        if let Ok(mut reader) = opened {
            let mut buffer = vec![0; 32 * 1024];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let room = LIMIT - out.len().min(LIMIT);
                out.extend_from_slice(&buffer[..length.min(room)]);
            }
        }
        out
    }
    let stdin = File::open("/dev/null").map_err(CriError::internal)?;
    let (stdout_reader, stdout) = pipe_pair().map_err(CriError::internal)?;
    let (stderr_reader, stderr) = pipe_pair().map_err(CriError::internal)?;
    let text = args.join(" ");
    let mut session = shim.exec(id, args, false, vec![stdin.into(), stdout, stderr]).await?;
    let pid = session.pid;
    let run = async {
        let mut out = tokio::spawn(collect(stdout_reader));
        let mut err = tokio::spawn(collect(stderr_reader));
        let exit_code = session.wait().await?;
        // What it left running may hold the pipes for ever; what it has written is here by then.
        let stdout =
            tokio::time::timeout(DRAIN, &mut out).await.ok().and_then(Result::ok).unwrap_or_default();
        let stderr =
            tokio::time::timeout(DRAIN, &mut err).await.ok().and_then(Result::ok).unwrap_or_default();
        out.abort();
        err.abort();
        Ok::<_, CriError>(ExecSyncResponse { stdout, stderr, exit_code })
    };
    match timeout {
        None => run.await,
        Some(limit) => match tokio::time::timeout(limit, run).await {
            Ok(result) => result,
            Err(_) => {
                let _ = shim.call(Request::KillExec { pid, signal: libc::SIGKILL }, Vec::new()).await;
                let message = format!("command {text:?} timed out after {}s", limit.as_secs());
                Err(CriError::new(Code::DeadlineExceeded, message))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let value: gantry_json::Value = gantry_json::from_slice(&status(3)).unwrap();
        assert_eq!(value["reason"], "NonZeroExitCode");
        assert_eq!(value["details"]["causes"][0]["message"], "3");
        let value: gantry_json::Value = gantry_json::from_slice(&status(0)).unwrap();
        assert_eq!(value["status"], "Success");
    }
}
