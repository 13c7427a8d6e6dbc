//! `xtask`: generators, test images and benchmarks. Run as `cargo run -p xtask -- VERB`.

mod bench;
mod enums;
mod images;
mod protobuf;
mod schema;

use anyhow::Result;
use clap::Parser;

/// What gantry uses: the load generator shares its machine and should take little of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
enum Verb {
    /// The server without an API that the benchmark compares with; the benchmark starts it.
    #[command(hide = true)]
    BareServer(bench::BareServer),
    /// Measure every budget of the design and print one table.
    Bench(bench::Arguments),
    /// Make the list of the fields that can have only a few values from published programs.
    Enums(enums::Arguments),
    /// Build the demo and test images as archives.
    Images(images::Arguments),
    /// Make the protobuf facts of the built-in kinds from published programs.
    Protobuf(protobuf::Arguments),
    /// Make the facts of the built-in kinds from the published definitions.
    Schema(schema::Arguments),
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    match Verb::parse() {
        Verb::BareServer(arguments) => bench::serve_bare(&arguments).await,
        Verb::Bench(arguments) => bench::run(arguments).await,
        Verb::Enums(arguments) => enums::run(&arguments),
        Verb::Images(arguments) => images::run(&arguments),
        Verb::Protobuf(arguments) => protobuf::run(&arguments),
        Verb::Schema(arguments) => schema::run(&arguments),
    }
}
