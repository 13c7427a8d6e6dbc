//! Custom kinds against a whole API server: how they come and go, and what their objects do.

mod definitions;
mod discovery;
mod documents;
mod fixture;
mod kubectl;
mod messages;
mod objects;
mod patches;
mod removal;
mod rules;
mod subresources;
mod versions;
