//! Looks at the states in which crashes may leave a store, and prints how many
//! there were.
//!
//! `crash-states [--small] [--seed N] [--only NAME]`

use std::process::ExitCode;
use std::time::Instant;

use peerhold_sim::crash::{Effort, explore};

const USAGE: &str = "usage: crash-states [--small] [--seed N] [--only NAME]";

fn effort(mut args: impl Iterator<Item = String>) -> Option<Effort> {
    let mut effort = Effort::full(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--small" => {
                let Effort { seed, only, .. } = effort;
                effort = Effort::small(seed);
                effort.only = only;
            }
            "--seed" => effort.seed = args.next()?.parse().ok()?,
            "--only" => effort.only = args.next()?,
            _ => return None,
        }
    }
    Some(effort)
}

fn main() -> ExitCode {
    let Some(effort) = effort(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    match explore(&effort) {
        Ok(report) => {
            println!("{report}, seed {}, {:.1?}", effort.seed, began.elapsed());
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}
