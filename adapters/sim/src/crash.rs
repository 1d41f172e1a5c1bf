//! Every state in which a crash may leave a store, one after the other.
//!
//! A scenario is carried out once. After each call that changes its disk, a
//! crash may come: every subset of what was not synced then is kept, as long as
//! there are few, else a drawn part of them. Each is opened, looked at, worked
//! with, and crashed again in its recovery. What must hold:
//!
//! 1. What was acknowledged is there, byte for byte, and counts say so.
//! 2. What was not is wholly there, or not at all.
//! 3. A file under a blob's name is that blob.
//! 4. Nothing is said to be damaged or lost.
//! 5. The store works on, and all of this holds for the next crash, too, and
//!    when the index is made anew from the log.

mod model;
mod scenario;
mod storm;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chacha20::ChaCha20Rng;
use peerhold_core::disk::{DiskData, DiskKind};
use peerhold_core::id::BlobId;
use peerhold_store::Store;
use peerhold_store::vfs::{Vfs, VfsFile};
use rand_core::{Rng, SeedableRng};

use self::model::{Expected, batch, put, record, run};
use self::scenario::{Failed, Point, Scenario, config};
pub use self::storm::storm;
use crate::disk::{Image, Mount, SimDisk, Unsynced};

/// Files of more pages than this are lost and kept call by call.
const PAGES_MAX: usize = 4;

/// How many states are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Where a crash has at most so many outcomes, all are.
    pub all_up_to: u64,
    /// Where it has more, so many of them, drawn.
    pub drawn: u64,
    /// One state of so many is crashed again in its recovery..
    pub again_every: u64,
    /// ..at every call, with so many outcomes of each, drawn.
    pub again_drawn: u64,
    /// One call of so many fails, see [`explore_failures`].
    pub fail_every: u64,
    /// What all that is drawn comes from.
    pub seed: u64,
    /// Only scenarios whose names contain this.
    pub only: String,
}

impl Effort {
    /// What the gate has time for.
    pub fn small(seed: u64) -> Self {
        Self {
            all_up_to: 64,
            drawn: 16,
            again_every: 64,
            again_drawn: 1,
            fail_every: 4,
            seed,
            only: String::new(),
        }
    }

    /// All of up to 2^12 outcomes, and as many of more.
    pub fn full(seed: u64) -> Self {
        Self {
            all_up_to: 1 << 12,
            drawn: 1 << 12,
            again_every: 64,
            again_drawn: 2,
            fail_every: 1,
            ..Self::small(seed)
        }
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of each scenario.
    pub scenarios: Vec<Count>,
}

/// What was looked at of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Its name.
    pub name: &'static str,
    /// Moments at which a crash was possible.
    pub points: u64,
    /// Those of which every outcome was looked at.
    pub exhausted: u64,
    /// States after the first crash.
    pub states: u64,
    /// States after a second crash, during the recovery from the first.
    pub again: u64,
}

impl Report {
    /// All states, after one crash and after two.
    pub fn states(&self) -> u64 {
        let of = self.scenarios.iter();
        of.map(|count| count.states + count.again).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "scenario        crashes  exhausted   states  crashed again"
        )?;
        for count in &self.scenarios {
            let Count {
                name,
                points,
                exhausted,
                states,
                again,
            } = count;
            writeln!(
                f,
                "{name:<14} {points:>8} {exhausted:>10} {states:>8} {again:>14}"
            )?;
        }
        write!(f, "{} states, all sound", self.states())
    }
}

/// A state that is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{scenario}, crash {point}, state {state}, seed {seed}: {what}")]
pub struct Violation {
    /// In which scenario.
    pub scenario: &'static str,
    /// The crash point, counted from 0.
    pub point: usize,
    /// The number of the state at that point.
    pub state: u64,
    /// [`Effort::seed`].
    pub seed: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Looks at the crash states of all scenarios.
///
/// # Errors
/// The first state that is not sound.
pub fn explore(effort: &Effort) -> Result<Report, Violation> {
    let mut report = Report::default();
    for scenario in scenario::all() {
        if !scenario.name.contains(&effort.only) {
            continue;
        }
        report.scenarios.push(explore_one(&scenario, effort)?);
    }
    Ok(report)
}

/// Has the calls of every scenario fail, each once, the disk's own way, and then
/// kills the process or cuts the power. Gives how many failures these were.
///
/// # Errors
/// The first after which the store is not sound: [`Violation::point`] is the
/// call.
pub fn explore_failures(effort: &Effort) -> Result<u64, Violation> {
    let mut failures = 0;
    for scenario in scenario::all() {
        if !scenario.name.contains(&effort.only) {
            continue;
        }
        let first = effort.seed % effort.fail_every;
        for turn in 0.. {
            let call = first + turn * effort.fail_every;
            let failed = catch_unwind(AssertUnwindSafe(|| fail_at(&scenario, effort.seed, call)));
            let failed = failed.unwrap_or_else(|_| Err("it panics".to_owned()));
            let more = failed.map_err(|what| Violation {
                scenario: scenario.name,
                point: call as usize,
                state: 0,
                seed: effort.seed,
                what,
            });
            if !more? {
                break;
            }
            failures += 1;
        }
    }
    Ok(failures)
}

/// `false` if there were not so many calls.
fn fail_at(scenario: &Scenario, seed: u64, call: u64) -> Result<bool, String> {
    let seed = seed ^ call << 20;
    let Some(Failed { disk, mut expected }) = scenario.failing(seed, call)? else {
        return Ok(false);
    };
    disk.kill();
    for life in ["after it failed", "after a power cut"] {
        let said = |what| format!("{life}: {what}");
        let store = open(&disk).map_err(said)?;
        expected = expected.check(&store).map_err(said)?;
        work_on(&store, &mut expected).map_err(said)?;
        disk.crash();
    }
    Ok(true)
}

fn explore_one(scenario: &Scenario, effort: &Effort) -> Result<Count, Violation> {
    let violation = |point, state, what| Violation {
        scenario: scenario.name,
        point,
        state,
        seed: effort.seed,
        what,
    };
    let points = scenario
        .points(effort.seed)
        .map_err(|what| violation(0, 0, what))?;
    let mut count = Count {
        name: scenario.name,
        points: points.len() as u64,
        ..Count::default()
    };
    for (at, point) in points.iter().enumerate() {
        let states = States::of(point, effort, at as u64);
        count.exhausted += u64::from(states.is_exhaustive());
        for (number, (state, mut rng)) in states.enumerate() {
            let number = number as u64;
            let examined = catch_unwind(AssertUnwindSafe(|| {
                let turn = count.states;
                examine(&state, &point.expected, effort, turn, &mut rng)
            }));
            let examined = examined.unwrap_or_else(|_| Err("it panics".to_owned()));
            count.again += examined.map_err(|what| violation(at, number, what))?;
            count.states += 1;
        }
    }
    Ok(count)
}

/// The outcomes of one crash.
struct States<'a> {
    point: &'a Point,
    unsynced: Vec<Unsynced>,
    /// The next one, if all are to come.
    next: Option<Vec<usize>>,
    /// How many are yet to be drawn.
    drawn: u64,
    seed: u64,
}

impl<'a> States<'a> {
    fn of(point: &'a Point, effort: &Effort, at: u64) -> Self {
        let unsynced = point.image.unsynced(PAGES_MAX);
        let mut all = 1_u64;
        unsynced
            .iter()
            .for_each(|one| all = all.saturating_mul(one.fates as u64));
        let exhaustive = all <= effort.all_up_to;
        // Torn ones beside those that are whole or not there.
        let drawn = if exhaustive {
            (all / 2).min(effort.drawn / 64)
        } else {
            effort.drawn
        };
        Self {
            point,
            next: exhaustive.then(|| vec![0; unsynced.len()]),
            unsynced,
            drawn,
            seed: effort.seed ^ at << 40,
        }
    }

    fn is_exhaustive(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the point before did not have this state already.
    fn is_new(&self, fates: &[usize]) -> bool {
        let mut all = self.unsynced.iter().zip(fates);
        self.point.told_more
            || all.any(|(one, fate)| one.call == self.point.call && fate + 1 == one.fates)
    }

    /// The next in order that is new.
    fn enumerate_next(&mut self) -> Option<Vec<usize>> {
        while let Some(now) = self.next.take() {
            let mut next = now.clone();
            let more = (0..next.len()).find(|at| next[*at] + 1 < self.unsynced[*at].fates);
            self.next = more.map(|at| {
                next[at] += 1;
                next[..at].fill(0);
                next
            });
            if self.is_new(&now) {
                return Some(now);
            }
        }
        None
    }

    fn draw(&self, rng: &mut ChaCha20Rng) -> Vec<usize> {
        // Some lose much and some little.
        let lose = 1 + rng.next_u32() % 7;
        let mut fates: Vec<_> = self
            .unsynced
            .iter()
            .map(|one| match rng.next_u32() % 8 < lose {
                true => rng.next_u32() as usize % (one.fates - 1),
                false => one.fates - 1,
            })
            .collect();
        if !self.is_new(&fates) {
            let call = self.point.call;
            let newest = self.unsynced.iter().position(|one| one.call == call);
            if let Some(newest) = newest {
                fates[newest] = self.unsynced[newest].fates - 1;
            }
        }
        fates
    }
}

impl Iterator for States<'_> {
    type Item = (Image, ChaCha20Rng);

    fn next(&mut self) -> Option<Self::Item> {
        let image = &self.point.image;
        self.seed += 1;
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        if let Some(fates) = self.enumerate_next() {
            return Some((image.after_crash(&self.unsynced, &fates, None), rng));
        }
        self.drawn = self.drawn.checked_sub(1)?;
        let fates = self.draw(&mut rng);
        if !self.is_new(&fates) {
            // A sync leaves nothing that was not there before.
            return None;
        }
        let tear = rng.next_u32().is_multiple_of(2).then_some(&mut rng);
        let left = image.after_crash(&self.unsynced, &fates, tear);
        Some((left, rng))
    }
}

/// Looks at one state, and at some that a second crash leaves. Gives the number
/// of the latter.
fn examine(
    state: &Image,
    expected: &Expected,
    effort: &Effort,
    turn: u64,
    rng: &mut ChaCha20Rng,
) -> Result<u64, String> {
    let disk = SimDisk::with(rng.next_u64(), state.clone());
    let again = turn.is_multiple_of(effort.again_every);
    if again {
        disk.record();
    }
    let store = open(&disk)?;
    let recovery = disk.take_record();
    let mut known = expected.check(&store)?;
    work_on(&store, &mut known)?;
    let turn = turn % 24;
    if turn.is_multiple_of(4) {
        if turn.is_multiple_of(8) {
            disk.crash();
        } else {
            drop(store);
        }
        if turn.is_multiple_of(3) {
            let removed = disk.mount().remove("index.redb");
            removed.map_err(|error| error.to_string())?;
        }
        let checked = open(&disk).and_then(|store| known.check(&store).map(drop));
        checked.map_err(|what| format!("after working on: {what}"))?;
    }
    let mut looked = 0;
    for (call, image) in recovery {
        let unsynced = image.unsynced(PAGES_MAX);
        for _ in 0..effort.again_drawn {
            let fate = |one: &Unsynced| rng.next_u32() as usize % one.fates;
            let fates: Vec<_> = unsynced.iter().map(fate).collect();
            let left = image.after_crash(&unsynced, &fates, Some(rng));
            let disk = SimDisk::with(rng.next_u64(), left);
            let checked = open(&disk).and_then(|store| {
                let mut known = expected.check(&store)?;
                work_on(&store, &mut known)
            });
            checked.map_err(|what| format!("crashed again at call {call}: {what}"))?;
            looked += 1;
        }
    }
    Ok(looked)
}

/// Opens the store, if all that has the name of a blob is that blob.
fn open(disk: &SimDisk) -> Result<Store<Mount>, String> {
    let mount = disk.mount();
    for path in disk.image().files() {
        if !path.starts_with("blobs/") {
            continue;
        }
        let file = mount.open(&path).map_err(|error| error.to_string())?;
        let len = file.len().map_err(|error| error.to_string())?;
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0);
        read.map_err(|error| error.to_string())?;
        let id = BlobId::of(&bytes).to_hex().to_string();
        if !path.ends_with(&id) {
            return Err(format!("{path} has other bytes, {len} of them"));
        }
    }
    Store::open(mount, config()).map_err(|error| error.to_string())
}

/// Puts something of every kind.
fn work_on(store: &Store<Mount>, known: &mut Expected) -> Result<(), String> {
    let kinds = [put(9001, 300), put(9002, 900), record(99, 1, 60)];
    let done = batch(store, known, &kinds);
    done.map_err(|what| format!("it does not work on: {what}"))?;
    known.end_of(&kinds);
    for (seed, len) in [(9001, 300), (9002, 900)] {
        let bytes = model::bytes(seed, len);
        match run(store, DiskKind::GetBlob(BlobId::of(&bytes))) {
            Ok(DiskData::Blob(found)) if found == bytes => {}
            other => return Err(format!("what was put is {other:?}")),
        }
    }
    Ok(())
}
