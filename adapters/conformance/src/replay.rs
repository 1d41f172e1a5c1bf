//! What nodes recorded of themselves is done again by fresh ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use bytes::Bytes;
use peerhold_host::HostConfig;
use peerhold_host::peerhold_core::tape::{End, Replayed, replay};
use peerhold_host::peerhold_core::{Forget, Get};
use tempfile::TempDir;

use crate::between::{Between, Side};
use crate::lab::{Lab, Member, Numbers, bytes, get, name, put, two, writer};
use crate::listing::{history, list, restore};

const SCENARIOS: u64 = 100;
/// Scenarios that run at once.
const AT_ONCE: u64 = 4;
/// What two nodes are told in one scenario, one thing after the other.
const STEPS: usize = 8;
const NAMES: [&str; 3] = ["a", "b", "c"];
const SIZES: [Range<usize>; 4] = [0..10, 1000..16_384, 16_385..100_000, 1_000_000..1_200_000];

/// A hundred short scenarios of two nodes, drawn from seeds: operations,
/// restarts, broken connections. Every node of them, done again from its tape,
/// gives the same outputs byte for byte.
pub fn what_nodes_record_in_a_hundred_scenarios_replays_byte_for_byte(lab: &Lab) {
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let totals = &totals;
            scope.spawn(move || {
                for seed in (first..SCENARIOS).step_by(AT_ONCE as usize) {
                    let total = Scenario::new(lab, seed).run();
                    totals.lock().unwrap().add(&total);
                }
            });
        }
    });
    // Scenarios in which nothing happens would show nothing.
    let totals = totals.into_inner().unwrap();
    assert!(
        totals.nodes > 2 * SCENARIOS
            && totals.cuts > SCENARIOS / 4
            && totals.operations > 4 * SCENARIOS
            && [totals.received, totals.sent, totals.put, totals.got].map(|n| n > 1 << 20)
                == [true; 4],
        "{totals:?}"
    );
}

#[derive(Debug, Default)]
struct Totals {
    nodes: u64,
    cuts: u64,
    operations: u64,
    received: u64,
    sent: u64,
    put: u64,
    got: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.nodes += other.nodes;
        self.cuts += other.cuts;
        self.operations += other.operations;
        self.received += other.received;
        self.sent += other.sent;
        self.put += other.put;
        self.got += other.got;
    }
}

/// Two nodes, of which the second dials the first by a place between.
struct Scenario<'a> {
    lab: &'a Lab,
    seed: u64,
    numbers: Numbers,
    between: Between,
    /// `None` while one is started anew.
    members: [Option<Member>; 2],
    tapes: TempDir,
    recorded: Vec<PathBuf>,
    cuts: u64,
    /// What a name holds; nothing if it was removed.
    files: BTreeMap<&'static str, Option<Bytes>>,
}

impl<'a> Scenario<'a> {
    fn new(lab: &'a Lab, seed: u64) -> Self {
        let mut scenario = Self {
            lab,
            seed,
            numbers: Numbers::new(seed + 1),
            between: Between::new(),
            members: [None, None],
            tapes: TempDir::new().unwrap(),
            recorded: Vec::new(),
            cuts: 0,
            files: BTreeMap::new(),
        };
        for at in 0..2 {
            scenario.start(at, TempDir::new().unwrap());
        }
        scenario.meet();
        scenario
    }

    fn start(&mut self, at: usize, dir: TempDir) {
        let tape = self.tapes.path().join(self.recorded.len().to_string());
        let way = self.between.addr().to_string();
        // With and without threads, and with buffers of any size.
        let workers = self.numbers.below(3);
        let buffer = 4096 << self.numbers.below(7);
        let member = self.lab.start_in(dir, |config: &mut HostConfig| {
            two(config);
            config.workers = workers;
            config.read_buffer = buffer;
            config.round_bytes = buffer;
            config.node.chunk_bytes = 64 << 10;
            config.tape = Some(tape.clone());
            config.node.advertise = vec![way.as_str().into()];
            if at == 1 {
                config.listen.clear();
                config.node.bootstrap = vec![way.as_str().into()];
            }
        });
        if at == 0 {
            self.between.lead(member.addr());
        }
        self.members[at] = Some(member);
        self.recorded.push(tape);
    }

    fn meet(&self) {
        self.members.iter().flatten().for_each(|it| it.meet(2, 1));
    }

    /// One of the two.
    fn member(&mut self) -> &Member {
        let at = self.numbers.below(2);
        self.members[at].as_ref().expect("both run between steps")
    }

    fn run(mut self) -> Totals {
        for step in 0..STEPS {
            self.step(step as u64);
        }
        for member in std::mem::take(&mut self.members).into_iter().flatten() {
            if self.numbers.below(2) == 0 {
                member.stop();
            } else {
                member.abandon();
            }
        }
        let mut totals = Totals {
            cuts: self.cuts,
            ..Totals::default()
        };
        for path in &self.recorded {
            let replayed = replayed(self.seed, path);
            totals.add(&Totals {
                nodes: 1,
                cuts: 0,
                operations: replayed.operations,
                received: replayed.received,
                sent: replayed.sent,
                put: replayed.put,
                got: replayed.got,
            });
        }
        totals
    }

    fn step(&mut self, step: u64) {
        let name = *self.numbers.one(&NAMES);
        match self.numbers.below(12) {
            0..4 => self.put(name, step),
            4..6 => self.read(name),
            6 => self.remove(name),
            7 => self.look(name),
            8 => self.restore(name),
            9 => self.begin_and_drop(name),
            10 => self.restart(),
            _ => self.forget(name),
        }
    }

    /// Half of the puts meet a broken connection.
    fn put(&mut self, text: &'static str, step: u64) {
        let sizes = self.numbers.one(&SIZES).clone();
        let size = sizes.start + self.numbers.below(sizes.len());
        let data = bytes(size, self.seed * 1000 + step);
        if self.numbers.below(2) == 0 {
            let side = *self.numbers.one(&[Side::Dialler, Side::Listener]);
            let after = self.numbers.below(size / 2 + 500) as u64;
            self.between.cut_after(side, after);
        }
        let mut put = self.member().blocking().put(put(text)).unwrap();
        put.write_all(&data).unwrap();
        let stored = put.finish().unwrap();
        assert_eq!(stored.size, size as u64, "scenario {}", self.seed);
        put.settled().unwrap();
        self.cuts += u64::from(self.between.spare());
        self.files.insert(text, Some(data));
        self.meet();
    }

    fn remove(&mut self, text: &'static str) {
        let known = self.files.get(text).is_some_and(Option::is_some);
        let removed = self.member().try_remove(text);
        assert_eq!(removed.is_ok(), known, "scenario {}: {text}", self.seed);
        self.files.entry(text).and_modify(|file| *file = None);
    }

    fn read(&mut self, text: &'static str) {
        let expected = self.files.get(text).cloned().flatten();
        let part = self.numbers.below(2) == 0;
        let (seed, from) = (self.seed, self.numbers.below(20_000) as u64);
        let member = self.member();
        let Some(data) = expected else {
            assert!(member.try_read(text).is_err(), "scenario {seed}: {text}");
            return;
        };
        if !part {
            return member.holds(text, &data);
        }
        let from = from.min(data.len() as u64);
        let get = Get {
            range: Some(from..from + 5000),
            ..get(text)
        };
        let mut read = Vec::new();
        let mut reader = member.blocking().get(get).unwrap();
        reader.read_to_end(&mut read).unwrap();
        let end = data.len().min(from as usize + 5000);
        assert!(read == data[from as usize..end], "scenario {seed}: {text}");
    }

    fn look(&mut self, text: &str) {
        let expected = self.files.values().flatten().count();
        let seed = self.seed;
        let member = self.member();
        history(member, text);
        let listed = member.blocking().list(list("", false)).unwrap();
        assert_eq!(
            listed.map(Result::unwrap).count(),
            expected,
            "scenario {seed}"
        );
    }

    /// Makes the oldest version the newest.
    fn restore(&mut self, text: &'static str) {
        let member = self.member();
        let versions = history(member, text);
        let Some(oldest) = versions.last().filter(|entry| !entry.removed) else {
            return;
        };
        restore(member, text, oldest.id).unwrap();
        let data = member.read(text);
        assert_eq!(data.len() as u64, oldest.size);
        self.files.insert(text, Some(data));
    }

    fn begin_and_drop(&mut self, text: &str) {
        let mut put = self.member().blocking().put(put(text)).unwrap();
        put.write_all(&bytes(200_000, 1)).unwrap();
    }

    fn forget(&mut self, text: &str) {
        let forget = Forget {
            reader: writer().reader().clone(),
            name: name(text),
        };
        // There may be no such file.
        let _ = self.member().blocking().forget(forget);
    }

    fn restart(&mut self) {
        let at = self.numbers.below(2);
        let member = self.members[at].take().expect("both run between steps");
        let dir = if self.numbers.below(2) == 0 {
            member.stop()
        } else {
            member.abandon().1
        };
        self.start(at, dir);
        self.meet();
    }
}

fn replayed(seed: u64, path: &Path) -> Replayed {
    let tape = fs::read(path).unwrap();
    let replayed = replay(&tape);
    let replayed = replayed.unwrap_or_else(|error| panic!("scenario {seed}: {error}"));
    assert_eq!(replayed.end, End::Whole, "scenario {seed}");
    replayed
}
