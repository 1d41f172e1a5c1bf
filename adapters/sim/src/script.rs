//! The schedule of one run: what is done when, drawn before it begins, so that
//! it can be shortened and looked at.

use std::fmt;
use std::time::Duration;

use crate::faults::Death;
use crate::liar::Lies;
use crate::swarm::{Class, Dice, Swarm};

/// A run, to be run.
#[derive(Clone, Debug)]
pub struct Script {
    /// Everything else that is random comes from it.
    pub seed: u64,
    /// What the cluster is like.
    pub swarm: Swarm,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place in the whole schedule of its seed.
    pub number: usize,
    /// When, from the time on when the cluster stands.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An operation is begun.
    Do(Op),
    /// Something goes wrong.
    Fault(Class, Fault),
    /// A suspect begins to lie.
    Lie(usize, Lies),
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The machine that runs it, or the next one that can.
    pub node: usize,
    /// The name, by its number.
    pub name: usize,
    /// What it does.
    pub act: Act,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Stores a file of so many bytes, which follow from a number.
    Put {
        /// The size.
        size: usize,
        /// The number.
        fill: u64,
    },
    /// Reads the newest version.
    Get {
        /// Only what is confirmed.
        confirmed: bool,
        /// An older one than was seen, too.
        older: bool,
        /// Which part, in permille of the file.
        range: Option<(u16, u16)>,
    },
    /// Reads one of the versions that were met.
    GetVersion {
        /// Which, by any number.
        pick: u64,
        /// By a capability for it.
        shared: bool,
    },
    /// Removes the file.
    Remove,
    /// Makes one of the versions that were met the newest.
    Restore {
        /// Which, by any number.
        pick: u64,
    },
    /// Lists the name's namespace.
    List {
        /// Removed names too.
        removed: bool,
    },
    /// Lists the name's versions.
    History,
    /// Drops the node's copies.
    Forget,
    /// Cancels one of the operations that run.
    Cancel {
        /// Which, by any number.
        pick: u64,
    },
}

/// Something that goes wrong. Machines that are named are taken as far as they
/// are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A machine dies and starts again.
    Crash {
        /// Which.
        at: usize,
        /// How.
        death: Death,
        /// When it starts again.
        back: Duration,
    },
    /// A machine dies after so many outputs and starts again.
    CrashAtOutput {
        /// Which.
        at: usize,
        /// After how many.
        outputs: u32,
        /// When it starts again, from now on.
        back: Duration,
    },
    /// A machine stops for a while.
    Pause {
        /// Which.
        at: usize,
        /// How long.
        time: Duration,
    },
    /// A clock is off.
    Skew {
        /// Whose.
        at: usize,
        /// By so many milliseconds.
        ms: i64,
    },
    /// A clock stands still.
    Freeze {
        /// Whose.
        at: usize,
        /// How long.
        time: Duration,
    },
    /// Nothing passes from one machine to another.
    OneWay {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// How long.
        time: Duration,
    },
    /// Nothing passes between two machines.
    Cut {
        /// The one.
        one: usize,
        /// The other.
        other: usize,
        /// How long.
        time: Duration,
    },
    /// Nothing passes between a group and the others.
    Split {
        /// The group.
        group: Vec<usize>,
        /// How long.
        time: Duration,
    },
    /// A connection breaks.
    Reset {
        /// After so many more bytes to this machine..
        at: usize,
        /// ..from that one.
        other: usize,
        /// How many.
        bytes: usize,
    },
    /// A machine forgets its connections..
    HalfOpen {
        /// Which.
        at: usize,
        /// ..with this one.
        other: usize,
    },
    /// A machine reads slowly.
    SlowReader {
        /// Which.
        at: usize,
        /// Bytes of each connection in 50 ms.
        bytes: usize,
        /// How long.
        time: Duration,
    },
    /// The network takes longer.
    SlowNetwork {
        /// So many times as long.
        times: u32,
        /// How long.
        time: Duration,
    },
    /// Bytes arrive in small pieces.
    SmallPieces {
        /// Of at most so many bytes.
        most: usize,
        /// So many bytes.
        bytes: u64,
    },
    /// Many connections of nobody.
    Storm {
        /// To which machine.
        at: usize,
        /// How many.
        connections: u32,
    },
    /// A machine dies in the middle of what its store does.
    CrashInStore {
        /// Which.
        at: usize,
        /// After so many calls of its disk.
        calls: u64,
        /// How.
        death: Death,
        /// When it starts again.
        back: Duration,
    },
    /// A disk fails.
    FailDisk {
        /// Whose.
        at: usize,
        /// Reads, writes and changes of names, syncs: of a million, so many.
        rates: [u32; 3],
        /// So many bytes are free.
        free: Option<u64>,
        /// How long.
        time: Duration,
    },
    /// Writes and new names find no space.
    NoSpace {
        /// Whose.
        at: usize,
        /// Of a million, so many.
        rate: u32,
        /// How long.
        time: Duration,
    },
    /// Two machines have each other's disks for once.
    Swap {
        /// The one.
        one: usize,
        /// The other.
        other: usize,
    },
    /// Bits of a disk's blobs go bad, or its pages land elsewhere.
    Rot {
        /// Whose.
        at: usize,
        /// So many bits at once.
        bits: u32,
        /// Of a million reads and writes, how many go wrong for a while.
        rate: u32,
        /// How long.
        time: Duration,
    },
    /// Bits of a disk's log go bad.
    LogRot {
        /// Whose.
        at: usize,
        /// So many bits at once.
        bits: u32,
        /// Of a million reads, how many go wrong for a while.
        rate: u32,
        /// How long.
        time: Duration,
    },
    /// A disk is emptied.
    Wipe {
        /// Whose.
        at: usize,
        /// When its machine starts again.
        back: Duration,
    },
    /// An image of a disk is kept for [`Fault::SetBack`].
    Keep {
        /// Whose.
        at: usize,
    },
    /// A disk is set back to the image that was kept last.
    SetBack {
        /// Whose.
        at: usize,
        /// When its machine starts again.
        back: Duration,
    },
    /// A disk takes longer.
    SlowDisk {
        /// Whose.
        at: usize,
        /// By up to so much for every step.
        more: Duration,
        /// How long.
        time: Duration,
    },
}

/// Sizes around every limit: of a record's content, and of a chunk of 64 KiB.
const SMALL: [usize; 8] = [0, 1, 2, 31, 32, 33, 200, 1000];
const EDGE: [usize; 3] = [(16 << 10) - 1, 16 << 10, (16 << 10) + 1];
const LARGE: [usize; 8] = [
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    100_000,
    (128 << 10) - 1,
    128 << 10,
    (128 << 10) + 1,
    300_000,
];

impl Script {
    /// The whole schedule of a seed in a run like this.
    pub fn draw(seed: u64, swarm: &Swarm) -> Self {
        let mut steps = Vec::new();
        draw_ops(seed, swarm, &mut steps);
        let mut dice = Dice::new(seed, "lies");
        let mut later = Dice::new(seed, "later lies");
        for at in (0..swarm.suspects).filter(|_| swarm.lying) {
            let lies = Lies {
                keeps_nothing: dice.of(2) == 0,
                old_records: dice.of(2) == 0,
                denies: dice.of(2) == 0,
                wrong_bytes: dice.of(2) == 0,
                unrequested: dice.of(3) == 0,
                other_names: later.of(2) == 0,
                repeats: later.of(2) == 0,
                forges: later.of(2) == 0,
            };
            steps.push((dice.about(swarm.time / 4), What::Lie(at, lies)));
        }
        for (class, every) in &swarm.faults {
            let mut dice = Dice::new(seed, &format!("{class:?}"));
            let mut at = dice.about(*every);
            while at < swarm.time {
                draw_fault(*class, swarm, at, &mut dice, &mut steps);
                at += dice.about(*every);
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        let steps = steps.into_iter().enumerate();
        let steps = steps.map(|(number, (at, what))| Step { number, at, what });
        Self {
            seed,
            swarm: swarm.clone(),
            steps: steps.collect(),
        }
    }

    /// Only some of its steps.
    pub fn keep(&self, mut keep: impl FnMut(&Step) -> bool) -> Self {
        let steps = self.steps.iter().filter(|step| keep(step));
        Self {
            seed: self.seed,
            swarm: self.swarm.clone(),
            steps: steps.cloned().collect(),
        }
    }
}

fn draw_ops(seed: u64, swarm: &Swarm, steps: &mut Vec<(Duration, What)>) {
    let mut dice = Dice::new(seed, "operations");
    let every = swarm.time / (swarm.operations as u32).max(1);
    let mut at = Duration::ZERO;
    for number in 0..swarm.operations {
        // Some come in crowds.
        at += if dice.of(3) == 0 {
            dice.about(Duration::from_millis(2))
        } else {
            dice.about(every * 3 / 2)
        };
        let act = draw_act(swarm, number as u64, &mut dice);
        let (node, name) = (dice.of(swarm.nodes()), dice.of(swarm.names));
        steps.push((at.min(swarm.time), What::Do(Op { node, name, act })));
    }
}

fn draw_act(swarm: &Swarm, number: u64, dice: &mut Dice) -> Act {
    let pick = dice.word();
    if dice.of(1000) < swarm.reads as usize {
        return match dice.of(20) {
            0..10 => Act::Get {
                confirmed: dice.of(3) == 0,
                older: dice.of(12) == 0,
                range: None,
            },
            10..12 => {
                let (a, b) = (dice.of(1001) as u16, dice.of(1001) as u16);
                Act::Get {
                    confirmed: dice.of(2) == 0,
                    older: false,
                    range: Some((a.min(b), a.max(b))),
                }
            }
            12..14 => Act::GetVersion {
                pick,
                shared: dice.of(3) == 0,
            },
            14..17 => Act::List {
                removed: dice.of(2) == 0,
            },
            _ => Act::History,
        };
    }
    match dice.of(20) {
        0..2 => Act::Restore { pick },
        2..5 => Act::Remove,
        5 => Act::Forget,
        6 => Act::Cancel { pick },
        _ => {
            let large = dice.of(1000) < swarm.large as usize;
            let size = match dice.of(16) {
                _ if large => *dice.one(&LARGE),
                0 if swarm.large > 0 => *dice.one(&EDGE),
                _ => *dice.one(&SMALL),
            };
            // Some files have the content of an earlier one.
            let fill = if dice.of(8) == 0 { number / 2 } else { number };
            Act::Put { size, fill }
        }
    }
}

fn draw_fault(
    class: Class,
    swarm: &Swarm,
    when: Duration,
    dice: &mut Dice,
    steps: &mut Vec<(Duration, What)>,
) {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let at = dice.of(swarm.nodes());
    let other = (at + 1 + dice.of(swarm.nodes() - 1)) % swarm.nodes();
    let time = dice.between(ms(10), s(120));
    let back = dice.between(ms(1), s(60));
    let [few, many] = [&[4, 30, 300], &[30, 600, 20_000]].map(|most| *dice.one(most));
    let fault = match class {
        Class::Kill | Class::PowerCut => Fault::Crash {
            at,
            death: match class {
                Class::Kill => Death::Process,
                _ => Death::Power,
            },
            back,
        },
        Class::CrashAtOutput => Fault::CrashAtOutput {
            at,
            outputs: 1 + dice.of(few) as u32,
            back,
        },
        Class::Pause => Fault::Pause {
            at,
            time: dice.between(ms(1), s(600)),
        },
        Class::Skew => {
            let most: i64 = *dice.one(&[1_000, 60_000, 9 * 60_000]);
            let ms = (dice.word() % (2 * most as u64)) as i64 - most;
            Fault::Skew { at, ms }
        }
        Class::Years => {
            let years = 1 + dice.word() % *dice.one(&[1, 10, 100]);
            let ms = (years * 365 * 24 * 3_600_000) as i64;
            let ms = *dice.one(&[ms, -ms]);
            Fault::Skew { at, ms }
        }
        Class::Frozen => Fault::Freeze {
            at,
            time: dice.between(s(1), s(600)),
        },
        Class::OneWay => Fault::OneWay {
            from: at,
            to: other,
            time,
        },
        Class::Cut => Fault::Cut {
            one: at,
            other,
            time,
        },
        Class::Split => {
            let mask = dice.word();
            let group = (0..swarm.nodes()).filter(|at| mask >> at & 1 == 1);
            Fault::Split {
                group: group.collect(),
                time,
            }
        }
        Class::Swizzle => return draw_swizzle(swarm, when, dice, steps),
        Class::WriterDies => return draw_writer(swarm, (when, back), dice, steps),
        Class::Reset => Fault::Reset {
            at,
            other,
            bytes: dice.of(many),
        },
        Class::HalfOpen => Fault::HalfOpen { at, other },
        Class::SlowReader => Fault::SlowReader {
            at,
            bytes: *dice.one(&[1, 20, 1000]),
            time: dice.between(ms(100), s(60)),
        },
        Class::SlowNetwork => Fault::SlowNetwork {
            times: 1 + dice.of(50) as u32,
            time,
        },
        Class::SmallPieces => Fault::SmallPieces {
            most: *dice.one(&[1, 1, 3, 40]),
            bytes: dice.of(20_000) as u64,
        },
        Class::Storm => Fault::Storm {
            at,
            connections: 1 + dice.of(40) as u32,
        },
        _ => draw_disk_fault(class, swarm, dice, (at, other), back),
    };
    steps.push((when, What::Fault(class, fault)));
}

fn draw_disk_fault(
    class: Class,
    swarm: &Swarm,
    dice: &mut Dice,
    (at, other): (usize, usize),
    back: Duration,
) -> Fault {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let suspect = at % swarm.suspects.max(1);
    let time = dice.between(s(1), s(60));
    let rate = *dice.one(&[5_000, 50_000, 300_000]);
    match class {
        Class::CrashInStore => Fault::CrashInStore {
            at,
            calls: dice.of(60) as u64,
            death: *dice.one(&[Death::Power, Death::Power, Death::Process]),
            back,
        },
        Class::DiskErrors => Fault::FailDisk {
            at,
            rates: match dice.of(3) {
                0 => [rate, 0, 0],
                1 => [0, rate, 0],
                _ => [rate, rate, 0],
            },
            free: None,
            time,
        },
        Class::SyncErrors => Fault::FailDisk {
            at,
            rates: [0, 0, rate],
            free: None,
            time,
        },
        Class::FullDisk => Fault::FailDisk {
            at,
            rates: [0; 3],
            free: Some(dice.of(40_000) as u64),
            time: dice.between(s(10), s(300)),
        },
        Class::NoSpace => Fault::NoSpace { at, rate, time },
        Class::Swapped => Fault::Swap { one: at, other },
        Class::Rot => Fault::Rot {
            at: suspect,
            bits: dice.of(4) as u32,
            rate: *dice.one(&[100_000, 500_000]),
            time,
        },
        Class::LogRot => Fault::LogRot {
            at: suspect,
            bits: dice.of(4) as u32,
            rate: rate / 100,
            time,
        },
        Class::Wiped => Fault::Wipe { at: suspect, back },
        Class::SetBack => match dice.of(2) {
            0 => Fault::Keep { at: suspect },
            _ => Fault::SetBack { at: suspect, back },
        },
        _ => Fault::SlowDisk {
            at,
            more: dice.between(ms(1), s(20)),
            time: dice.between(ms(100), s(60)),
        },
    }
}

/// Has an honest machine store a large file, and die at one of its next outputs:
/// who was to get a copy from it looks elsewhere.
fn draw_writer(
    swarm: &Swarm,
    (when, back): (Duration, Duration),
    dice: &mut Dice,
    steps: &mut Vec<(Duration, What)>,
) {
    let at = swarm.suspects + dice.of(swarm.nodes() - swarm.suspects);
    let (size, fill) = (*dice.one(&LARGE), dice.word());
    let op = Op {
        node: at,
        name: dice.of(swarm.names),
        act: Act::Put { size, fill },
    };
    let fault = Fault::CrashAtOutput {
        at,
        outputs: 1 + dice.of(100) as u32,
        back,
    };
    steps.push((when, What::Do(op)));
    steps.push((when, What::Fault(Class::WriterDies, fault)));
}

/// Cuts some machines off, one by one; each comes back at a time of its own.
fn draw_swizzle(swarm: &Swarm, when: Duration, dice: &mut Dice, steps: &mut Vec<(Duration, What)>) {
    let mut at = when;
    for machine in 0..swarm.nodes() {
        if dice.of(2) == 0 {
            at += dice.about(Duration::from_secs(1));
            let fault = Fault::Split {
                group: vec![machine],
                time: dice.about(Duration::from_secs(20)),
            };
            steps.push((at, What::Fault(Class::Swizzle, fault)));
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}  {:>12.6} s  ", self.number, self.at.as_secs_f64())?;
        match &self.what {
            What::Do(Op { node, name, act }) => write!(f, "node{node}, name {name}: {act:?}"),
            What::Fault(_, fault) => write!(f, "{fault:?}"),
            What::Lie(at, lies) => write!(f, "node{at} lies: {lies:?}"),
        }
    }
}
