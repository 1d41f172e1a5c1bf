//! What honest peers notice of those who mean no good, and what becomes of
//! these, on every driver: `cargo bench -p peerhold-benches --bench abuse`.
//!
//! A node in a process of its own has one honest peer, in another, that puts
//! and gets small files all the time; by turns alone, and beside each kind of
//! abuser and all of them (`kinds.rs`), who come from this process. It fails if
//! beside one kind the 99th percentile of the honest peer's latency is more than
//! twice what it was alone just before, by more than a few milliseconds; if the
//! node uses more memory than its limits come to; if any abuser is still there
//! when its deadline has passed; or if the node has more descriptors afterwards.
//! Beside all of them at once, who with the node and its peer use up a small
//! machine, the peer's operations have to succeed, and what they take is shown.
//!
//! Data lies below `TMPDIR`. It needs Linux for its figures, and as many file
//! descriptors as the node has connections (`ulimit -n`).

mod child;
#[path = "../drivers/kind.rs"]
mod kind;
mod kinds;
mod nodes;

use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use child::{Child, from_line};
use kind::Kind as Driver;
use kinds::{Abuse, Gone, Kind, Numbers};
use nodes::Look;

/// Latencies that differ by less are the same: a busy machine's scheduler
/// alone takes as long.
const SAME_MILLIS: f64 = 4.0;
/// How much slower an honest peer may become.
const SLOWER: f64 = 2.0;

/// What a run is made of.
#[derive(Clone, Copy)]
struct Plan {
    numbers: Numbers,
    /// How long the honest peer is measured each time.
    window: Duration,
    /// Whether figures count, and not only what must hold at any speed.
    judged: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["victim", kind, rest @ ..] => nodes::victim(kind.parse()?, rest),
        ["honest", kind, rest @ ..] => nodes::honest(kind.parse()?, rest),
        // The gate runs benches with this, once and for their correctness: here
        // one driver beside all abusers, a few of each.
        args => measure(match args.contains(&"--test") {
            true => Plan {
                numbers: Numbers {
                    silent: 50,
                    dribbling: 5,
                    deaf: 5,
                    stuck: false,
                    storm: 50,
                },
                window: Duration::from_millis(300),
                judged: false,
            },
            false => Plan {
                numbers: Numbers {
                    silent: 1000,
                    dribbling: 100,
                    deaf: 100,
                    stuck: true,
                    storm: 500,
                },
                window: Duration::from_millis(2500),
                judged: true,
            },
        }),
    }
}

/// The honest peer's figures of one window.
#[derive(Clone, Copy)]
struct Served {
    count: f64,
    put: f64,
    get: f64,
}

fn measure(plan: Plan) -> Result<(), Box<dyn Error>> {
    let mut failures = Vec::new();
    println!(
        "driver  beside                                  files   put p99   (alone)      get p99   (alone)      memory   of       files   CPU    gone after (within)"
    );
    let drivers = match plan.judged {
        true => &Driver::ALL[..],
        false => &[Driver::Smol],
    };
    for &driver in drivers {
        failures.extend(one(driver, plan)?);
    }
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err("abusers are noticed".into()),
    }
}

/// One driver's run, and what of it must not be.
fn one(driver: Driver, plan: Plan) -> Result<Vec<String>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let numbers = plan.numbers;
    // Room for all of them, and for as many who come and go.
    let connections = 2 * (numbers.silent + 4 * numbers.dribbling) + numbers.deaf + 200;
    let (connections, folder) = (connections.to_string(), place("victim"));
    let (mut victim, line) = Child::start(&["victim", driver.name(), &folder, &connections])?;
    let (addr, ceiling) = line.split_once(' ').ok_or("it has an address")?;
    let (addr, ceiling): (SocketAddr, f64) = (addr.parse()?, ceiling.parse()?);
    let folder = place("honest");
    let (mut honest, _) = Child::start(&["honest", driver.name(), &folder, &addr.to_string()])?;
    let mut failures = Vec::new();
    // Files that there is much of to ask for, and caches that are warm.
    serve(&mut honest, plan.window)?;
    let before = look(&mut victim)?;
    let each = Kind::ALL.iter().map(std::slice::from_ref);
    let each = each.filter(|_| plan.judged);
    for kinds in each.chain([&Kind::ALL[..]]) {
        let name = match kinds {
            [kind] => kind.says(numbers),
            _ => "all of them".into(),
        };
        // A machine is not always as fast.
        let alone = serve(&mut honest, plan.window)?;
        let mut abuse: Vec<Abuse> = Vec::new();
        for kind in kinds {
            abuse.extend(kind.begin(addr, numbers)?);
        }
        let begun = look(&mut victim)?;
        let served = serve(&mut honest, plan.window)?;
        let during = look(&mut victim)?;
        let mut gone = Vec::new();
        for one in abuse {
            gone.extend(one.end()?);
        }
        let row = Row {
            driver,
            beside: &name,
            served,
            alone,
            cpu: (during.cpu - begun.cpu) / plan.window.as_secs_f64(),
            node: during,
            ceiling,
            gone: &gone,
        };
        row.print();
        let mut failed = |what: String| failures.push(format!("{} {name}: {what}", driver.name()));
        for (of, with, without) in [
            ("put", served.put, alone.put),
            ("get", served.get, alone.get),
        ] {
            let judged = plan.judged && kinds.len() == 1;
            if judged && with > SLOWER * without && with > without + SAME_MILLIS {
                failed(format!("a {of} takes {with:.1} ms instead of {without:.1}"));
            }
        }
        if !gone.iter().all(|gone| gone.in_time()) {
            failed("somebody is still there".into());
        }
        if during.peak > ceiling {
            failed(format!("{:.0} MiB of {ceiling:.0} are used", during.peak));
        }
        if let Err(left) = settles(&mut victim, before) {
            failed(format!(
                "{left} descriptors are left of {}",
                before.descriptors
            ));
        }
    }
    honest.end()?;
    victim.end()?;
    Ok(failures)
}

fn look(victim: &mut Child) -> Result<Look, Box<dyn Error>> {
    Look::parse(&victim.ask("look")?)
}

fn serve(honest: &mut Child, window: Duration) -> Result<Served, Box<dyn Error>> {
    let line = honest.ask(&window.as_millis().to_string())?;
    let [count, put, get] = from_line(&line)?;
    Ok(Served { count, put, get })
}

/// Waits until the node has as many descriptors and peers as before; how many
/// it has if it never does.
fn settles(victim: &mut Child, before: Look) -> Result<(), f64> {
    let end = Instant::now() + 3 * nodes::IDLE;
    loop {
        let now = look(victim).map_err(|_| f64::NAN)?;
        if now.descriptors <= before.descriptors && now.peers <= before.peers {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(now.descriptors);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A line of the table.
struct Row<'a> {
    driver: Driver,
    beside: &'a str,
    served: Served,
    /// The same just before, beside nobody.
    alone: Served,
    /// Cores that the node used.
    cpu: f64,
    node: Look,
    ceiling: f64,
    gone: &'a [Gone],
}

impl Row<'_> {
    fn print(&self) {
        let Self { served, alone, .. } = self;
        let gone = self.gone.iter().map(|gone| {
            let after = gone.after.map_or("never".into(), |after| {
                format!("{:.1} s", after.as_secs_f64())
            });
            format!("{after} ({} s)", gone.deadline.as_secs())
        });
        println!(
            "{:<6}  {:<38}  {:>5}  {:>6.2} ms ({:>5.2} ms)  {:>6.2} ms ({:>5.2} ms)  {:>4.0} MiB {:>5.0} MiB  {:>3.0} MiB  {:>3.0} %  {}",
            self.driver.name(),
            self.beside,
            served.count,
            served.put,
            alone.put,
            served.get,
            alone.get,
            self.node.peak,
            self.ceiling,
            self.node.files,
            self.cpu * 100.0,
            gone.collect::<Vec<_>>().join(", ")
        );
    }
}
