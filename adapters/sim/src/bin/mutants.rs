//! Looks for every known bug and prints what found it, as a table.
//!
//! `mutants [--starts N] [--seeds N] [--jobs N] [--from N] [--only NAME] [--tell]`

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peerhold_core::bug::Bug;
use peerhold_sim::mutants::{Hunt, hunt};

const USAGE: &str =
    "usage: mutants [--starts N] [--seeds N] [--jobs N] [--from N] [--only NAME] [--tell]";

struct Args {
    /// Places to begin at.
    starts: u64,
    /// Seeds from each, at most.
    seeds: u64,
    jobs: usize,
    /// Passes over so many bugs.
    from: usize,
    /// Only bugs whose names contain this.
    only: String,
    /// Tell what was seen.
    tell: bool,
}

fn args(mut words: impl Iterator<Item = String>) -> Option<Args> {
    let mut args = Args {
        starts: 5,
        seeds: 500,
        jobs: 2,
        from: 0,
        only: String::new(),
        tell: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--starts" => args.starts = words.next()?.parse().ok()?,
            "--seeds" => args.seeds = words.next()?.parse().ok()?,
            "--jobs" => args.jobs = words.next()?.parse().ok()?,
            "--from" => args.from = words.next()?.parse().ok()?,
            "--only" => args.only = words.next()?,
            "--tell" => args.tell = true,
            _ => return None,
        }
    }
    Some(args)
}

fn main() -> ExitCode {
    let Some(args) = args(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A bug may well be found by a panic, which is told in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let starts: Vec<u64> = (1..=args.starts).map(|at| at * 1_000_000).collect();
    let (began, mut survivors, mut bugs) = (Instant::now(), Vec::new(), 0);
    let mut unsound = BTreeSet::new();
    println!(
        "| bug | found by | seeds: median (each start) | simulated | real | what is wrong |\n\
         | --- | --- | --- | --- | --- | --- |"
    );
    let chosen = |bug: &&Bug| format!("{bug:?}").contains(&args.only);
    for bug in Bug::ALL.iter().skip(args.from).filter(chosen) {
        let from = Instant::now();
        let hunt = hunt(*bug, &starts, args.seeds, args.jobs);
        println!("{}", row(&hunt, from.elapsed()));
        if args.tell {
            let told = hunt.kills.iter().flatten();
            told.for_each(|kill| println!("    {}: {}", kill.by, kill.text));
        }
        bugs += 1;
        unsound.extend(hunt.unsound.iter().copied());
        if !hunt.is_killed() {
            survivors.push(*bug);
        }
    }
    println!(
        "\n{} of {bugs} bugs found from each of {} starts, in {:.0} s",
        bugs - survivors.len(),
        starts.len(),
        began.elapsed().as_secs_f64()
    );
    if !unsound.is_empty() {
        println!("Passed over, as they fail without a bug that was switched on: {unsound:?}");
    }
    if survivors.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("NOT FOUND from every start: {survivors:?}");
    ExitCode::FAILURE
}

fn row(hunt: &Hunt, took: Duration) -> String {
    let kills = || hunt.kills.iter().flatten();
    let by: BTreeSet<&str> = kills().map(|kill| kill.by.as_str()).collect();
    let by: Vec<&str> = by.into_iter().collect();
    let each = hunt.kills.iter().map(|kill| match kill {
        Some(kill) => kill.seeds.to_string(),
        None => "-".into(),
    });
    let each: Vec<String> = each.collect();
    let simulated: Duration = kills().map(|kill| kill.simulated).sum();
    let met = if hunt.met == 0 { " (never done)" } else { "" };
    format!(
        "| {:?}{met} | {} | {} ({}) | {:.1} h | {:.1} s |{} |",
        hunt.bug,
        by.join(", "),
        hunt.median(),
        each.join(" "),
        simulated.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        hunt.bug.says(),
    )
}
