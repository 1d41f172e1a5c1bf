//! Two nodes against the model of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};

use crate::faults::Death;
use crate::run::run_script;
use crate::script::{Act, Fault, Op, Script, Step, What};
use crate::swarm::{Class, Swarm};

/// No run has more: it is to be over soon.
const STEPS_MAX: usize = 24;
/// Sizes around a record's content and a chunk of 64 KiB.
const SIZES: [usize; 8] = [0, 1, 33, 1000, 16 << 10, (16 << 10) + 1, 64 << 10, 130_000];

/// Two nodes do what the input says, while it goes wrong as the input says; all
/// that they answer is held against a model that sees everything, and once all
/// is mended they must have what they acknowledged.
///
/// # Panics
/// If they do not.
pub fn cluster(data: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let script = plan.script();
    let report = run_script(&script, false);
    if let Some(violation) = report.violation {
        panic!("{violation}: {script:?}");
    }
}

#[derive(Arbitrary, Debug)]
struct Plan {
    seed: u8,
    hasty: bool,
    tight: bool,
    /// How much a power cut takes.
    lose: u8,
    small_pieces: bool,
    steps: Vec<(u8, Do)>,
}

#[derive(Arbitrary, Debug)]
enum Do {
    Asked(Asked),
    Wrong(Wrong),
}

#[derive(Arbitrary, Debug)]
enum Asked {
    Put {
        at: u8,
        name: u8,
        size: u8,
    },
    Get {
        at: u8,
        name: u8,
        confirmed: bool,
        range: Option<(u16, u16)>,
    },
    Version {
        at: u8,
        name: u8,
        pick: u8,
        shared: bool,
    },
    Remove {
        at: u8,
        name: u8,
    },
    Restore {
        at: u8,
        name: u8,
        pick: u8,
    },
    List {
        at: u8,
        removed: bool,
    },
    History {
        at: u8,
        name: u8,
    },
    Forget {
        at: u8,
        name: u8,
    },
    Cancel {
        pick: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum Wrong {
    Crash {
        at: u8,
        power: bool,
        back: u8,
    },
    CrashAtOutput {
        at: u8,
        outputs: u8,
        back: u8,
    },
    CrashInStore {
        at: u8,
        calls: u8,
        power: bool,
        back: u8,
    },
    Cut {
        time: u8,
    },
    OneWay {
        from: u8,
        time: u8,
    },
    Reset {
        at: u8,
        bytes: u16,
    },
    HalfOpen {
        at: u8,
    },
    Pause {
        at: u8,
        time: u8,
    },
    Skew {
        at: u8,
        ms: i16,
    },
}

impl Plan {
    fn script(&self) -> Script {
        let mut at = Duration::ZERO;
        let steps = self.steps.iter().take(STEPS_MAX).enumerate();
        let steps = steps.map(|(number, (wait, what))| {
            // From moments to some seconds.
            at += Duration::from_millis(u64::from(*wait) * u64::from(*wait) / 16);
            let what = match what {
                Do::Asked(asked) => What::Do(asked.op()),
                Do::Wrong(wrong) => wrong.fault(),
            };
            Step { number, at, what }
        });
        let steps: Vec<Step> = steps.collect();
        let swarm = Swarm {
            storing: 2,
            clients: 0,
            copies: (2, 2),
            namespaces: 1,
            names: 3,
            time: at + Duration::from_secs(1),
            operations: steps.len(),
            large: 0,
            reads: 0,
            faults: BTreeMap::new(),
            suspects: 0,
            lying: false,
            lose: u32::from(self.lose) * 4000,
            piece_max: if self.small_pieces { 100 } else { 128 << 10 },
            delay: (Duration::from_micros(100), Duration::from_micros(500)),
            hasty: self.hasty,
            tight: self.tight,
        };
        Script {
            seed: self.seed.into(),
            swarm,
            steps,
        }
    }
}

fn node(at: u8) -> usize {
    usize::from(at % 2)
}

fn seconds(time: u8) -> Duration {
    Duration::from_millis(100 * u64::from(time))
}

fn death(power: bool) -> Death {
    if power { Death::Power } else { Death::Process }
}

impl Asked {
    fn op(&self) -> Op {
        let op = |at: &u8, name: &u8, act| {
            let (node, name) = (node(*at), usize::from(*name % 3));
            Op { node, name, act }
        };
        match self {
            Self::Put { at, name, size } => {
                let (size, fill) = (SIZES[usize::from(*size) % SIZES.len()], (*size).into());
                op(at, name, Act::Put { size, fill })
            }
            Self::Get {
                at,
                name,
                confirmed,
                range,
            } => {
                let range = range.map(|(from, to)| (from % 1000, to % 1001));
                let act = Act::Get {
                    confirmed: *confirmed,
                    older: false,
                    range: range.filter(|(from, to)| from < to),
                };
                op(at, name, act)
            }
            Self::Version {
                at,
                name,
                pick,
                shared,
            } => {
                let (pick, shared) = ((*pick).into(), *shared);
                op(at, name, Act::GetVersion { pick, shared })
            }
            Self::Remove { at, name } => op(at, name, Act::Remove),
            Self::Restore { at, name, pick } => {
                let pick = (*pick).into();
                op(at, name, Act::Restore { pick })
            }
            Self::List { at, removed } => op(at, &0, Act::List { removed: *removed }),
            Self::History { at, name } => op(at, name, Act::History),
            Self::Forget { at, name } => op(at, name, Act::Forget),
            Self::Cancel { pick } => {
                let pick = (*pick).into();
                op(&0, &0, Act::Cancel { pick })
            }
        }
    }
}

impl Wrong {
    fn fault(&self) -> What {
        let (class, fault) = match *self {
            Self::Crash { at, power, back } => {
                let class = if power { Class::PowerCut } else { Class::Kill };
                let (at, death, back) = (node(at), death(power), seconds(back));
                (class, Fault::Crash { at, death, back })
            }
            Self::CrashAtOutput { at, outputs, back } => {
                let (at, outputs, back) = (node(at), outputs.into(), seconds(back));
                (
                    Class::CrashAtOutput,
                    Fault::CrashAtOutput { at, outputs, back },
                )
            }
            Self::CrashInStore {
                at,
                calls,
                power,
                back,
            } => {
                let fault = Fault::CrashInStore {
                    at: node(at),
                    calls: calls.into(),
                    death: death(power),
                    back: seconds(back),
                };
                (Class::CrashInStore, fault)
            }
            Self::Cut { time } => {
                let (one, other, time) = (0, 1, seconds(time));
                (Class::Cut, Fault::Cut { one, other, time })
            }
            Self::OneWay { from, time } => {
                let (from, time) = (node(from), seconds(time));
                let to = 1 - from;
                (Class::OneWay, Fault::OneWay { from, to, time })
            }
            Self::Reset { at, bytes } => {
                let (at, bytes) = (node(at), bytes.into());
                let other = 1 - at;
                (Class::Reset, Fault::Reset { at, other, bytes })
            }
            Self::HalfOpen { at } => {
                let at = node(at);
                let other = 1 - at;
                (Class::HalfOpen, Fault::HalfOpen { at, other })
            }
            Self::Pause { at, time } => {
                let (at, time) = (node(at), seconds(time));
                (Class::Pause, Fault::Pause { at, time })
            }
            Self::Skew { at, ms } => {
                let (at, ms) = (node(at), ms.into());
                (Class::Skew, Fault::Skew { at, ms })
            }
        };
        What::Fault(class, fault)
    }
}
