//! What every component needs to follow the API and act on it: shared informers, a work queue,
//! leader election and an event recorder, all on a [`kube::Client`]. In the server's own process
//! that client calls the request pipeline; elsewhere it speaks HTTPS. Components cannot tell.

mod form;
mod informer;
mod key;
mod leader;
mod meta;
mod pod_view;
mod queue;
mod recorder;
mod toleration;
mod unmanaged;
mod workers;

pub use informer::{Cached, Change, Changes, Informer, Informers};
pub use key::ObjectKey;
pub use leader::LeaderElector;
pub use meta::Meta;
pub use pod_view::{Common, PodMeta, PodView};
pub use queue::WorkQueue;
pub use recorder::{Recorder, reference};
pub use toleration::tolerates;
pub use unmanaged::Unmanaged;
pub use workers::{Failure, run_workers};
