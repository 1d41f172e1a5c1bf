//! The command: runs seeds, and tells what became of them.

mod args;
mod sum;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use peerhold_sim::{Invariant, Report, Script, Violation, run, run_script, shrink};

use crate::args::{Args, HELP};
use crate::sum::Sum;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("peerhold-sim: {error}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match args.seed {
        Some(seed) => replay(seed, &args),
        None => sweep(&args),
    }
}

/// Runs one seed, or some of its steps, and tells its story.
fn replay(seed: u64, args: &Args) -> ExitCode {
    let swarm = args.swarm(seed);
    let whole = Script::draw(seed, &swarm);
    let script = match &args.steps {
        Some(steps) => whole.keep(|step| steps.contains(step.number)),
        None => whole,
    };
    println!("seed {seed}: {swarm}");
    if args.trace {
        println!("\nThe schedule, from the time on when the cluster stands:");
        script.steps.iter().for_each(|step| println!("{step}"));
        println!("\nWhat happened, from the world's beginning:");
    }
    let report = run_script(&script, args.trace);
    for (at, line) in &report.story {
        println!("{:>14.6} s  {line}", at.as_secs_f64());
    }
    let mut sum = Sum::default();
    sum.add(&report, false);
    println!("\n{}", sum.tell());
    println!("trace {}", report.trace);
    match &report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{}", failure(seed, violation, args));
            if args.shrink {
                println!("{}", shrunk(&script, violation));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds on some threads until there are enough.
fn sweep(args: &Args) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    let shared = Mutex::new(Sum::default());
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let (tell, next, stop, shared) = (tell.clone(), &next, &stop, &shared);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = args.seeds.get(number) else {
                        return;
                    };
                    let twice = args.twice > 0 && number.is_multiple_of(args.twice);
                    let report = run_checked(seed, twice, args);
                    if let Ok(mut sum) = shared.lock() {
                        sum.add(&report, twice);
                    }
                    if tell.send(report).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut shown = Instant::now();
        for report in told {
            if let Some(violation) = report.violation {
                println!("{}", failure(report.seed, &violation, args));
                failures.push((report.seed, violation));
                if !args.go_on {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            let Ok(sum) = shared.lock() else { continue };
            let reached = |floors| sum.misses(floors).is_empty();
            let enough = args.hours.is_some_and(|hours| sum.hours() >= hours)
                || args.floors.as_ref().is_some_and(reached);
            let late = args.seconds.is_some_and(|most| began.elapsed() >= most);
            if enough || late {
                stop.store(true, Ordering::Relaxed);
            }
            if shown.elapsed() >= Duration::from_secs(10) {
                shown = Instant::now();
                println!("{}", sum.progress(began.elapsed()));
            }
        }
    });
    let sum = shared
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner());
    println!("\n{}\n{}", sum.tell(), sum.progress(began.elapsed()));
    let misses = args.floors.as_ref().map(|floors| sum.misses(floors));
    let misses = misses.unwrap_or_default();
    if failures.is_empty() {
        println!("No violation.");
        if misses.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("Not enough was done:\n  {}", misses.join("\n  "));
        return ExitCode::FAILURE;
    }
    if args.shrink {
        let (seed, violation) = &failures[0];
        println!(
            "{}",
            shrunk(&Script::draw(*seed, &args.swarm(*seed)), violation)
        );
    }
    let seeds: Vec<_> = failures.iter().map(|(seed, _)| seed.to_string()).collect();
    println!("{} violations, seeds: {}", failures.len(), seeds.join(" "));
    ExitCode::FAILURE
}

/// Runs a seed, if asked for twice: both must be the same.
fn run_checked(seed: u64, twice: bool, args: &Args) -> Report {
    let swarm = args.swarm(seed);
    let mut report = run(seed, &swarm);
    if report.violation.is_none() && twice {
        let again = run(seed, &swarm);
        if again.trace != report.trace {
            report.violation = Some(Violation {
                invariant: Invariant::Determinism,
                at: report.simulated,
                text: format!("two runs: {} and {}", report.trace, again.trace),
            });
        }
    }
    report
}

fn failure(seed: u64, violation: &Violation, args: &Args) -> String {
    let (commit, short) = (commit(), if args.short { "--short " } else { "" });
    format!(
        "seed {seed} at commit {commit}:\n  {violation}\n  again: cargo run --profile sim -p peerhold-sim -- {short}--seed {seed} --trace"
    )
}

/// The schedule of a failure, as short as it could be made.
fn shrunk(script: &Script, violation: &Violation) -> String {
    let short = shrink(script, violation, Duration::from_secs(60));
    let mut text = format!("a schedule of {} steps is enough:\n", short.steps.len());
    for step in &short.steps {
        text.push_str(&format!("{step}\n"));
    }
    let numbers: Vec<_> = short
        .steps
        .iter()
        .map(|step| step.number.to_string())
        .collect();
    let (seed, numbers) = (script.seed, numbers.join(","));
    text.push_str(&format!("again: --seed {seed} --steps {numbers} --trace"));
    text
}

/// What the repository here stands at.
fn commit() -> String {
    if let Ok(commit) = std::env::var("PEERHOLD_COMMIT") {
        return commit;
    }
    let git = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    let told = git.ok().filter(|output| output.status.success());
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    told.filter(|commit| !commit.is_empty())
        .unwrap_or_else(|| "unknown".into())
}
