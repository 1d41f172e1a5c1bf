//! The member map: who belongs to the cluster, and in which state.
//!
//! It is merged, never overwritten: of two entries for one node the one with
//! the greater counter stands, so nodes that have exchanged maps in any order
//! hold the same one. Being out of reach changes nothing here (DESIGN
//! section 5).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::id::NodeId;
use crate::placement::Candidate;

/// Where a member stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum State {
    /// It wants to hold data and holds none that counts yet.
    #[n(0)]
    Joining,
    /// Placement names it.
    #[n(1)]
    Active,
    /// It hands its data over.
    #[n(2)]
    Leaving,
    /// An operator has given it up, or it has left.
    #[n(3)]
    Gone,
}

/// One entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// Rises with every change; the greater one stands. First, so that
    /// comparing entries compares counters before anything else.
    #[n(0)]
    pub counter: u64,
    /// Where it stands in its life.
    #[n(1)]
    pub state: State,
    /// How much it stores relative to others; 0 is a client.
    #[n(2)]
    pub weight: u16,
    /// Its zone.
    #[n(3)]
    pub zone: u16,
}

impl Member {
    /// Whether placement names it.
    pub const fn is_active(&self) -> bool {
        //# MEMBER-4: Placement's candidates are the members that are active or leaving
        //# and have a weight above 0.
        matches!(self.state, State::Active | State::Leaving) && self.weight > 0
    }

    /// Whether it holds data, or is to.
    pub const fn is_storing(&self) -> bool {
        !matches!(self.state, State::Gone) && self.weight > 0
    }
}

/// Every member that a node knows of, itself included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    map: BTreeMap<NodeId, Member>,
}

impl Members {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            map: BTreeMap::new(),
        }
    }

    /// Takes `member` in if it stands against what is known. `max` entries are
    /// kept; a new one beyond them is passed over. True if the map changed.
    ///
    /// Two entries of one counter that differ are the work of a faulty node;
    /// the greater one stands everywhere, so that maps still converge.
    pub fn merge(&mut self, node: NodeId, member: Member, max: usize) -> bool {
        //# MEMBER-1: Of two entries for one node the one with the greater counter MUST
        //# stand; of two with the same counter the one with the greater state, then
        //# weight, then zone.
        //# MEMBER-5: An entry for a new node beyond the receiver's own limit (at most
        //# 1,000) is passed over, and is no fault.
        match self.map.get(&node) {
            Some(known) if *known >= member => false,
            None if self.map.len() >= max => false,
            _ => {
                self.map.insert(node, member);
                true
            }
        }
    }

    /// The entry of `node`.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.map.get(node)
    }

    /// All entries in order of node id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Member)> + '_ {
        self.map.iter().map(|(node, member)| (*node, *member))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The members that placement chooses from.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.iter()
            .filter(|(_, member)| member.is_active())
            .map(|(node, member)| Candidate {
                node,
                weight: member.weight,
                zone: member.zone,
            })
            .collect()
    }

    /// Hashes the whole map: equal maps, equal digests.
    pub fn digest(&self) -> [u8; 32] {
        //# MEMBER-6: The encoding of a map MUST be a CBOR array of its entries by
        //# rising node id, each with its fields in rising order, in shortest integers
        //# and definite lengths. Its digest is derive_key("peerhold 2026-11 member map
        //# digest", encoding).
        let mut hasher = blake3::Hasher::new_derive_key("peerhold 2026-11 member map digest");
        hasher.update(&self.encode());
        *hasher.finalize().as_bytes()
    }

    /// The map as CBOR: an array of pairs, in order of node id.
    pub fn encode(&self) -> Bytes {
        let entries: Vec<MemberEntry> = self
            .iter()
            .map(|(node, member)| MemberEntry { node, member })
            .collect();
        let mut out = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(&entries, &mut out);
        out.into()
    }

    /// The inverse of [`Members::encode`]. `None` if it is not such a map.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let entries: Vec<MemberEntry> = minicbor::decode(bytes).ok()?;
        Some(Self {
            map: entries
                .into_iter()
                .map(|entry| (entry.node, entry.member))
                .collect(),
        })
    }
}

/// One entry as it travels and is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberEntry {
    /// Who.
    #[n(0)]
    pub node: NodeId,
    /// What is known of it.
    #[n(1)]
    pub member: Member,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(counter: u64, state: State) -> Member {
        Member {
            counter,
            state,
            weight: 1,
            zone: 0,
        }
    }

    #[test]
    fn the_greater_counter_stands_in_whatever_order_maps_meet() {
        let node = NodeId([1; 32]);
        let old = member(3, State::Active);
        let new = member(4, State::Joining);
        let mut one = Members::new();
        assert!(one.merge(node, old, 10));
        assert!(one.merge(node, new, 10));
        let mut other = Members::new();
        assert!(other.merge(node, new, 10));
        assert!(!other.merge(node, old, 10));
        assert_eq!(one, other);
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn entries_of_one_counter_converge_too() {
        let node = NodeId([1; 32]);
        let (a, b) = (member(3, State::Active), member(3, State::Gone));
        let (mut one, mut other) = (Members::new(), Members::new());
        one.merge(node, a, 10);
        one.merge(node, b, 10);
        other.merge(node, b, 10);
        other.merge(node, a, 10);
        assert_eq!(one, other);
    }

    #[test]
    fn a_full_map_takes_changes_but_nobody_new() {
        let mut map = Members::new();
        assert!(map.merge(NodeId([1; 32]), member(1, State::Joining), 1));
        assert!(!map.merge(NodeId([2; 32]), member(1, State::Joining), 1));
        assert!(map.merge(NodeId([1; 32]), member(2, State::Active), 1));
    }

    #[test]
    fn clients_and_those_not_yet_active_are_no_candidates() {
        let mut map = Members::new();
        map.merge(NodeId([1; 32]), member(1, State::Active), 10);
        map.merge(NodeId([2; 32]), member(1, State::Joining), 10);
        map.merge(
            NodeId([3; 32]),
            Member {
                weight: 0,
                ..member(1, State::Active)
            },
            10,
        );
        let nodes: Vec<_> = map.candidates().into_iter().map(|c| c.node).collect();
        assert_eq!(nodes, [NodeId([1; 32])]);
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut map = Members::new();
        map.merge(NodeId([7; 32]), member(9, State::Leaving), 10);
        assert_eq!(Members::decode(&map.encode()), Some(map));
        assert_eq!(Members::decode(b"\xff"), None);
    }
}
