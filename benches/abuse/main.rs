//! What honest peers notice of those who mean no good, and what becomes of
//! these, on every driver: `cargo bench -p peerhold-benches --bench abuse`.
//!
//! A node in a process of its own has one honest peer, in another, that puts
//! and gets small files all the time; first alone, and then beside each kind of
//! abuser and beside all of them (`kinds.rs`), who come from this process. It
//! fails if with abuse the 99th percentile of the honest peer's latency is more
//! than twice what it is without, by more than a few milliseconds; if the node
//! uses more memory than its limits come to; if any abuser is still there when
//! its deadline has passed; or if the node has more descriptors afterwards.
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
        "driver  beside                                  files   put p99      get p99      memory   of       files   CPU    gone after (within)"
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
    let alone = serve(&mut honest, plan.window)?;
    let after = look(&mut victim)?;
    print(driver, "nobody", plan, alone, before, after, ceiling, &[]);
    let each = Kind::ALL.iter().map(std::slice::from_ref);
    let each = each.filter(|_| plan.judged);
    for kinds in each.chain([&Kind::ALL[..]]) {
        let name = match kinds {
            [kind] => kind.says(numbers),
            _ => "all of them".into(),
        };
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
        print(driver, &name, plan, served, begun, during, ceiling, &gone);
        let mut failed = |what: String| failures.push(format!("{} {name}: {what}", driver.name()));
        for (of, with, without) in [
            ("put", served.put, alone.put),
            ("get", served.get, alone.get),
        ] {
            if plan.judged && with > SLOWER * without && with > without + SAME_MILLIS {
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

#[expect(clippy::too_many_arguments, reason = "a line has as many columns")]
fn print(
    driver: Driver,
    beside: &str,
    plan: Plan,
    served: Served,
    begun: Look,
    end: Look,
    ceiling: f64,
    gone: &[Gone],
) {
    let gone: Vec<String> = gone
        .iter()
        .map(|gone| {
            let (after, deadline) = (gone.after.as_secs_f64(), gone.deadline.as_secs());
            format!("{after:.1} s ({deadline} s)")
        })
        .collect();
    println!(
        "{:<6}  {beside:<38}  {:>5}  {:>7.2} ms  {:>7.2} ms  {:>4.0} MiB {:>5.0} MiB  {:>3.0} MiB  {:>3.0} %  {}",
        driver.name(),
        served.count,
        served.put,
        served.get,
        end.peak,
        ceiling,
        end.files,
        (end.cpu - begun.cpu) / plan.window.as_secs_f64() * 100.0,
        gone.join(", ")
    );
}
