//! Three nodes on three runtimes are one cluster: `cargo run --example mixed`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match peerhold_examples_mixed::story(|line| println!("{line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mixed: {error}");
            ExitCode::FAILURE
        }
    }
}
