//! The API server with many pods: what the design budgets, reads by every road, and starts of watches.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bare::Bare;
use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::load::{Latency, Load};
use super::measurement::{How, Measurement, Measuring};
use super::objects::{PODS, canary, idle_pod, node};
use super::report::{Budget, Report, Row};
use super::{Arguments, watch};

/// The few pods that selectors choose.
const FEW: usize = 100;
/// The node that those are on.
const NODE: &str = "bench";

/// How often an empty server is started: the first start after a while takes twice as long as the others.
const STARTS: usize = 5;
/// How many windows watchers are told of changes in: a few writes decide a 99th percentile, and a machine whose
/// host gives its processors to others for some milliseconds makes all writes of that time slow.
const WINDOWS: usize = 5;

/// Measures.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let load = arguments.load();
    let many = arguments.pods;
    let mut starts = Vec::new();
    let mut cluster = loop {
        let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
        starts.push(cluster.ready_after());
        if starts.len() == STARTS {
            break cluster;
        }
        cluster.stop()?;
    };
    starts.sort_unstable();
    let method = format!("median of {STARTS}, from a process's start in an empty directory to /readyz");
    let started = Row::seconds("start to /readyz, empty", starts[STARTS / 2], method);
    report.row(started.budget(Budget::AtMost(0.1)).upstream("4.1 s"));
    cluster.settle().await;
    let idle = cluster.memory("idle memory, control plane")?;
    report.row(idle.budget(Budget::AtMost(30.0)).upstream("312 MB"));
    let client = cluster.client().await?;
    client.create_namespace("bench").await?;

    let create = Call::post(PODS, &idle_pod("pod-OBJECT"));
    let create = Measurement::new("durable POST of a pod", How::All(many), create)
        .against(Budget::AtLeast(8_000.0), "1,247/s");
    let measuring = Measuring { cluster: &cluster, client: &client, load };
    measuring.run(&[create], report).await?;
    client.create("/api/v1/nodes", &node(NODE)).await?;
    load.all(&client, &Call::post(PODS, &canary("canary-OBJECT", NODE)), FEW).await?;
    let all = many + FEW;

    let [one, lists @ ..] = reads();
    measuring.run(&[one], report).await?;
    report.row(bare(&client, load).await?);
    measuring.run(&lists, report).await?;
    let after = cluster.memory("memory with all pods, after LISTs")?;
    report.row(after.budget(Budget::AtMost(200.0)).upstream("2,048 MB"));
    measuring.run(&more_reads(all), report).await?;

    let before = stolen();
    let delivery = watch::delivery(&client, 100, 1_000, load.window, WINDOWS).await?;
    let gone = match before.zip(stolen()) {
        Some((before, after)) => format!("{:?} of CPU were taken by the machine's host", after - before),
        None => "how much its host took of the machine is not known".to_owned(),
    };
    let of = |figure: fn(&Latency) -> Duration| {
        let mut figures: Vec<Duration> = delivery.iter().map(figure).collect();
        figures.sort_unstable();
        figures
    };
    for (name, took, budget) in [("p50", of(|each| each.p50), 3.0), ("p99", of(|each| each.p99), 7.0)] {
        let what = format!("watch delivery {name}, 100 watchers, 1,000 writes/s");
        let method = format!(
            "from the write's start to each watcher, median of {WINDOWS} windows of {:?} ({:.1?} to {:.1?}); {gone}",
            load.window,
            took[0],
            took[WINDOWS - 1],
        );
        report.row(Row::milliseconds(what, took[WINDOWS / 2], method).budget(Budget::AtMost(budget)));
    }

    cluster.restart().await?;
    report.row(cluster.start_row("start to /readyz, with all pods").budget(Budget::AtMost(0.6)));
    cluster.stop()
}

/// The CPU time that the machine's host gave to others while there was work here, since the machine's start;
/// `None` where the kernel does not tell.
fn stolen() -> Option<Duration> {
    /// Of /proc/stat, see proc(5).
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: u32 = stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(TICK * ticks)
}

/// The pod that is read.
fn pod() -> Call {
    Call::get(format!("{PODS}/pod-000000"))
}

/// The same load on a server that has the pod's text and nothing else.
async fn bare(client: &Client, load: Load) -> Result<Row> {
    let (status, text) = client.connect().await?.answer(&pod().request(0)).await?;
    ensure!(status.is_success(), "reading a pod: {status} {text}");
    let server = Bare::start(&text)?;
    let rate = load.rate(server.client(), &pod()).await?;
    let method = "hyper and rustls alone, right after the GETs: what the machine gives in this minute";
    Ok(Row::new("the same text from a bare server", rate.per_second, "/s", method))
}

/// What the design budgets.
fn reads() -> [Measurement; 3] {
    let page = Call::get(format!("{PODS}?limit=500"));
    [
        Measurement::new("GET of a pod", How::Rate, pod()).against(Budget::AtLeast(40_000.0), "2,794/s"),
        Measurement::new("LIST, limit=500", How::Rate, page).against(Budget::AtLeast(600.0), "64/s"),
        Measurement::new("LIST of all pods", How::Time, Call::get("/api/v1/pods"))
            .against(Budget::AtMost(0.15), "1.3-1.9 s"),
    ]
}

/// What it does not.
fn more_reads(all: usize) -> Vec<Measurement> {
    const STREAMED: &str =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let of = |what: &str, how, query: &str| (what.to_owned(), how, Call::get(format!("{PODS}?{query}")));
    let typed = |what: &str, how, query: &str| {
        let call = Call::get(format!("{PODS}?{query}")).typed();
        (format!("{what}, in protobuf"), how, call)
    };
    // A bookmark ends what is there already.
    let (events, bookmarked) = (|| How::Events(all), || How::Events(all + 1));
    let figures = [
        of("LIST by label, 100 pods match", How::Rate, "labelSelector=track%3Dcanary"),
        of("LIST by label, all others match", How::Time, "labelSelector=track!%3Dcanary"),
        of("LIST by spec.nodeName, 100 pods match", How::Rate, "fieldSelector=spec.nodeName%3Dbench"),
        typed("LIST, limit=500", How::Rate, "limit=500"),
        typed("LIST of all pods", How::Time, ""),
        of("streaming list of all pods, to its bookmark", bookmarked(), STREAMED),
        typed("streaming list of all pods, to its bookmark", bookmarked(), STREAMED),
        of("watch of all pods from version 0, to the last", events(), "watch=true&resourceVersion=0"),
    ];
    figures.into_iter().map(|(what, how, call)| Measurement::new(what, how, call)).collect()
}
