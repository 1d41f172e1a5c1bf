//! The member map: who belongs to the cluster, and in which state.
//!
//! A node speaks for itself: its entry is what it told last. Being out of
//! reach changes nothing here (DESIGN section 5). What peers may tell of
//! others, and what a node's own [`crate::policy`] makes of it all, stands in
//! PROTOCOL.md, MEMBER-1 to MEMBER-11.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::id::NodeId;
use crate::placement::Candidate;
use crate::wire::message::list;

/// The most members of a map: a control message has room for so many.
pub const MEMBERS_MAX: u32 = 1000;

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
    /// Rises with every change that the node makes to its entry.
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

    /// Puts `member` in the place of what was known of `node`.
    pub fn insert(&mut self, node: NodeId, member: Member) {
        self.map.insert(node, member);
    }

    /// Takes the entry of `node` out.
    pub fn remove(&mut self, node: &NodeId) -> Option<Member> {
        self.map.remove(node)
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
        let d = &mut minicbor::Decoder::new(bytes);
        let entries: Vec<MemberEntry> = list::<{ MEMBERS_MAX as usize }, _, _>(d, &mut ()).ok()?;
        Some(Self {
            map: entries
                .into_iter()
                .map(|entry| (entry.node, entry.member))
                .collect(),
        })
    }
}

impl FromIterator<(NodeId, Member)> for Members {
    /// Of two entries for one node the last stands.
    fn from_iter<I: IntoIterator<Item = (NodeId, Member)>>(entries: I) -> Self {
        Self {
            map: entries.into_iter().collect(),
        }
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
    fn clients_and_those_not_yet_active_are_no_candidates() {
        let mut map = Members::new();
        map.insert(NodeId([1; 32]), member(1, State::Active));
        map.insert(NodeId([2; 32]), member(1, State::Joining));
        map.insert(
            NodeId([3; 32]),
            Member {
                weight: 0,
                ..member(1, State::Active)
            },
        );
        let nodes: Vec<_> = map.candidates().into_iter().map(|c| c.node).collect();
        assert_eq!(nodes, [NodeId([1; 32])]);
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut map = Members::new();
        map.insert(NodeId([7; 32]), member(9, State::Leaving));
        assert_eq!(Members::decode(&map.encode()), Some(map));
        assert_eq!(Members::decode(b"\xff"), None);
    }
}
