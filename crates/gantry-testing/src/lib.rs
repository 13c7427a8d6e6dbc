//! What tests are run against: servers in this process, with everything that they need and
//! nothing that outlives the test.

mod authority;
mod port;
mod server;
mod webhook;

pub use authority::{Authority, Pair};
pub use gantry_apiserver::User;
pub use port::free_port;
pub use server::{Reply, TestServer};
pub use webhook::{Answer, WebhookServer};
