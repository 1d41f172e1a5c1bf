//! The drivers side by side, and beside them the floor, in one run:
//! `cargo bench -p peerhold-benches --bench drivers`.
//!
//! Each is a cluster of three processes on this machine, secured, every write
//! synced: two peers, and a node that puts a large file until all three hold
//! it, forgets its own copies, gets the file from the others, and then puts
//! and gets small files with 1, 16 and 64 operations in flight. **The floor**
//! (`floor.rs`) is three processes that do to the large file only what cannot
//! be left out, with the same libraries and no protocol: how far a driver is
//! above it is what the engine costs.
//!
//! Data lies below `TMPDIR`. `--bench drivers -- --idle 60` measures instead
//! what a node with two peers costs that has nothing to do for so many
//! seconds. CPU time and wake-ups are known on Linux only.

mod floor;
mod kind;
mod node;
mod process;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use peerhold_benches::{KIB, MIB, median};

use kind::Kind;
use process::Child;

/// What a run is made of.
#[derive(Clone, Copy)]
struct Plan {
    /// Bytes of the large file.
    large: usize,
    /// Small files for each operation in flight.
    small: usize,
    rounds: usize,
}

/// Bytes of a small file.
const SMALL: usize = 4 * KIB;
const IN_FLIGHT: [usize; 3] = [1, 16, 64];

/// Figures by name, each the higher the better but for `cpu` and `memory`.
type Figures = BTreeMap<String, f64>;
/// Those of every round.
type Rounds = BTreeMap<String, Vec<f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["peer", kind, rest @ ..] => node::peer(kind.parse()?, rest),
        ["writer", kind, rest @ ..] => node::writer(kind.parse()?, rest),
        ["floor-peer"] => floor::peer(),
        ["floor-writer", rest @ ..] => floor::writer(rest),
        _ => measure(&args),
    }
}

fn measure(args: &[&str]) -> Result<(), Box<dyn Error>> {
    if let Some(at) = args.iter().position(|arg| *arg == "--idle") {
        let seconds = args.get(at + 1).ok_or("--idle wants seconds")?.parse()?;
        return idle(Duration::from_secs(seconds));
    }
    // `cargo test` runs benches with this, once and for their correctness.
    let plan = match args.contains(&"--test") {
        true => Plan {
            large: 8 * MIB,
            small: 1,
            rounds: 1,
        },
        false => Plan {
            large: 1024 * MIB,
            small: 100,
            rounds: 3,
        },
    };
    let mut floor = Rounds::new();
    let mut drivers: Vec<(Kind, Rounds)> = Kind::ALL.map(|kind| (kind, Rounds::new())).into();
    for _ in 0..plan.rounds {
        add(&mut floor, floor_round(&plan)?);
        for (kind, rounds) in &mut drivers {
            add(rounds, round(*kind, &plan)?);
        }
        // The next round begins with another.
        drivers.rotate_left(1);
    }
    drivers.sort_by_key(|(kind, _)| *kind);
    print(&plan, &floor, &drivers);
    Ok(())
}

fn add(rounds: &mut Rounds, figures: Figures) {
    for (name, value) in figures {
        rounds.entry(name).or_default().push(value);
    }
}

/// One driver's cluster, from its start to its end.
fn round(kind: Kind, plan: &Plan) -> Result<Figures, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (mut peers, mut writer) = cluster(kind, dir.path(), &plan.workload())?;
    let mut figures = writer.figures()?;
    writer.end()?;
    for peer in &mut peers {
        for (name, value) in peer.end()? {
            *figures.entry(name).or_default() += value;
        }
    }
    Ok(figures)
}

impl Plan {
    fn workload(&self) -> [String; 2] {
        [self.large.to_string(), self.small.to_string()]
    }
}

/// Two peers and a node that has `work` to do.
fn cluster(
    kind: Kind,
    dir: &std::path::Path,
    work: &[String],
) -> Result<([Child; 2], Child), Box<dyn Error>> {
    let place = |name: &str| dir.join(name).display().to_string();
    let mut first = Child::start(&["peer", kind.name(), &place("first")])?;
    let addr = first.line("listens")?;
    let mut second = Child::start(&["peer", kind.name(), &place("second"), &addr])?;
    let other = second.line("listens")?;
    let place = place("writer");
    let mut args = vec!["writer", kind.name(), &place, &addr, &other];
    args.extend(work.iter().map(String::as_str));
    let writer = Child::start(&args)?;
    Ok(([first, second], writer))
}

fn floor_round(plan: &Plan) -> Result<Figures, Box<dyn Error>> {
    let mut peers = [
        Child::start(&["floor-peer"])?,
        Child::start(&["floor-peer"])?,
    ];
    let mut addrs = Vec::new();
    for peer in &mut peers {
        addrs.push(peer.line("listens")?);
    }
    let large = plan.large.to_string();
    let mut writer = Child::start(&["floor-writer", &large, &addrs[0], &addrs[1]])?;
    let mut figures = writer.figures()?;
    writer.end()?;
    for peer in &mut peers {
        for (name, value) in peer.end()? {
            *figures.entry(name).or_default() += value;
        }
    }
    Ok(figures)
}

fn print(plan: &Plan, floor: &Rounds, drivers: &[(Kind, Rounds)]) {
    println!(
        "three processes, {} MiB and files of {} KiB; median of {} rounds (least to greatest); \
         * the best driver",
        plan.large / MIB,
        SMALL / KIB,
        plan.rounds
    );
    let names: Vec<&String> = drivers[0].1.keys().collect();
    for name in names {
        let of = |rounds: &Rounds| {
            rounds
                .get(name)
                .map(|values| median(values.iter().copied()))
        };
        let values: Vec<f64> = drivers
            .iter()
            .filter_map(|(_, rounds)| of(rounds))
            .collect();
        let less = name.starts_with("cpu") || name.starts_with("memory");
        let best = values
            .iter()
            .copied()
            .reduce(if less { f64::min } else { f64::max });
        let bottom = of(floor);
        println!("{name}");
        if let Some(bottom) = bottom {
            println!("  {:<6} {bottom:>10.2} {}", "floor", spread(&floor[name]));
        }
        for (kind, rounds) in drivers {
            let (Some(value), Some(best)) = (of(rounds), best) else {
                continue;
            };
            let to_floor = bottom.map(|bottom| format!("{:.2} of the floor", value / bottom));
            println!(
                "  {:<6} {value:>10.2} {}  {:.2} of the best{}  {}",
                kind.name(),
                spread(&rounds[name]),
                value / best,
                if value == best { "*" } else { " " },
                to_floor.unwrap_or_default()
            );
        }
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("({least:.2} to {most:.2})")
}

/// What a node costs that is not used.
fn idle(time: Duration) -> Result<(), Box<dyn Error>> {
    println!(
        "a node with two peers, idle for {} s: CPU seconds and wake-ups",
        time.as_secs()
    );
    for kind in Kind::ALL {
        let dir = tempfile::tempdir()?;
        let (peers, mut writer) = cluster(kind, dir.path(), &["idle".into()])?;
        writer.line("ready")?;
        // They have settled when this much has passed without work.
        std::thread::sleep(Duration::from_secs(2));
        let before = writer.usage()?;
        std::thread::sleep(time);
        let after = writer.usage()?;
        println!(
            "  {:<6} {:>5.2} s  {:>6} wake-ups",
            kind.name(),
            after.cpu - before.cpu,
            after.wakeups - before.wakeups
        );
        writer.end()?;
        for mut peer in peers {
            peer.end()?;
        }
    }
    Ok(())
}
