//! Holding answers against what is known.

mod books;
mod events;
mod lists;
mod reads;
mod stores;
#[cfg(test)]
mod tests;
mod writes;

pub(crate) use self::books::is_written_down;
pub(crate) use self::events::{Suspects, look_at_event};
pub(crate) use self::reads::Wish;
pub(crate) use self::stores::{Expected, Stores, chunks, holders, is_kept, is_sealed};
pub(crate) use self::writes::is_unknown;

use crate::model::Moment;
use crate::violation::Invariant;

/// What is wrong, unless all is well.
pub(crate) type Check = Result<(), Wrong>;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) Invariant, pub(crate) String);

/// Who asked, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) name: usize,
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) begun: Moment,
}

impl Asked {
    /// Which of its lives its node was in.
    pub(crate) fn life(&self) -> (usize, u64) {
        (self.node, self.life)
    }
}

/// All is well, if `holds`.
pub(crate) fn holds(holds: bool, invariant: Invariant, text: impl FnOnce() -> String) -> Check {
    match holds {
        true => Ok(()),
        false => Err(Wrong(invariant, text())),
    }
}
