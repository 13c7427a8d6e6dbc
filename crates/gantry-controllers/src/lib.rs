//! The controllers: each keeps one thing about the cluster true. One module per controller, with its
//! decision as a pure function and a driver that carries it out; [`run`] starts them all.

mod answer;
mod controllers;
pub mod root_ca;
pub mod serviceaccount;

pub use controllers::{Config, Context, run};
