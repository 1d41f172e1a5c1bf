//! Versions: a total order that every node sees alike, and that a writer only
//! goes up in.

use peerhold_core::{NodeId, RecordId, UnixMillis, Version};
use quickcheck::{Arbitrary, Gen, quickcheck};

quickcheck! {
    fn a_writer_goes_above_what_it_has_seen_whatever_its_clock(wall: u64, seen: Any, writer: Any) -> bool {
        match Version::next(UnixMillis(wall), seen.0.version, id_bytes(&writer)) {
            Some(next) => next > seen.0.version,
            // Only where no greater stamp is left.
            None => seen.0.version.to_bytes()[..8] == [0xff; 8],
        }
    }

    fn a_clock_that_is_ahead_shows_in_the_version(wall: u32, seen: Any) -> bool {
        let (wall, seen) = (UnixMillis(wall.into()), seen.0.version);
        Version::next(wall, seen, [0; 8])
            .is_none_or(|next| next.millis() == wall || seen.millis() >= wall)
    }

    fn the_order_of_bytes_is_the_order_of_versions(a: Any, b: Any) -> bool {
        let (a, b) = (a.0.version, b.0.version);
        a.to_bytes().cmp(&b.to_bytes()) == a.cmp(&b) && Version::from_bytes(a.to_bytes()) == a
    }

    fn everyone_sorts_a_history_alike(history: Vec<Any>, turn: usize) -> bool {
        let mut one: Vec<RecordId> = history.iter().map(|any| any.0).collect();
        let mut other = one.clone();
        other.rotate_left(turn % one.len().max(1));
        one.sort_unstable();
        other.sort_unstable();
        one == other && one.is_sorted_by_key(|id| (id.version, id.head))
    }

    fn two_starts_or_two_nodes_write_under_two_names(a: u64, b: u64, node: u8) -> bool {
        let (one, other) = (NodeId([node; 32]), NodeId([node.wrapping_add(1); 32]));
        (Version::writer(&one, a) == Version::writer(&one, b)) == (a == b)
            && Version::writer(&one, a) != Version::writer(&other, a)
    }
}

/// From few values, so that equal and neighbouring ones are common.
#[derive(Clone, Copy, Debug)]
struct Any(RecordId);

impl Arbitrary for Any {
    fn arbitrary(g: &mut Gen) -> Self {
        let byte = |g: &mut Gen| *g.choose(&[0, 1, 0x7f, 0xfe, 0xff]).unwrap_or(&0);
        let version = core::array::from_fn(|_| byte(g));
        Self(RecordId {
            version: Version::from_bytes(version),
            head: [byte(g); 32],
        })
    }
}

fn id_bytes(any: &Any) -> [u8; 8] {
    any.0
        .version
        .to_bytes()
        .last_chunk()
        .copied()
        .unwrap_or_default()
}
