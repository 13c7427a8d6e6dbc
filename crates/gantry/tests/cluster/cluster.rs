//! A cluster for a test: `gantry up` with directories, a cgroup and a network namespace of its own,
//! all of which are gone when it is dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Address of the first node.
pub const NODE: &str = "192.168.77.1";

/// Address of a second node, on a network of its own.
const SECOND: &str = "192.168.78.1";

/// A running machine: a cluster of one node, or another node of one.
pub struct Cluster {
    name: String,
    directory: tempfile::TempDir,
    child: Option<Child>,
    /// The node's name and address.
    node: (&'static str, &'static str),
    /// What the process is started with, and the start of the last line that it prints.
    words: Vec<String>,
    last: &'static str,
    /// Network namespaces that go with it.
    namespaces: Vec<String>,
}

impl Cluster {
    /// Starts one, with the demo's images. `name` tells it from those of other tests.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// As [`Cluster::start`], with more words for `gantry up`.
    pub fn start_with(name: &str, words: &[&str]) -> Self {
        let name = format!("gantry-{name}-{}", std::process::id());
        let directory = directory();
        let outside = format!("{name}-out");
        let mut cluster = Self {
            namespaces: vec![name.clone(), outside.clone()],
            name,
            directory,
            child: None,
            node: ("one", NODE),
            words: ["up"].iter().chain(words).map(ToString::to_string).collect(),
            last: "Use it with",
        };
        run("ip", ["netns", "add", &cluster.name]);
        run("ip", ["netns", "add", &outside]);
        let inside = |words: &[&str]| run("ip", ["-n", &cluster.name].iter().chain(words));
        inside(&["link", "set", "lo", "up"]);
        inside(&["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &outside]);
        inside(&["address", "add", &format!("{NODE}/24"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        run("ip", ["-n", &outside, "link", "set", "eth0", "up"]);
        run("ip", ["-n", &outside, "address", "add", "192.168.77.254/24", "dev", "eth0"]);
        inside(&["route", "add", "default", "via", "192.168.77.254"]);
        cluster.up();
        for image in ["busybox", "nginx", "redis", "guestbook"] {
            cluster.import(image);
        }
        cluster
    }

    /// Starts another node, `two`, that joins this cluster. A router is between the two machines.
    pub fn join(&self) -> Self {
        let name = format!("{}-2", self.name);
        let outside = &self.namespaces[1];
        let token = self.gantry(&["token", "create"]).trim().to_owned();
        let directory = directory();
        let words = ["agent", "--server", &format!("https://{NODE}:6443"), "--token", &token];
        let mut node = Self {
            namespaces: vec![name.clone()],
            name,
            directory,
            child: None,
            node: ("two", SECOND),
            words: words.map(str::to_owned).into(),
            last: "The node two ",
        };
        run("ip", ["netns", "add", &node.name]);
        let inside = |words: &[&str]| run("ip", ["-n", &node.name].iter().chain(words));
        inside(&["link", "set", "lo", "up"]);
        inside(&["link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", outside]);
        inside(&["address", "add", &format!("{SECOND}/24"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        run("ip", ["-n", outside, "link", "set", "eth1", "up"]);
        run("ip", ["-n", outside, "address", "add", "192.168.78.254/24", "dev", "eth1"]);
        inside(&["route", "add", "default", "via", "192.168.78.254"]);
        let forward = ["-w", "net.ipv4.ip_forward=1"];
        run("nsenter", [&*format!("--net=/run/netns/{outside}"), "--", "sysctl"].iter().chain(&forward));
        node.up();
        node
    }

    /// Starts the process again, with other words.
    pub fn up_with(&mut self, words: &[&str]) {
        self.words = words.iter().map(ToString::to_string).collect();
        self.up();
    }

    /// Imports one of the images that `make images` has built.
    pub fn import(&self, image: &str) {
        let archive = workspace().join("target/images").join(format!("{image}.tar"));
        self.gantry(&["image", "import", archive.to_str().expect("a path")]);
    }

    /// Starts the process again after [`Cluster::crash`].
    pub fn up(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let mut command = self.command(env!("CARGO_BIN_EXE_gantry"));
        command.args(&self.words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("gantry starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = lines.any(|line| line.is_ok_and(|line| line.starts_with(self.last)));
        assert!(
            said,
            "gantry {:?} ended early: {}",
            self.words,
            fs::read_to_string(self.log()).unwrap_or_default()
        );
        self.child = Some(child);
    }

    /// Kills the process without warning. Its pods go on.
    pub fn crash(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// What kubectl prints; it must succeed.
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.kubectl_with(words, "")
    }

    /// As [`Cluster::kubectl`], with `input` on its standard input.
    pub fn kubectl_with(&self, words: &[&str], input: &str) -> String {
        let output = self.run("kubectl", words, input);
        assert!(output.status.success(), "kubectl {words:?}: {}{}", text(&output.stderr), self.faults());
        text(&output.stdout)
    }

    /// What kubectl complains about; it must fail.
    pub fn refused(&self, words: &[&str]) -> String {
        self.refused_with(words, "")
    }

    /// What `kubectl diff` shows of `input`, which must differ.
    pub fn differs(&self, words: &[&str], input: &str) -> String {
        let output = self.run("kubectl", words, input);
        assert_eq!(output.status.code(), Some(1), "kubectl {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// As [`Cluster::refused`], with `input` on its standard input.
    pub fn refused_with(&self, words: &[&str], input: &str) -> String {
        let output = self.run("kubectl", words, input);
        assert!(!output.status.success(), "kubectl {words:?} should fail: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// What `gantry` prints for other verbs than `up`; it must succeed.
    pub fn gantry(&self, words: &[&str]) -> String {
        let output = self.run(env!("CARGO_BIN_EXE_gantry"), words, "");
        assert!(output.status.success(), "gantry {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What helm prints; it must succeed.
    pub fn helm(&self, words: &[&str]) -> String {
        self.program("helm", words)
    }

    /// What helm complains about; it must fail.
    pub fn helm_refused(&self, words: &[&str]) -> String {
        let output = self.run("helm", words, "");
        assert!(!output.status.success(), "helm {words:?} should fail: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// What a client of the cluster prints; it must succeed.
    pub fn program(&self, program: &str, words: &[&str]) -> String {
        let output = self.run(program, words, "");
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{program} {words:?}: {said}{complained}{}", self.faults());
        said
    }

    /// What a person sees on whose terminal `command` runs; it must succeed.
    pub fn terminal(&self, command: &str) -> String {
        let output = self.run("script", &["--quiet", "--return", "--command", command, "/dev/null"], "");
        assert!(output.status.success(), "{command}: {}", text(&output.stdout));
        text(&output.stdout)
    }

    /// A child that is killed when dropped: a kubectl that goes on, such as `port-forward`.
    pub fn background(&self, words: &[&str]) -> Background {
        let mut command = self.command("kubectl");
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("kubectl is in PATH; run the tests with `make test`");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Background { child, lines }
    }

    /// Runs `work` on a thread that is in the cluster's network namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entered");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What of the cluster is on the machine beside its network namespace: mounts, cgroups, processes,
    /// interfaces, nftables tables, addresses. Empty before `up` and after `reset`.
    pub fn traces(&self) -> Vec<String> {
        let directory = self.directory.path().to_str().expect("a path");
        let mut traces = Vec::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let below = |line: &&str| line.contains(&format!("{directory}/"));
        traces.extend(mounts.lines().filter(below).map(str::to_owned));
        find_directories(Path::new("/sys/fs/cgroup"), &self.name, 3, &mut traces);
        for process in fs::read_dir("/proc").expect("processes").flatten() {
            let words = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            if words.contains(directory) && !words.contains("gantry\0up") {
                traces.push(words.replace('\0', " "));
            }
        }
        let tool = |program: &str, words: &[&str]| text(&self.run(program, words, "").stdout);
        let links = tool("ip", &["-o", "link"]);
        let ours = |line: &&str| !line.contains(": lo:") && !line.contains(": eth0@");
        traces.extend(links.lines().filter(ours).map(str::to_owned));
        traces.extend(tool("nft", &["list", "tables"]).lines().map(str::to_owned));
        let addresses = tool("ip", &["-o", "-4", "address", "show", "dev", "lo"]);
        traces.extend(addresses.lines().filter(|line| !line.contains("127.0.0.1")).map(str::to_owned));
        traces
    }

    /// Where the log of the process is.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The directory of the cluster's state.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Ends the process as a supervisor would. Its pods go on.
    pub fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // It may have ended by itself.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = child.wait();
    }

    /// What explains a failure: pods, events and the log.
    fn faults(&self) -> String {
        let show = |words: &[&str]| text(&self.run("kubectl", words, "").stdout);
        let nodes = show(&["describe", "nodes"]);
        let pods = show(&["get", "pods", "-A", "-o", "wide"]);
        let events = show(&["get", "events", "-A"]);
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let log: Vec<_> = log.lines().rev().take(30).collect();
        format!("\n{nodes}\n{pods}\n{events}\n{}", log.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }

    fn run(&self, program: &str, words: &[&str], input: &str) -> Output {
        let mut command = self.command(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run `make test`"));
        let mut stdin = child.stdin.take().expect("piped");
        // A program that reads none of it closes its end.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("ended")
    }

    /// `program` in the cluster's network namespace, set up for the cluster. Only the network is
    /// another: what the node mounts is seen by the next process, as on a real machine.
    fn command(&self, program: &str) -> Command {
        let directory = self.directory.path();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .args(["--", program])
            .env("GANTRY_DATA_DIR", self.data_dir())
            .env("GANTRY_CONFIG_DIR", directory.join("etc"))
            .env("GANTRY_RUN_DIR", directory.join("run"))
            .env("GANTRY_POD_LOGS_DIR", directory.join("logs"))
            .env("GANTRY_CGROUP_ROOT", &self.name)
            // Tests run on disks that builds have filled.
            .env("GANTRY_EVICTION_HARD", "memory.available<100Mi")
            .env("GANTRY_IMAGE_GC_HIGH_THRESHOLD", "100")
            .env("GANTRY_NODE_NAME", self.node.0)
            .env("GANTRY_NODE_IP", self.node.1)
            .env("KUBECONFIG", directory.join("etc/kubeconfig.yaml"))
            .env("HOME", directory);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
        // The test may be failing already; what can be cleaned up is.
        let reset = self.run(env!("CARGO_BIN_EXE_gantry"), &["reset", "--yes"], "");
        if !reset.status.success() {
            eprintln!("gantry reset: {}", text(&reset.stderr));
        }
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// A kubectl that goes on.
pub struct Background {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Background {
    /// The next line that it prints and `wanted` accepts.
    pub fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.lines.by_ref().map_while(Result::ok).find(|line| wanted(line));
        found.expect("the line comes before the end")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with a short name, since sockets are below it.
fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("gantry").tempdir().expect("a directory")
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").to_owned()
}

fn run<I: IntoIterator<Item: AsRef<OsStr>>>(program: &str, words: I) {
    let mut command = Command::new(program);
    command.args(words);
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Directories whose name contains `name`, at most `depth` levels below `directory`.
fn find_directories(directory: &Path, name: &str, depth: usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(entry.path().display().to_string());
        } else if depth > 1 {
            find_directories(&entry.path(), name, depth - 1, found);
        }
    }
}
