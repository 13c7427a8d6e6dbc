//! `gantry`: the whole Kubernetes API and the platform around it in one binary.

mod audit;
mod background;
mod cluster_settings;
mod commands;
mod components;
mod config;
mod control_plane;
mod instance;
mod join;
mod kubeconfig;
mod logging;
mod memory;
mod node;
mod output;
mod pki;
mod rotation;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> std::process::ExitCode {
    // Parts of the node are processes of their own, made from this program. Those of the runtime fork
    // and change namespaces, so this comes before anything starts a thread.
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((verb, rest)) if verb == "shim" => {
            memory::map_page_by_page();
            gantry_runtime::shim_main(rest)
        }
        Some((verb, rest)) if verb == "unpack" => gantry_runtime::unpack_main(rest),
        Some((verb, rest)) if verb == "dns" => {
            memory::map_page_by_page();
            gantry_dns::process_main(rest, memory::forget_start)
        }
        _ => commands::main(),
    }
}
