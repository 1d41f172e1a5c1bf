//! One store on a disk that goes wrong, for as long as one likes.

use std::time::Duration;

use chacha20::ChaCha20Rng;
use peerhold_core::disk::DiskKind;
use peerhold_core::id::BlobId;
use peerhold_store::{Health, Store};
use rand_core::{Rng, SeedableRng};

use super::model::{self, Expected, bytes, debt, forget, put, record, seen};
use super::{open, scenario};
use crate::disk::{DiskFaults, Mount, SimDisk};
use crate::tally::Tally;

/// Runs a store through so many lives on a disk that fails in ways drawn from
/// the seed, each ended by a crash, a kill or a close. After each, what it was
/// told is done must be there, and what has failed must not have happened.
/// With `rot`, bits of it may be gone, but nothing else may be in their place.
/// Gives what has happened how often.
///
/// # Errors
/// What it said and may not say, in which life.
pub fn storm(seed: u64, lives: u64, rot: bool) -> Result<Tally, String> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let disk = SimDisk::new(rng.next_u64());
    let mut storm = Storm {
        faults: draw_faults(&mut rng, rot),
        expected: Expected::default(),
        tally: Tally::default(),
        versions: 0,
        rot,
        rng,
    };
    for life in 0..lives {
        storm
            .live(&disk)
            .map_err(|what| format!("seed {seed}, life {life}: {what}"))?;
    }
    storm.tally.merge(&disk.fired());
    Ok(storm.tally)
}

/// Each disk has some of the faults.
fn draw_faults(rng: &mut ChaCha20Rng, rot: bool) -> DiskFaults {
    let mut rate = |most: u32| match rng.next_u32() % 3 {
        0 => rng.next_u32() % most,
        _ => 0,
    };
    DiskFaults {
        read_error: rate(20_000),
        write_error: rate(50_000),
        name_error: rate(50_000),
        sync_error: rate(50_000),
        full: rate(50_000),
        slow: rate(1000),
        slow_max: Duration::from_secs(60),
        rot_once: if rot { rate(20_000) } else { 0 },
        rot: if rot { rate(20_000) } else { 0 },
        misdirected: if rot { rate(20_000) } else { 0 },
        lose: rate(1_000_000),
        tear: rate(1_000_000),
        ..DiskFaults::none()
    }
}

struct Storm {
    faults: DiskFaults,
    expected: Expected,
    tally: Tally,
    /// The newest version of any name.
    versions: u64,
    rot: bool,
    rng: ChaCha20Rng,
}

impl Storm {
    fn draw(&mut self, below: u32) -> u32 {
        self.rng.next_u32() % below
    }

    /// One life of the store, and a look at what it leaves.
    fn live(&mut self, disk: &SimDisk) -> Result<(), String> {
        if self.draw(8) > 0 {
            disk.set_faults(self.faults.clone());
        }
        if self.draw(4) == 0 {
            disk.stop_after(u64::from(self.draw(400)));
        }
        if self.draw(4) == 0 {
            let room = u64::from(self.draw(40)) << 12;
            disk.set_capacity(Some(disk.used() + room));
        }
        let mut config = scenario::config();
        config.index_commit_groups = 1 + self.draw(10);
        let opened = Store::open(disk.mount(), config);
        self.tally.count(match &opened {
            Ok(_) => "store: opened",
            Err(_) => "store: not opened",
        });
        if let Ok(store) = opened {
            for _ in 0..self.draw(40) {
                self.work(&store)?;
                if store.health() == Health::ReadOnly && self.draw(2) == 0 {
                    break;
                }
            }
            match self.draw(3) {
                // Closed as it should be, and then the end.
                0 => drop(store),
                _ => disk.kill_or_crash(self.draw(2) == 0, &mut self.tally),
            }
        }
        disk.kill_or_crash(self.draw(2) == 0, &mut self.tally);
        disk.set_faults(DiskFaults::none());
        disk.set_capacity(None);
        let look = |expected: &Expected, rot| {
            let store = if rot {
                Store::open(disk.mount(), scenario::config()).map_err(|error| error.to_string())
            } else {
                open(disk)
            };
            store.and_then(|store| match rot {
                true => expected.check_damaged(&store),
                false => expected.check(&store),
            })
        };
        self.expected = look(&self.expected, self.rot)?;
        if self.draw(4) == 0 {
            // And once more: what it has said once it keeps saying.
            disk.kill_or_crash(true, &mut self.tally);
            self.expected =
                look(&self.expected, self.rot).map_err(|what| format!("once more: {what}"))?;
        }
        disk.kill();
        Ok(())
    }

    fn work(&mut self, store: &Store<Mount>) -> Result<(), String> {
        let mut kinds: Vec<DiskKind> = Vec::new();
        for _ in 0..=self.draw(4) {
            let kind = self.kind();
            // What is on its way at once is of different keys.
            if kinds.iter().all(|other| other.key().0 != kind.key().0) {
                kinds.push(kind);
            }
        }
        if self.draw(5) == 0 {
            kinds.clear();
        }
        let met = model::attempt(store, &mut self.expected, &kinds)?;
        self.tally.merge(&met);
        self.tally.count("store: batches");
        Ok(())
    }

    fn kind(&mut self) -> DiskKind {
        let n = u64::from(self.draw(8));
        let len = [300, 900, 5000][n as usize % 3];
        let (name, target) = (self.draw(4) as u8, self.draw(3) as u8);
        match self.draw(16) {
            0..=4 => put(n, len),
            5..=6 => forget(n, len),
            7..=9 => {
                self.versions += 1;
                let content = [20, 60, 4000][self.draw(3) as usize];
                record(name, self.versions, content)
            }
            10 => DiskKind::PutMembers(bytes(n, 80)),
            11 => DiskKind::PutDebts(vec![debt(target, name)]),
            12 => DiskKind::ClearDebts(vec![debt(target, name)]),
            13 => DiskKind::NoteSeen {
                seen: vec![seen(name + 1, n as u8)],
                forget: vec![model::key(name)],
            },
            14 => DiskKind::Load,
            _ => DiskKind::GetBlob(BlobId::of(&bytes(n, len))),
        }
    }
}

impl SimDisk {
    fn kill_or_crash(&self, kill: bool, tally: &mut Tally) {
        if kill {
            tally.count("process killed");
            self.kill();
        } else {
            tally.count("power cut");
            self.crash();
        }
    }
}
