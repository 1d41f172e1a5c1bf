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
//! The floor and the drivers take turns, after a first round that counts for
//! nothing (memory and disk are slower when they have not been used for a
//! while), and medians are told. CPU seconds are those of all three processes
//! in that phase.
//!
//! Data lies below `TMPDIR`, 3 GiB a cluster, and is removed when its cluster
//! has ended. Some file systems are slow to make files for a minute after
//! others were removed: `-- --keep` keeps all until the end, 12 GiB a round.
//! The floor syncs three files once each, a store every blob before it is
//! acknowledged; on a `TMPDIR` in memory, where nothing is synced, the engine
//! is seen alone. `-- --rounds N` sets how many rounds count.
//!
//! `-- --idle 60` measures instead what a node with two peers costs that has
//! nothing to do for so many seconds. CPU time and wake-ups are known on Linux
//! only.

mod floor;
mod kind;
mod node;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
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
    /// Rounds before those.
    warm_up: usize,
    /// Data is removed at the end, not when its cluster has ended.
    keep: bool,
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
        ["floor-peer", dir] => floor::peer(dir),
        ["floor-writer", rest @ ..] => floor::writer(rest),
        _ => measure(&args),
    }
}

fn measure(args: &[&str]) -> Result<(), Box<dyn Error>> {
    if let Some(seconds) = number(args, "--idle")? {
        return idle(Duration::from_secs(seconds));
    }
    // `cargo test` runs benches with this, once and for their correctness.
    let plan = match args.contains(&"--test") {
        true => Plan {
            large: 8 * MIB,
            small: 1,
            rounds: 1,
            warm_up: 0,
            keep: false,
        },
        false => Plan {
            large: 1024 * MIB,
            small: 100,
            rounds: number(args, "--rounds")?.unwrap_or(5) as usize,
            warm_up: 1,
            keep: args.contains(&"--keep"),
        },
    };
    let dir = tempfile::tempdir()?;
    // `None`: the floor.
    let mut all = vec![None];
    all.extend(Kind::ALL.map(Some));
    let mut figures: BTreeMap<Option<Kind>, Rounds> = BTreeMap::new();
    for number in 0..plan.warm_up + plan.rounds {
        for kind in &all {
            let name = format!("{number}-{}", kind.map_or("floor", Kind::name));
            let dir = dir.path().join(name);
            std::fs::create_dir(&dir)?;
            let round = match kind {
                None => floor_round(&plan, &dir)?,
                Some(kind) => round(*kind, &plan, &dir)?,
            };
            if !plan.keep {
                std::fs::remove_dir_all(&dir)?;
            }
            if number >= plan.warm_up {
                add(figures.entry(*kind).or_default(), round);
            }
        }
        // The next round begins with another.
        all.rotate_left(1);
    }
    print(&plan, &figures);
    Ok(())
}

/// The number behind an argument of this name.
fn number(args: &[&str], name: &str) -> Result<Option<u64>, Box<dyn Error>> {
    let Some(at) = args.iter().position(|arg| *arg == name) else {
        return Ok(None);
    };
    let number = args.get(at + 1).ok_or(format!("{name} wants a number"))?;
    Ok(Some(number.parse()?))
}

fn add(rounds: &mut Rounds, figures: Figures) {
    for (name, value) in figures {
        rounds.entry(name).or_default().push(value);
    }
}

/// One driver's cluster, from its start to its end.
fn round(kind: Kind, plan: &Plan, dir: &Path) -> Result<Figures, Box<dyn Error>> {
    let (peers, writer) = cluster(kind, dir, &plan.workload())?;
    follow(writer, peers)
}

/// What a writer tells, and what all three have used for it, until their end.
fn follow(mut writer: Child, mut peers: [Child; 2]) -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures::new();
    let cpu = |writer: &Child| -> f64 {
        let all = [writer].into_iter().chain(&peers);
        all.map(Child::cpu).sum()
    };
    let mut before = cpu(&writer);
    while let Some((name, value)) = writer.figure()? {
        let now = cpu(&writer);
        let (phase, _) = name.rsplit_once(", ").unwrap_or((&name, ""));
        figures.insert(format!("cpu of {phase}, s"), now - before);
        before = now;
        figures.insert(name, value);
    }
    for (name, value) in writer.end()? {
        figures.insert(name, value);
    }
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
fn cluster(kind: Kind, dir: &Path, work: &[String]) -> Result<([Child; 2], Child), Box<dyn Error>> {
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

fn floor_round(plan: &Plan, dir: &Path) -> Result<Figures, Box<dyn Error>> {
    let place = dir.display().to_string();
    let mut peers = [
        Child::start(&["floor-peer", &place])?,
        Child::start(&["floor-peer", &place])?,
    ];
    let mut addrs = Vec::new();
    for peer in &mut peers {
        addrs.push(peer.line("listens")?);
    }
    let large = plan.large.to_string();
    let writer = Child::start(&["floor-writer", &place, &large, &addrs[0], &addrs[1]])?;
    follow(writer, peers)
}

fn print(plan: &Plan, figures: &BTreeMap<Option<Kind>, Rounds>) {
    println!(
        "three processes, {} MiB and files of {} KiB; median of {} rounds (least to greatest); \
         * the best driver",
        plan.large / MIB,
        SMALL / KIB,
        plan.rounds
    );
    let of = |kind: Option<Kind>, name: &String| {
        let values = figures.get(&kind)?.get(name)?;
        Some((median(values.iter().copied()), spread(values)))
    };
    let names = figures.values().flat_map(Rounds::keys);
    for name in names.collect::<BTreeSet<_>>() {
        println!("{name}");
        let floor = of(None, name);
        if let Some((value, spread)) = &floor {
            println!("  {:<6} {value:>10.2} {spread}", "floor");
        }
        let drivers = Kind::ALL.map(|kind| (kind, of(Some(kind), name)));
        let less = name.starts_with("cpu") || name.starts_with("memory");
        let values = drivers.iter().flat_map(|(_, figure)| figure);
        let best = values
            .map(|(value, _)| *value)
            .reduce(if less { f64::min } else { f64::max });
        for (kind, figure) in &drivers {
            let (Some((value, spread)), Some(best)) = (figure, best) else {
                continue;
            };
            let to_floor = floor
                .as_ref()
                .map(|(floor, _)| format!("{:.2} of the floor", value / floor));
            println!(
                "  {:<6} {value:>10.2} {spread}  {:.2} of the best{}  {}",
                kind.name(),
                value / best,
                if *value == best { "*" } else { " " },
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
