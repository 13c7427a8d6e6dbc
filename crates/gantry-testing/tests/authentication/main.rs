//! Who is believed, and who decides: identity providers and webhooks that are real servers on the loopback.

mod configuration;
mod oidc;
mod service_accounts;
mod support;
mod webhooks;
