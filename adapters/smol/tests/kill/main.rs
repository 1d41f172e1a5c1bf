//! A process is killed in the middle of its puts, many times over, on data
//! directories that survive: what was acknowledged is there, what was not
//! finished is not.
//!
//! The test starts itself again as the process that is killed. That one opens
//! its node, says what it finds under each name, and puts files until it dies;
//! every line that it writes is a moment at which it may be killed.

#![cfg(unix)]

mod child;
mod ledger;
#[cfg(target_os = "linux")]
mod power;

use std::path::Path;

use peerhold_smol::peerhold_core::BlobId;
use tempfile::TempDir;

use crate::ledger::Ledger;

const SEED: u64 = 0x5eed_0003;
/// How many processes are killed, unless the environment says otherwise.
const ROUNDS: u64 = 240;
const ROUNDS_VAR: &str = "PEERHOLD_KILL_ROUNDS";
/// Every such round is one of three nodes in one process, the others of one
/// node by itself.
const CLUSTER_EVERY: u64 = 6;
/// The last line at which a process may be killed.
const LINES: u64 = 60;
/// Bytes that are hashed between a line and a kill, at most: some milliseconds.
const WORK: u64 = 16 << 20;

/// What the child is told.
const DIR: &str = "PEERHOLD_KILL_DIR";
const NODES: &str = "PEERHOLD_KILL_NODES";
const FIRST: &str = "PEERHOLD_KILL_FIRST";
/// What is found of a name that has no content.
const NOTHING: &str = "nothing";
/// Before each line of the child's own.
const MARK: &str = "kill: ";

#[test]
fn what_was_acknowledged_survives_every_kill_and_nothing_unfinished_appears() {
    let mut random = Random(SEED);
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut alone = Ledger::new(dirs[0].path(), 1);
    let mut cluster = Ledger::new(dirs[1].path(), 3);
    let rounds = number(ROUNDS_VAR, ROUNDS);
    for round in 0..rounds {
        let ledger = if round % CLUSTER_EVERY == 0 {
            &mut cluster
        } else {
            &mut alone
        };
        let line = random.below(LINES);
        // Mostly at once, and sometimes as much later as this work takes.
        let work = random.below(4) / 3 * random.below(WORK);
        let what = format!("seed {SEED:#x}, round {round}");
        let process = ledger.run(&what, line);
        std::hint::black_box(BlobId::of(&vec![0; work as usize]));
        ledger.end(&what, process);
    }
    for ledger in [&mut alone, &mut cluster] {
        ledger.last(&format!("seed {SEED:#x}, after the last round"));
        let [acknowledged, unfinished] = ledger.puts();
        println!("{rounds} kills: {acknowledged} puts acknowledged, {unfinished} unfinished");
        assert!(
            acknowledged > 100 && unfinished > 10,
            "{acknowledged} puts acknowledged and {unfinished} unfinished are too few"
        );
    }
}

#[test]
#[ignore = "it is the process that the test above kills"]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let (nodes, first) = (number(NODES, 1) as usize, number(FIRST, 1));
    smol::block_on(child::run(Path::new(&dir), nodes, first));
}

/// A number in the environment.
fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

/// splitmix64: its stream follows from its seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
