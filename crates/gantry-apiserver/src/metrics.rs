//! The server's own metrics under upstream's names, in Prometheus' text format.

mod access;
mod admission;
mod flow_control;
mod health;
mod pod_security;
mod policies;
mod process;
mod table;
mod target;
mod text;
mod webhooks;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_api::features::FeatureGates;
use gantry_api::registry::{Kind, Name, Registry as Kinds};
use gantry_store::Store;
use hashbrown::HashMap;
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::{Version, storage};
use table::{Histograms, Usual, counter, counters, gauges, histograms, metric};

pub(crate) use access::{AccessMetrics, Reloaded};
pub(crate) use admission::{Admission as AdmissionMetrics, AdmissionMeter};
pub(crate) use flow_control::{Executing, Meters};
pub(crate) use pod_security::{Evaluation, Looked};
pub(crate) use policies::Conditioned;
pub(crate) use target::{Place, Target};

/// The buckets of requests' durations, in seconds.
const DURATIONS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// The buckets of answers' sizes, in bytes.
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    target: Target,
    code: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestKind {
    request_kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stored {
    resource: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Watched {
    group: Name,
    version: Name,
    resource: Name,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Deprecated {
    group: Name,
    version: Name,
    resource: Name,
    subresource: String,
    removed_release: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StorageCluster {
    storage_cluster_id: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Audited {
    level: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AuditFailed {
    plugin: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Feature {
    name: &'static str,
    stage: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Unavailable {
    name: String,
    reason: &'static str,
}

/// What is counted of requests with the same target and answer, found at once: every request is counted.
struct Answers {
    count: Counter,
    duration: OnceLock<Histogram>,
    size: OnceLock<Histogram>,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    /// What is counted of authentication and authorization.
    pub access: Arc<AccessMetrics>,
    requests: Family<Answered, Counter>,
    answers: RwLock<HashMap<Answered, Arc<Answers>>>,
    terminations: Family<Answered, Counter>,
    durations: Histograms<Target>,
    sizes: Histograms<Place>,
    in_flight: Family<RequestKind, Gauge>,
    long_running: Family<Place, Gauge>,
    watch_events: Family<Watched, Counter>,
    objects: Family<Stored, Gauge>,
    storage_size: Family<StorageCluster, Gauge>,
    /// What is counted of admission.
    pub admission: AdmissionMetrics,
    deprecated: Family<Deprecated, Gauge>,
    revision: Gauge,
    panics: Counter,
    audited: Usual<Audited, Counter>,
    audit_events: Counter,
    audit_errors: Family<AuditFailed, Counter>,
    audit_rejections: Counter,
    features: Family<Feature, Gauge>,
    /// What is counted of flow schemas and priority levels.
    pub flow_control: flow_control::FlowControl,
    /// What is counted of admission webhooks.
    pub webhooks: webhooks::Webhooks,
    /// How health checks ended.
    pub health: health::Health,
    unavailable: Family<Named, Gauge>,
    unavailable_counts: Family<Unavailable, Counter>,
    /// What is counted of admission policies.
    pub policies: policies::Policies,
    /// What is counted of Pod Security.
    pub pod_security: pod_security::PodSecurity,
}

impl Metrics {
    pub fn new(version: &Version) -> Self {
        let mut own = Registry::default();
        let registry = &mut own;
        let build = Info::new([
            ("major", version.major.clone()),
            ("minor", version.minor.clone()),
            ("git_version", version.git_version.clone()),
            ("git_commit", version.git_commit.clone()),
            ("build_date", version.build_date.clone()),
        ]);
        registry.register("kubernetes_build", "What was built", build);
        let metrics = Self {
            registry: Registry::default(),
            access: Arc::new(AccessMetrics::new(registry)),
            requests: counters(registry, "apiserver_request", "Requests by target and answer"),
            answers: RwLock::default(),
            terminations: counters(
                registry,
                "apiserver_request_terminations",
                "Requests that were ended before they were done",
            ),
            durations: histograms(
                registry,
                "apiserver_request_duration_seconds",
                "Time until the answer's header, but for streams",
                &DURATIONS,
            ),
            sizes: histograms(
                registry,
                "apiserver_response_sizes",
                "Bytes of answers whose size is known beforehand",
                &SIZES,
            ),
            in_flight: gauges(
                registry,
                "apiserver_current_inflight_requests",
                "Requests being carried out, those that read and those that write",
            ),
            long_running: gauges(
                registry,
                "apiserver_longrunning_requests",
                "Watches and other streams that are open",
            ),
            watch_events: counters(registry, "apiserver_watch_events", "Events that were sent to watchers"),
            objects: gauges(registry, "apiserver_storage_objects", "Objects in the store"),
            storage_size: gauges(
                registry,
                "apiserver_storage_size_bytes",
                "Bytes that the store takes on disk",
            ),
            admission: AdmissionMetrics::new(registry),
            deprecated: gauges(
                registry,
                "apiserver_requested_deprecated_apis",
                "Deprecated APIs that were asked for",
            ),
            revision: metric(
                registry,
                "apiserver_storage_revision",
                "The store's revision",
                Gauge::default(),
            ),
            panics: counter(
                registry,
                "apiserver_request_panics",
                "Requests that ended in a fault of the server's own",
            ),
            audited: Usual::of(counters(registry, "apiserver_audit_level", "Audit events by level")),
            audit_events: counter(registry, "apiserver_audit_event", "Audit events"),
            audit_errors: counters(
                registry,
                "apiserver_audit_error",
                "Audit events that were lost, by the part that lost them",
            ),
            audit_rejections: counter(
                registry,
                "apiserver_audit_requests_rejected",
                "Requests that ended because an audit event could not be kept",
            ),
            features: gauges(registry, "kubernetes_feature_enabled", "Which features are on"),
            flow_control: flow_control::FlowControl::new(registry),
            webhooks: webhooks::Webhooks::new(registry),
            policies: policies::Policies::new(registry),
            pod_security: pod_security::PodSecurity::new(registry),
            health: health::Health::default(),
            unavailable: gauges(
                registry,
                "aggregator_unavailable_apiservice",
                "APIServices that nobody answers for at the moment",
            ),
            unavailable_counts: counters(
                registry,
                "aggregator_unavailable_apiservice",
                "How often APIServices became unavailable, by reason",
            ),
        };
        Self { registry: own, ..metrics }
    }

    /// Counts a request that was answered. `took` is left out for streams, `size` where it is unknown.
    pub fn answered(&self, target: Target, code: u16, took: Option<Duration>, size: Option<u64>) {
        // What there is not makes no new series.
        let target = if code == 404 { target.unknown() } else { target };
        let answered = Answered { target, code };
        let answers = self.answers(&answered);
        let target = &answered.target;
        if let Some(took) = took {
            let duration = || self.durations.get_or_create(target).clone();
            answers.duration.get_or_init(duration).observe(took.as_secs_f64());
        }
        if let Some(size) = size
            && matches!(target.verb, "GET" | "LIST")
        {
            let sizes = || self.sizes.get_or_create(&target.clone().into()).clone();
            answers.size.get_or_init(sizes).observe(size as f64);
        }
        answers.count.inc();
    }

    fn answers(&self, answered: &Answered) -> Arc<Answers> {
        if let Some(answers) = self.answers.read().get(answered) {
            return answers.clone();
        }
        let count = self.requests.get_or_create(answered).clone();
        let answers = Arc::new(Answers { count, duration: OnceLock::new(), size: OnceLock::new() });
        self.answers.write().entry(answered.clone()).or_insert(answers).clone()
    }

    /// Counts a request that was ended before it was done.
    pub fn terminated(&self, target: Target, code: u16) {
        self.terminations.get_or_create(&Answered { target, code }).inc();
    }

    /// Counts a fault of the server's own.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Notes which features are on.
    pub fn features(&self, gates: &FeatureGates) {
        for (name, stage, on) in gates.all() {
            let stage = match stage {
                "Alpha" => "ALPHA",
                "Beta" => "BETA",
                "Deprecated" => "DEPRECATED",
                _ => "",
            };
            self.features.get_or_create(&Feature { name, stage }).set(i64::from(on));
        }
    }

    /// Notes whether somebody answers for an APIService.
    pub fn available(&self, name: &str, available: bool, reason: &'static str) {
        let gauge = self.unavailable.get_or_create(&Named { name: name.to_owned() }).clone();
        if gauge.set(i64::from(!available)) == 0 && !available {
            let labels = Unavailable { name: name.to_owned(), reason };
            self.unavailable_counts.get_or_create(&labels).inc();
        }
    }

    /// Forgets an APIService.
    pub fn no_longer_available(&self, name: &str) {
        self.unavailable.remove(&Named { name: name.to_owned() });
    }

    /// Counts an audit event.
    pub fn audited(&self, level: &'static str) {
        self.audit_events.inc();
        self.audited.count(&Audited { level }, |count| _ = count.inc());
    }

    /// Counts audit events that a part of audit lost.
    pub fn audit_lost(&self, plugin: &'static str, count: u64) {
        self.audit_errors.get_or_create(&AuditFailed { plugin }).inc_by(count);
    }

    /// Counts a request that ended because an audit event could not be kept.
    pub fn audit_rejected(&self) {
        self.audit_rejections.inc();
    }

    /// Counts a stream as long as what is returned lives.
    pub fn stream(&self, target: Target) -> Open {
        let gauge = self.long_running.get_or_create(&Place::from(target)).clone();
        gauge.inc();
        Open(gauge)
    }

    /// The counter of events of a watched resource.
    pub fn watch_events(&self, kind: &Kind) -> Counter {
        let (group, version) = (kind.group.clone(), kind.version.clone());
        self.watch_events.get_or_create(&Watched { group, version, resource: kind.plural.clone() }).clone()
    }

    /// Notes that somebody asked for a deprecated kind, which is served until `removed_release`.
    pub fn deprecated(&self, kind: &Kind, subresource: &str, removed_release: &'static str) {
        let (group, version, resource) = (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        let subresource = subresource.to_owned();
        let labels = Deprecated { group, version, resource, subresource, removed_release };
        self.deprecated.get_or_create(&labels).set(1);
    }

    /// All metrics as text; with the counts of requests that read and that write.
    pub fn encode(
        &self,
        store: &Store,
        kinds: &Kinds,
        (reads, writes): (usize, usize),
        open_metrics: bool,
    ) -> String {
        for (request_kind, count) in [("readOnly", reads), ("mutating", writes)] {
            self.in_flight.get_or_create(&RequestKind { request_kind }).set(count as i64);
        }
        self.revision.set(store.revision() as i64);
        // Upstream counts the clusters that it stores in.
        let size = i64::try_from(store.size_on_disk()).unwrap_or(i64::MAX);
        self.storage_size.get_or_create(&StorageCluster { storage_cluster_id: "etcd-0" }).set(size);
        let snapshot = store.snapshot();
        for kind in kinds.iter().filter(|kind| kind.verbs.contains(&"list") && kind.stored.is_none()) {
            let count = snapshot.range(&storage::prefix_of(kind), None).count();
            let resource = gantry_api::status::qualified(&kind.plural, &kind.group);
            self.objects.get_or_create(&Stored { resource }).set(count as i64);
        }
        let mut all = String::new();
        if encode(&mut all, &self.registry).is_err() {
            all.clear();
        }
        if open_metrics { all } else { text::plain(&all) + &process::encode() }
    }
}

/// A stream that is open.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::request::{Query, RequestInfo};

    fn target(method: &str, url: &str) -> Target {
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let query = Query::parse(query);
        let info = RequestInfo::parse(&method.parse().unwrap(), path, &query);
        Target::of(Kinds::builtin(), &info, &query, &HeaderMap::new())
    }

    #[test]
    fn upstreams_names() {
        let metrics = Metrics::new(&Version::default());
        let list = target("GET", "/apis/apps/v1/namespaces/a/deployments");
        metrics.answered(list, 200, Some(Duration::from_millis(7)), Some(70));
        metrics.answered(target("POST", "/api/v1/namespaces/a/pods/p/exec"), 101, None, None);
        metrics.answered(target("GET", "/apis/no.where/v1/things/x"), 404, Some(Duration::ZERO), None);
        let open = metrics.stream(target("GET", "/api/v1/pods?watch=1"));
        let store =
            Store::with_engine(gantry_store::engine::MemoryEngine::default(), storage::options()).unwrap();
        let text = metrics.encode(&store, Kinds::builtin(), (1, 2), false);
        for line in [
            "# TYPE apiserver_request_total counter",
            "apiserver_request_total{verb=\"LIST\",dry_run=\"\",group=\"apps\",version=\"v1\",resource=\"deployments\",\
             subresource=\"\",scope=\"namespace\",component=\"apiserver\",code=\"200\"} 1",
            "apiserver_request_total{verb=\"CONNECT\",dry_run=\"\",group=\"\",version=\"v1\",resource=\"pods\",\
             subresource=\"exec\",scope=\"resource\",component=\"apiserver\",code=\"101\"} 1",
            "apiserver_request_total{verb=\"GET\",dry_run=\"\",group=\"\",version=\"\",resource=\"\",subresource=\"\",\
             scope=\"resource\",component=\"apiserver\",code=\"404\"} 1",
            "apiserver_request_duration_seconds_bucket{le=\"0.025\",verb=\"LIST\",dry_run=\"\",group=\"apps\",\
             version=\"v1\",resource=\"deployments\",subresource=\"\",scope=\"namespace\",component=\"apiserver\"} 1",
            "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",\
             scope=\"cluster\",component=\"apiserver\"} 1",
            "apiserver_current_inflight_requests{request_kind=\"mutating\"} 2",
            "apiserver_storage_objects{resource=\"deployments.apps\"} 0",
            "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} 0",
            "apiserver_response_sizes_bucket{le=\"1000.0\",verb=\"LIST\",group=\"apps\",version=\"v1\",\
             resource=\"deployments\",subresource=\"\",scope=\"namespace\",component=\"apiserver\"} 1",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("kubernetes_build_info{") && text.contains("process_start_time_seconds "));
        drop(open);
        let text = metrics.encode(&store, Kinds::builtin(), (0, 0), true);
        assert!(text.ends_with("# EOF\n") && text.contains("apiserver_longrunning_requests{verb=\"WATCH\""));
    }
}
