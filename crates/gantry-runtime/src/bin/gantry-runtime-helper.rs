//! The parts of the runtime that run in processes of their own, as a program for its tests; the `gantry`
//! binary has the same two verbs.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((verb, rest)) if verb == "shim" => gantry_runtime::shim_main(rest),
        Some((verb, rest)) if verb == "unpack" => gantry_runtime::unpack_main(rest),
        _ => eprintln!("usage: gantry-runtime-helper shim|unpack DIRECTORY"),
    }
}
