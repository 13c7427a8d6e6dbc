//! The scheduler: gives each pod without a node the node that suits it best.
//!
//! [`scheduler::Scheduler`] is the core: it takes what happened and says what to do, without IO.
//! It keeps a [`cluster::Cluster`] up from watch events; [`cycle::Searcher`] decides, plugins
//! filter and score nodes, the queue holds pods that wait. [`run`] connects it to the API
//! server: watches, bindings beside the next decision on the assumption that they succeed,
//! conditions, events and preemption.

pub mod budgets;
pub mod cluster;
mod config;
pub mod cycle;
mod driver;
pub mod hints;
pub mod node;
pub mod plugins;
pub mod pod;
pub mod preemption;
pub mod queue;
pub mod requirement;
pub mod resources;
pub mod scheduler;
pub mod shape;
pub mod shapes;
pub mod watched;

pub use config::SchedulerConfig;
pub use driver::run;
