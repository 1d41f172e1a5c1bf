//! How often what has happened.

use std::collections::BTreeMap;
use std::fmt;

/// Everything that goes wrong in a run, as [`Report::fired`](crate::Report)
/// counts it: a sweep that is long enough has had each of them.
pub const FAULTS: [&str; 50] = [
    "bytes in small pieces",
    "clock jumps",
    "clock jumps by years",
    "clock stands still",
    "connection of a storm",
    "connection of a storm in place of another",
    "crash at an output",
    "crash in recovery",
    "crash in the store",
    "disk set back",
    "disk wiped",
    "disk: bit flipped for good",
    "disk: bit flipped once",
    "disk: error at a name",
    "disk: failed sync of a directory",
    "disk: failed sync of a file",
    "disk: full",
    "disk: full at a name",
    "disk: length lost at a crash",
    "disk: misdirected write",
    "disk: name lost at a crash",
    "disk: page lost at a crash",
    "disk: page torn at a crash",
    "disk: read error",
    "disk: unsynced length kept at a crash",
    "disk: unsynced name kept at a crash",
    "disk: unsynced page kept at a crash",
    "disk: write error",
    "disks swapped",
    "half-open",
    "liar: another name",
    "liar: denies",
    "liar: forged record",
    "liar: keeps nothing",
    "liar: old record",
    "liar: oversize",
    "liar: repeats",
    "liar: unrequested",
    "liar: wrong bytes",
    "link cut",
    "machine paused",
    "one-way cut",
    "partition",
    "power cut",
    "process killed",
    "reset at a byte",
    "rot of the log",
    "slow disk",
    "slow network",
    "slow reader",
];

/// What comes of faults, and is counted beside them.
pub const EFFECTS: [&str; 4] = [
    "index made anew",
    "liar: silent",
    "store does not open",
    "store read-only",
];

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Counts one.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts some. None at all are not mentioned.
    pub fn add(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            *self.0.entry(name).or_default() += times;
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, times) in other.iter() {
            self.add(name, times);
        }
    }

    /// How often this has happened.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, times)| (*name, *times))
    }
}

/// One line for each name.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in self.iter() {
            writeln!(f, "{times:>12}  {name}")?;
        }
        Ok(())
    }
}
