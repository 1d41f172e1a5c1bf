//! What one run is like: how large its cluster is, what is done in it, and
//! which faults there are and how often. Every seed draws its own, so that
//! faults are met alone, together, and not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// A process ends.
    Kill,
    /// A machine loses its power.
    PowerCut,
    /// A process ends at any of its outputs.
    CrashAtOutput,
    /// A machine stops for a while.
    Pause,
    /// A wall clock is some seconds off, or jumps.
    Skew,
    /// Nothing passes in one direction of a link.
    OneWay,
    /// Nothing passes between two machines.
    Cut,
    /// Two groups of machines are apart.
    Split,
    /// Machines are cut off one by one and come back in another order.
    Swizzle,
    /// A connection breaks at some byte.
    Reset,
    /// One side forgets a connection.
    HalfOpen,
    /// A machine reads slowly.
    SlowReader,
    /// Everything on the network takes longer.
    SlowNetwork,
    /// Bytes arrive in small pieces.
    SmallPieces,
    /// Many connections of nobody.
    Storm,
    /// A disk takes longer.
    SlowDisk,
    /// A machine dies in the middle of what its store does.
    CrashInStore,
    /// Reads and writes of a disk fail.
    DiskErrors,
    /// A disk's syncs fail.
    SyncErrors,
    /// A disk is full.
    FullDisk,
    /// Two machines have each other's disks.
    Swapped,
    /// Bits of a suspect's disk go bad, and pages land elsewhere.
    Rot,
    /// A suspect's disk is set back to an older image.
    SetBack,
    /// A wall clock jumps by years.
    Years,
    /// A wall clock stands still.
    Frozen,
    /// Writes and new names find no space, now and then.
    NoSpace,
    /// A suspect's disk is emptied.
    Wiped,
    /// Bits of the log on a suspect's disk go bad.
    LogRot,
    /// A process ends soon after it has begun to store a large file.
    WriterDies,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::Kill,
        Self::PowerCut,
        Self::CrashAtOutput,
        Self::Pause,
        Self::Skew,
        Self::OneWay,
        Self::Cut,
        Self::Split,
        Self::Swizzle,
        Self::Reset,
        Self::HalfOpen,
        Self::SlowReader,
        Self::SlowNetwork,
        Self::SmallPieces,
        Self::Storm,
        Self::SlowDisk,
        Self::CrashInStore,
        Self::DiskErrors,
        Self::SyncErrors,
        Self::FullDisk,
        Self::Swapped,
        Self::Rot,
        Self::SetBack,
        Self::Years,
        Self::Frozen,
        Self::NoSpace,
        Self::Wiped,
        Self::LogRot,
        Self::WriterDies,
    ];

    /// Whether it takes away what was durable: only suspects are struck.
    pub fn damages(self) -> bool {
        matches!(self, Self::Rot | Self::SetBack | Self::Wiped | Self::LogRot)
    }

    /// Whether it may make its machine a newcomer, which nothing built so far
    /// takes back in: enough others must be left.
    pub fn expels(self) -> bool {
        matches!(self, Self::Wiped | Self::LogRot)
    }
}

/// What a run is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// Storing nodes.
    pub storing: usize,
    /// Nodes that hold nothing.
    pub clients: usize,
    /// R and W.
    pub copies: (u8, u8),
    /// Namespaces that are written.
    pub namespaces: usize,
    /// Names in all of them together.
    pub names: usize,
    /// How long operations and faults go on.
    pub time: Duration,
    /// Operations begun in that time.
    pub operations: usize,
    /// Of 1,000 files, how many are larger than a record holds.
    pub large: u32,
    /// Of 1,000 operations, how many only read.
    pub reads: u32,
    /// The faults that are on, and the time between two of a kind, on average.
    pub faults: BTreeMap<Class, Duration>,
    /// How many storing nodes lie, or lose what they were given. Fewer than W.
    pub suspects: usize,
    /// They lie; otherwise only their disks do.
    pub lying: bool,
    /// Of a million things that were not synced, how many a power cut takes.
    pub lose: u32,
    /// The longest that pieces of streams may be.
    pub piece_max: usize,
    /// One way through the network, at least, and how much it varies.
    pub delay: (Duration, Duration),
    /// Deadlines are short.
    pub hasty: bool,
    /// Limits are small.
    pub tight: bool,
}

impl Swarm {
    /// What the run of a seed is like.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "swarm");
        let storing = *dice.one(&[3, 3, 3, 4, 5, 5, 6, 7, 8]);
        let clients = *dice.one(&[0, 0, 1, 1]);
        let copies = match storing {
            5.. => *dice.one(&[(3, 2), (3, 2), (5, 3), (4, 3), (3, 3)]),
            4 => *dice.one(&[(3, 2), (3, 2), (4, 3)]),
            _ => *dice.one(&[(3, 2), (3, 2), (3, 2), (3, 3), (2, 2)]),
        };
        let time = Duration::from_secs(*dice.one(&[60, 120, 300, 600, 900, 1800]));
        let calm = dice.of(16) == 0;
        let mut faults = BTreeMap::new();
        // What a seed has drawn before these were there stays as it is.
        let mut later = Dice::new(seed, "swarm, later classes");
        for class in Class::ALL {
            let (dice, one_in) = match class < Class::Years {
                true => (&mut dice, 2),
                false => (&mut later, 3),
            };
            if !calm && dice.of(one_in) == 0 {
                let seconds = *dice.one(&[5, 10, 20, 40, 80]);
                faults.insert(class, Duration::from_secs(seconds));
            }
        }
        let suspects = match dice.of(3) {
            0 => 1 + dice.of(usize::from(copies.1) - 1),
            _ => 0,
        };
        let suspects = suspects.min(usize::from(copies.1) - 1);
        if suspects == 0 {
            faults.retain(|class: &Class, _| !class.damages());
        }
        if storing < suspects + usize::from(copies.0) {
            faults.retain(|class: &Class, _| !class.expels());
        }
        // Only large files have blobs to go bad.
        let large: &[u32] = match faults.contains_key(&Class::Rot) {
            true => &[100, 300],
            false => &[0, 0, 10, 30, 100],
        };
        Self {
            storing,
            clients,
            copies,
            namespaces: 1 + dice.of(2),
            names: *dice.one(&[1, 2, 3, 5, 8, 13]),
            time,
            operations: *dice.one(&[200, 400, 800, 1000, 1200]),
            large: *dice.one(large),
            reads: *dice.one(&[300, 500, 700]),
            faults,
            suspects,
            lying: suspects > 0 && dice.of(2) == 0,
            lose: *dice.one(&[0, 500_000, 1_000_000]),
            piece_max: *dice.one(&[100, 2000, 128 << 10, 128 << 10]),
            delay: *dice.one(&[
                (Duration::from_micros(50), Duration::ZERO),
                (Duration::from_micros(100), Duration::from_micros(500)),
                (Duration::from_millis(1), Duration::from_millis(5)),
                (Duration::from_millis(20), Duration::from_millis(40)),
            ]),
            hasty: dice.of(2) == 0,
            tight: dice.of(4) == 0,
        }
    }

    /// A run of some seconds in which much goes on: what a seed draws, made
    /// short.
    pub fn short(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "short");
        let mut swarm = Self::draw(seed);
        swarm.time = Duration::from_secs(*dice.one(&[10, 20, 30]));
        swarm.operations = *dice.one(&[50, 100, 200]);
        swarm.large = *dice.one(&[0, 100, 300]);
        if dice.of(4) == 0 {
            // So many versions of one name that they do not go into one page.
            (swarm.names, swarm.operations, swarm.reads) = (1, 400, 300);
        }
        if swarm.suspects == 0 && dice.of(3) == 0 {
            swarm.suspects = 1;
        }
        swarm.lying = swarm.suspects > 0 && dice.of(3) > 0;
        for every in swarm.faults.values_mut() {
            *every = Duration::from_secs(*dice.one(&[1, 2, 5, 10]));
        }
        swarm
    }

    /// All nodes.
    pub fn nodes(&self) -> usize {
        self.storing + self.clients
    }
}

/// Draws things, the same ones for the same seed and purpose.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha20Rng);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&seed.to_be_bytes())
            .update(purpose.as_bytes());
        Self(ChaCha20Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 0 to `n` - 1; 0 if there are none.
    pub(crate) fn of(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.of(of.len())]
    }

    /// A time from 0 to twice `mean`.
    pub(crate) fn about(&mut self, mean: Duration) -> Duration {
        let nanos = (2 * mean.as_nanos() as u64).max(1);
        Duration::from_nanos(self.word() % nanos)
    }

    /// A time between the two, short ones and long ones alike.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let mut top = least;
        while top < most && self.of(3) > 0 {
            top = (top * 2).min(most);
        }
        least.max(Duration::from_nanos(
            self.word() % (top.as_nanos() as u64).max(1),
        ))
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (r, w) = self.copies;
        write!(
            f,
            "{} storing, {} clients, R {r}, W {w}, {} suspects{}; {} operations on {} names in {} s, {} in 1000 large, {} in 1000 reads; pieces to {}, delay {:?} to {:?}{}{}; faults:",
            self.storing,
            self.clients,
            self.suspects,
            if self.lying { " that lie" } else { "" },
            self.operations,
            self.names,
            self.time.as_secs(),
            self.large,
            self.reads,
            self.piece_max,
            self.delay.0,
            self.delay.1,
            if self.hasty { ", hasty" } else { "" },
            if self.tight { ", tight" } else { "" },
        )?;
        for (class, every) in &self.faults {
            write!(f, " {class:?}/{}s", every.as_secs())?;
        }
        Ok(())
    }
}
