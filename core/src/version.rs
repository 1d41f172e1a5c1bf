//! Versions: what orders the records of one name.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use core::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::id::NodeId;
use crate::time::UnixMillis;

//# VERSION-1: Versions are ordered as their bytes are. Of two records with equal versions the
//# one with the greater hash of its head is the newer.
/// One record's place in its name's history.
///
/// 48 bits of milliseconds, a 16-bit counter and 8 bytes that name the writer
/// (its node and which start of it). Ordered by these in turn; two records of
/// equal version are ordered by the hash of their heads (DESIGN section 4).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Milliseconds in the upper 48 bits, the counter in the lower 16.
    stamp: u64,
    writer: [u8; 8],
}

impl Version {
    /// Bytes of [`Version::to_bytes`].
    pub const LEN: usize = 16;
    /// Below every version that a writer makes.
    pub const ZERO: Self = Self {
        stamp: 0,
        writer: [0; 8],
    };
    /// Above every other version.
    pub const MAX: Self = Self {
        stamp: u64::MAX,
        writer: [0xff; 8],
    };

    /// The version that a writer gives next: above `seen`, and stamped with
    /// its wall clock where that is ahead. `None` if nothing lies above.
    pub fn next(wall: UnixMillis, seen: Self, writer: [u8; 8]) -> Option<Self> {
        //# VERSION-2: A writer MUST learn the greatest version of the name from R - W +
        //# 1 replicas and give one above it: its first 8 bytes, as a number, are the
        //# greater of milliseconds * 2^16 by its clock and that version's number + 1.
        let clock = wall.0.min(const { (1 << 48) - 1 }) << 16;
        let stamp = clock.max(seen.stamp.checked_add(1)?);
        Some(Self { stamp, writer })
    }

    /// The 8 bytes by which a node names itself in versions: a hash of its id
    /// and of how many times it has started, so that a clone or a restored
    /// disk does not write under the same name.
    pub fn writer(node: &NodeId, start: u64) -> [u8; 8] {
        //# VERSION-3: The writer's bytes MUST be derive_key("peerhold 2026-11 version
        //# writer", node id ‖ start)[..8], start being how many times this node's store
        //# has been started, in 64 bits.
        let mut hasher = blake3::Hasher::new_derive_key("peerhold 2026-11 version writer");
        hasher.update(node.as_bytes());
        hasher.update(&start.to_be_bytes());
        let mut writer = [0; 8];
        hasher.finalize_xof().fill(&mut writer);
        writer
    }

    /// The wall clock of its writer, or more where that lagged behind.
    pub const fn millis(self) -> UnixMillis {
        UnixMillis(self.stamp >> 16)
    }

    /// Big-endian, so that byte order is version order.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (stamp, writer) = bytes.split_at_mut(8);
        stamp.copy_from_slice(&self.stamp.to_be_bytes());
        writer.copy_from_slice(&self.writer);
        bytes
    }

    /// The inverse of [`Version::to_bytes`].
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let value = u128::from_be_bytes(bytes);
        Self {
            stamp: (value >> 64) as u64,
            writer: (value as u64).to_be_bytes(),
        }
    }
}

/// Which record of a name: the order of these is the order of its history, so
/// that two nodes that hold the same records agree on the newest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct RecordId {
    /// First by its version..
    #[n(0)]
    pub version: Version,
    /// ..then by the BLAKE3 hash of its head.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub head: [u8; 32],
}

/// The version and the first bytes of the hash.
impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.head;
        write!(
            f,
            "RecordId({}, {a:02x}{b:02x}{c:02x}{d:02x}..)",
            self.version
        )
    }
}

impl<C> Encode<C> for Version {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Version {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let bytes = d.bytes()?;
        let wrong = |_| minicbor::decode::Error::message("wrong length of Version").at(at);
        bytes.try_into().map(Self::from_bytes).map_err(wrong)
    }
}

/// `milliseconds.counter-writer`, for people.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-", self.stamp >> 16, self.stamp & 0xffff)?;
        self.writer
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_goes_above_what_it_has_seen_even_with_a_slow_clock() {
        let fast = Version::next(UnixMillis(10_000), Version::ZERO, [1; 8]).unwrap();
        let slow = Version::next(UnixMillis(5), fast, [0; 8]).unwrap();
        assert!(slow > fast);
        assert_eq!(slow.millis(), UnixMillis(10_000));
    }

    #[test]
    fn byte_order_is_version_order() {
        let low = Version::next(UnixMillis(7), Version::ZERO, [9; 8]).unwrap();
        let high = Version::next(UnixMillis(8), Version::ZERO, [0; 8]).unwrap();
        assert!(low.to_bytes() < high.to_bytes());
        assert_eq!(Version::from_bytes(low.to_bytes()), low);
    }

    #[test]
    fn nothing_lies_above_the_last_version() {
        let last = Version::from_bytes([0xff; 16]);
        assert_eq!(Version::next(UnixMillis(1), last, [0; 8]), None);
    }

    #[test]
    fn each_start_of_a_node_writes_under_another_name() {
        let node = NodeId([3; 32]);
        assert_ne!(Version::writer(&node, 1), Version::writer(&node, 2));
    }
}
