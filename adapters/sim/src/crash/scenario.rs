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
#[derive(Clone, Debug)]
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

/// All scenarios.
pub(super) fn all() -> Vec<Scenario> {
    let scenario = |name, before: Vec<Step>, steps: Vec<Step>| Scenario {
        name,
        before,
        steps,
        index_commit_groups: 1000,
    };
    let load = || Batch(vec![DiskKind::Load]);
    let small = |n| put(n, 300);
    // One page, and two.
    let (large, larger) = (|n| put(n, 900), |n| put(n, 5000));
    let base = || {
        let held = vec![
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
        vec![Open, Own, load(), Batch(held), Close]
    };
    let fill = |from: u64| (from..from + 12).map(|n| Batch(vec![small(n)]));
    let mut all = vec![
        scenario(
            "first start",
            vec![],
            vec![Open, Own, load(), Batch(vec![large(1)])],
        ),
        scenario(
            "put",
            base(),
            vec![
                Open,
                load(),
                Batch(vec![small(10)]),
                Batch(vec![large(11)]),
                Batch(vec![larger(12), small(13), record(2, 1, 60)]),
                Batch(vec![record(3, 1, 5000), record(4, 1, 60)]),
            ],
        ),
        scenario(
            "replace",
            base(),
            vec![
                Open,
                Batch(vec![record(1, 2, 60)]),
                Batch(vec![DiskKind::PutMembers(bytes(2, 90)), record(1, 3, 4000)]),
                Batch(vec![DiskKind::NoteSeen {
                    seen: vec![seen(1, 2)],
                    forget: vec![model::key(2)],
                }]),
                Batch(vec![
                    DiskKind::ClearDebts(vec![debt(1, 1)]),
                    record(1, 4, 60),
                ]),
            ],
        ),
        scenario(
            "remove",
            base(),
            vec![
                Open,
                Batch(vec![forget(1, 300)]),
                Batch(vec![forget(2, 900)]),
                Batch(vec![forget(3, 5000), small(10)]),
                // The same once more.
                Batch(vec![large(2)]),
                Batch(vec![larger(3), small(1)]),
                Batch(vec![forget(2, 900), large(11)]),
            ],
        ),
        scenario(
            "log roll",
            [base(), vec![Open], fill(20).take(5).collect(), vec![Close]].concat(),
            [
                vec![Open],
                fill(30).collect(),
                vec![Batch(vec![record(2, 1, 9000)]), Batch(vec![small(50)])],
            ]
            .concat(),
        ),
        Scenario {
            index_commit_groups: 2,
            ..scenario(
                "index commit",
                base(),
                vec![
                    Open,
                    Batch(vec![small(10)]),
                    Batch(vec![large(11)]),
                    Batch(vec![forget(2, 900)]),
                    Batch(vec![record(1, 2, 60), forget(11, 900)]),
                    Batch(vec![small(12)]),
                    Close,
                ],
            )
        },
    ];
    let mut filled = vec![Open];
    filled.extend(fill(20));
    filled.extend((20..29).map(|n| Batch(vec![forget(n, 300)])));
    filled.push(Close);
    all.push(scenario(
        "compaction",
        [base(), filled].concat(),
        vec![
            Open,
            Idle(4),
            Batch(vec![forget(30, 300), small(40)]),
            Idle(4),
            Close,
        ],
    ));
    // An old segment that is needed holds a blob, and a later one that is not
    // its drop.
    let mut dropped = vec![
        Open,
        Batch(vec![record(5, 1, 2000)]),
        Batch(vec![forget(1, 300)]),
    ];
    dropped.extend(fill(60));
    dropped.extend((60..72).map(|n| Batch(vec![forget(n, 300)])));
    dropped.extend(fill(80));
    dropped.push(Close);
    all.push(scenario(
        "tombstones",
        [base(), dropped].concat(),
        vec![Open, Idle(6), Batch(vec![small(40)]), Idle(6), Close],
    ));
    all
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
                expected.flying.extend(model::owner());
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
