//! What must always hold, and how it is told that something did not.

use std::fmt;
use std::time::Duration;

/// What must always hold, numbered as I1 to I15. Those about collection (I8)
/// come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Invariant {
    /// I1: what was acknowledged is readable, byte for byte, while a holder is
    /// undamaged, and was durable at W replicas when it was acknowledged.
    Durability,
    /// I2: bytes that are not what their id says reach no caller, and nobody
    /// is said to have sent some who has not.
    Integrity,
    /// I3: a final name is absent or whole.
    WholeFiles,
    /// I4: no plaintext is in anything sent or stored.
    Secrecy,
    /// I5: no key covers two different plaintexts.
    Keys,
    /// I6: versions of a name only rise, for everyone.
    Freshness,
    /// I7: what was removed does not come back.
    Removal,
    /// I9: when faults stop, everything converges in time.
    Convergence,
    /// I10: memory, queues and connections stay within their limits.
    Bounds,
    /// I11: no panic, and no work without end.
    Progress,
    /// I12: what ended well happened, what failed did not, and of anything else
    /// it is said that it is unknown.
    Honesty,
    /// I13: the same seed gives the same run.
    Determinism,
    /// I14: nothing changes by the hand of somebody who may not change it.
    Authority,
    /// I15: only an unfinished end is cut off a log.
    LogTail,
}

impl Invariant {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Self::Durability => 1,
            Self::Integrity => 2,
            Self::WholeFiles => 3,
            Self::Secrecy => 4,
            Self::Keys => 5,
            Self::Freshness => 6,
            Self::Removal => 7,
            Self::Convergence => 9,
            Self::Bounds => 10,
            Self::Progress => 11,
            Self::Honesty => 12,
            Self::Determinism => 13,
            Self::Authority => 14,
            Self::LogTail => 15,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} ({self:?})", self.number())
    }
}

/// Something that must not happen did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was to hold.
    pub invariant: Invariant,
    /// When it was seen, from the world's beginning.
    pub at: Duration,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, text) = (self.at.as_secs_f64(), &self.text);
        write!(f, "{} is violated at {at:.6} s: {text}", self.invariant)
    }
}
