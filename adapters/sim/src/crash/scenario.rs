//! What a store is doing when the machine stops.

use peerhold_core::disk::DiskKind;
use peerhold_store::{Store, StoreConfig};

use super::model::{self, Expected, bytes, debt, forget, put, record, seen};
use crate::disk::{Image, Mount, SimDisk};

/// Small limits, so that little data meets all of them.
pub(super) fn config() -> StoreConfig {
    let mut config = StoreConfig::new([7; 32]);
    config.segment_bytes = 4 << 10;
    config.small_blob_max = 512;
    config.cache_bytes = 256 << 10;
    config.reserve_bytes = 4 << 10;
    config.compact_bytes = 2 << 10;
    config.index_commit_groups = 1000;
    config
}

/// One thing that a scenario does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Opens the store, or makes one.
    Open,
    /// Makes it ours.
    Own,
    /// Executes operations as one batch.
    Batch(Vec<DiskKind>),
    /// Commits nothing, so many times: only compaction goes on.
    Idle(usize),
    /// Closes the store.
    Close,
}

use Step::{Batch, Close, Idle, Open, Own};

/// Steps, and those of them that are looked at.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// What has happened before, without a crash.
    before: Vec<Step>,
    steps: Vec<Step>,
    /// Groups of writes after which the index is made durable.
    index_commit_groups: u32,
}

/// The disk after each call of a scenario that has changed it.
pub(super) struct Point {
    pub(super) call: u64,
    pub(super) image: Image,
    pub(super) expected: Expected,
    /// What may be expected is not what it was at the point before.
    pub(super) told_more: bool,
}

/// What a scenario of which a call has failed leaves.
pub(super) struct Failed {
    pub(super) disk: SimDisk,
    pub(super) expected: Expected,
}

/// All scenarios.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario(
            "first start",
            vec![],
            steps(&[&[Own, load()], &[batch([large(1)])]]),
        ),
        put_new(),
        replace(),
        remove(),
        log_roll(),
        index_commit(),
        compaction(),
        tombstones(),
    ]
}

fn scenario(name: &'static str, before: Vec<Step>, steps: Vec<Step>) -> Scenario {
    Scenario {
        name,
        before,
        steps,
        index_commit_groups: 1000,
    }
}

fn put_new() -> Scenario {
    let now = [
        load(),
        batch([small(10)]),
        batch([large(11)]),
        batch([larger(12), small(13), record(2, 1, 60)]),
        batch([record(3, 1, 5000), record(4, 1, 60)]),
    ];
    scenario("put", base(), steps(&[&now]))
}

fn replace() -> Scenario {
    let noted = DiskKind::NoteSeen {
        seen: vec![seen(1, 2)],
        forget: vec![model::key(2)],
    };
    let paid = DiskKind::ClearDebts(vec![debt(1, 1)]);
    let now = [
        batch([record(1, 2, 60)]),
        batch([DiskKind::PutMembers(bytes(2, 90)), record(1, 3, 4000)]),
        batch([noted]),
        batch([paid, record(1, 4, 60)]),
    ];
    scenario("replace", base(), steps(&[&now]))
}

fn remove() -> Scenario {
    let now = [
        batch([forget(1, 300)]),
        batch([forget(2, 900)]),
        batch([forget(3, 5000), small(10)]),
        // The same once more.
        batch([large(2)]),
        batch([larger(3), small(1)]),
        batch([forget(2, 900), large(11)]),
    ];
    scenario("remove", base(), steps(&[&now]))
}

fn log_roll() -> Scenario {
    let before = steps(&[&fill(20)[..5], &[Close]]);
    let last = [batch([record(2, 1, 9000)]), batch([small(50)])];
    let now = steps(&[&fill(30), &last]);
    scenario("log roll", [base(), before].concat(), now)
}

fn index_commit() -> Scenario {
    let now = [
        batch([small(10)]),
        batch([large(11)]),
        batch([forget(2, 900)]),
        batch([record(1, 2, 60), forget(11, 900)]),
        batch([small(12)]),
        Close,
    ];
    Scenario {
        index_commit_groups: 2,
        ..scenario("index commit", base(), steps(&[&now]))
    }
}

fn compaction() -> Scenario {
    let before = steps(&[&fill(20), &forget_all(20..29), &[Close]]);
    let more = batch([forget(30, 300), small(40)]);
    let now = steps(&[&[Idle(4), more, Idle(4), Close]]);
    scenario("compaction", [base(), before].concat(), now)
}

/// An old segment that is needed holds a blob, and a later one that is not its
/// drop.
fn tombstones() -> Scenario {
    let dropped = [batch([record(5, 1, 2000)]), batch([forget(1, 300)])];
    let dead = [fill(60), forget_all(60..72)].concat();
    let before = steps(&[&dropped, &dead, &fill(80), &[Close]]);
    let now = steps(&[&[Idle(6), batch([small(40)]), Idle(6), Close]]);
    scenario("tombstones", [base(), before].concat(), now)
}

/// Something of every kind, in a store that was closed.
fn base() -> Vec<Step> {
    let held = [
        small(1),
        large(2),
        larger(3),
        record(1, 1, 60),
        DiskKind::PutMembers(bytes(1, 70)),
        DiskKind::PutDebts(vec![debt(1, 1), debt(2, 1)]),
        DiskKind::NoteSeen {
            seen: vec![seen(1, 1), seen(2, 1)],
            forget: Vec::new(),
        },
    ];
    steps(&[&[Own, load(), batch(held), Close]])
}

/// The store is opened, and then these.
fn steps(parts: &[&[Step]]) -> Vec<Step> {
    [&[Open], &parts.concat()[..]].concat()
}

fn batch<const N: usize>(kinds: [DiskKind; N]) -> Step {
    Batch(kinds.into())
}

fn load() -> Step {
    batch([DiskKind::Load])
}

fn small(seed: u64) -> DiskKind {
    put(seed, 300)
}

/// A file of one page.
fn large(seed: u64) -> DiskKind {
    put(seed, 900)
}

/// A file of two pages.
fn larger(seed: u64) -> DiskKind {
    put(seed, 5000)
}

/// More than a segment of small blobs.
fn fill(from: u64) -> Vec<Step> {
    (from..from + 12).map(|n| batch([small(n)])).collect()
}

fn forget_all(seeds: std::ops::Range<u64>) -> Vec<Step> {
    seeds.map(|n| batch([forget(n, 300)])).collect()
}

impl Scenario {
    /// Carries it out, and gives every moment at which a crash is possible.
    ///
    /// # Errors
    /// What has failed, though nothing went wrong with the disk.
    pub(super) fn points(&self, seed: u64) -> Result<Vec<Point>, String> {
        let disk = SimDisk::new(seed);
        let mut expected = Expected::default();
        let mut store = None;
        for step in &self.before {
            self.step(&disk, &mut store, &mut expected, step)?;
            expected.end();
        }
        disk.record();
        let mut points = Vec::new();
        for step in &self.steps {
            self.step(&disk, &mut store, &mut expected, step)?;
            let record = disk.take_record();
            disk.record();
            let last = record.len();
            for (at, (call, image)) in record.into_iter().enumerate() {
                let ends = at + 1 == last;
                if ends {
                    expected.end();
                }
                points.push(Point {
                    call,
                    image,
                    expected: expected.clone(),
                    told_more: at == 0 || ends,
                });
            }
            expected.end();
        }
        Ok(points)
    }

    /// Carries it out with one call failing, the one after so many. Gives what
    /// may be expected then, and the disk; `None` if there were not so many.
    ///
    /// # Errors
    /// What is wrong, whatever has failed.
    pub(super) fn failing(&self, seed: u64, calls: u64) -> Result<Option<Failed>, String> {
        let disk = SimDisk::new(seed);
        let mut expected = Expected::default();
        let mut store = None;
        for step in &self.before {
            self.step(&disk, &mut store, &mut expected, step)?;
            expected.end();
        }
        disk.fail_after(calls);
        let until = disk.calls() + calls;
        for step in &self.steps {
            match (step, &store) {
                (Batch(kinds), Some(open)) => {
                    model::attempt(open, &mut expected, kinds)?;
                }
                // It could not be opened.
                (Batch(_) | Own | Idle(_), None) => break,
                _ => {
                    if self.step(&disk, &mut store, &mut expected, step).is_ok() && *step == Own {
                        expected.end();
                    }
                }
            }
        }
        drop(store);
        Ok((disk.calls() > until).then_some(Failed { disk, expected }))
    }

    fn step(
        &self,
        disk: &SimDisk,
        store: &mut Option<Store<Mount>>,
        expected: &mut Expected,
        step: &Step,
    ) -> Result<(), String> {
        match (step, &store) {
            (Open, _) => {
                let mut config = config();
                config.index_commit_groups = self.index_commit_groups;
                let opened = Store::open(disk.mount(), config);
                *store = Some(opened.map_err(|error| error.to_string())?);
            }
            (Close, _) => *store = None,
            (_, None) => return Err("a scenario must open its store first".to_owned()),
            (Own, Some(store)) => {
                expected.begin_words(model::owner());
                store.claim(model::US).map_err(|error| error.to_string())?;
            }
            (Batch(kinds), Some(store)) => {
                model::batch(store, expected, kinds)?;
            }
            (Idle(times), Some(store)) => {
                (0..*times).for_each(|_| drop(store.commit(Vec::new())));
            }
        }
        Ok(())
    }
}
