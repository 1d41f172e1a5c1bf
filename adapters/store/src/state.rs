//! The numbers that go with the index.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::BufMut;

use crate::entry::take;
use crate::segment::Loc;

/// What is true of the store as of some entry of the log. Kept in the index,
/// written with every transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Which store this is the index of: a hash of its secret.
    pub(crate) store: [u8; 16],
    /// The newest segment, 0 if there is none yet..
    pub(crate) segment: u32,
    /// ..and the end of its entries: what lies behind is not in the index.
    pub(crate) tail: u64,
    /// The sequence number of the next entry.
    pub(crate) next: u64,
    pub(crate) starts: u64,
    pub(crate) starts_at: Option<Loc>,
    pub(crate) members: Option<Loc>,
    pub(crate) blobs: u64,
    pub(crate) claims: u64,
    pub(crate) records: u64,
    pub(crate) debts: u64,
    /// Bytes of entries that the index names.
    pub(crate) live_log: u64,
    /// Bytes of blobs in files.
    pub(crate) file_bytes: u64,
}

/// How much of a segment is still needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Bytes of entries that the index names.
    pub(crate) live: u64,
    /// Bytes of entries that drop keys: needed as long as an older segment may
    /// set these keys.
    pub(crate) drops: u64,
}

impl State {
    const FORMAT: u8 = 3;
    const LEN: usize = 1 + 16 + 4 + 8 * 2 + 8 + 2 * Loc::LEN + 8 * 6;

    pub(crate) fn new(store: [u8; 16]) -> Self {
        Self {
            store,
            next: 1,
            ..Self::default()
        }
    }

    /// Bytes that count against the store's capacity.
    pub(crate) fn live(&self) -> u64 {
        self.live_log.saturating_add(self.file_bytes)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(Self::LEN);
        to.put_u8(Self::FORMAT);
        to.put_slice(&self.store);
        to.put_u32(self.segment);
        for number in [self.tail, self.next, self.starts] {
            to.put_u64(number);
        }
        for loc in [self.starts_at, self.members] {
            // No entry is of length 0.
            to.put_slice(&loc.map_or([0; Loc::LEN], Loc::to_bytes));
        }
        let counts = [self.blobs, self.claims, self.records, self.debts];
        for number in counts.into_iter().chain([self.live_log, self.file_bytes]) {
            to.put_u64(number);
        }
        to
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, mut rest) = bytes.split_first()?;
        if *format != Self::FORMAT || bytes.len() != Self::LEN {
            return None;
        }
        let from = &mut rest;
        let number = |from: &mut &[u8]| Some(u64::from_be_bytes(take(from)?));
        let place = |from: &mut &[u8]| {
            let loc = Loc::from_bytes(&take(from)?);
            Some(Some(loc).filter(|loc| loc.len > 0))
        };
        Some(Self {
            store: take(from)?,
            segment: u32::from_be_bytes(take(from)?),
            tail: number(from)?,
            next: number(from)?,
            starts: number(from)?,
            starts_at: place(from)?,
            members: place(from)?,
            blobs: number(from)?,
            claims: number(from)?,
            records: number(from)?,
            debts: number(from)?,
            live_log: number(from)?,
            file_bytes: number(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_its_bytes() {
        let loc = Loc {
            segment: 4,
            offset: 5,
            len: 6,
        };
        let state = State {
            segment: 7,
            tail: 8,
            members: Some(loc),
            blobs: 3,
            file_bytes: 11,
            ..State::new([9; 16])
        };
        assert_eq!(State::from_bytes(&state.to_bytes()), Some(state.clone()));
        assert_eq!(State::from_bytes(&state.to_bytes()[1..]), None);
    }
}
