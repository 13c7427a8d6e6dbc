//! The process that answers, as a program for this crate's tests; the `gantry` binary has the same verb.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((verb, rest)) if verb == "dns" => gantry_dns::process_main(rest, || ()),
        _ => eprintln!("usage: gantry-dns-helper dns DIRECTORY"),
    }
}
