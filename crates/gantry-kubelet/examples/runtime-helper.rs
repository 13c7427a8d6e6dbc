//! The parts of the runtime that run in processes of their own, for the tests with real containers.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((verb, rest)) if verb == "shim" => gantry_runtime::shim_main(rest),
        Some((verb, rest)) if verb == "unpack" => gantry_runtime::unpack_main(rest),
        _ => eprintln!("usage: runtime-helper shim|unpack DIRECTORY"),
    }
}
