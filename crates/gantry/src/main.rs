//! `gantry`: the whole Kubernetes API and the platform around it in one binary.

mod commands;
mod config;
mod control_plane;
mod kubeconfig;
mod logging;
mod pki;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main()
}
