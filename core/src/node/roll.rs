//! What this node knows of the members, and whom it believes what.
//!
//! A member speaks for itself. What others say of it lets this node hear of
//! it, and of its becoming active while it is away; nothing that they say
//! takes away from it or adds to it. Beyond that the node's own policy holds,
//! whoever speaks.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::Config;
use crate::id::NodeId;
use crate::members::{Member, MemberEntry, Members, State};
use crate::placement::Candidate;
use crate::policy::Policy;

#[derive(Debug)]
pub(super) struct Roll {
    me: NodeId,
    policy: Policy,
    /// Entries beside this node's own.
    max: usize,
    /// As they were told; the policy is applied whenever they are looked at.
    told: Members,
    /// This node's own entry as it is being written down..
    writing: Option<Member>,
    /// ..and as it is on disk, and so may be told.
    durable: Option<Member>,
}

impl Roll {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            me: config.node,
            policy: config.policy.clone(),
            max: config.limits.members as usize - 1,
            told: Members::new(),
            writing: None,
            durable: None,
        }
    }

    /// What is known of `node`, as the policy lets it count.
    pub(super) fn get(&self, node: &NodeId) -> Option<Member> {
        let told = *self.told.get(node)?;
        Some(self.policy.apply(node, told))
    }

    /// All members, as the policy lets them count, in order of node id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, Member)> + '_ {
        let counts = |(node, told)| (node, self.policy.apply(&node, told));
        self.told.iter().map(counts)
    }

    /// The members that placement chooses from.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.iter().collect::<Members>().candidates()
    }

    /// Whether `node` is known to hold data, or that it is to.
    pub(super) fn is_storing(&self, node: &NodeId) -> bool {
        self.get(node).is_some_and(|member| member.is_storing())
    }

    /// Whether `node` is known to be nobody that one asks.
    pub(super) fn is_client(&self, node: &NodeId) -> bool {
        !self.policy.allows(node) || self.get(node).is_some_and(|member| !member.is_storing())
    }

    /// Whether `node` will never hold anything again, as far as this node is
    /// concerned.
    pub(super) fn is_out(&self, node: &NodeId) -> bool {
        let gone = |member: Member| matches!(member.state, State::Gone);
        !self.policy.allows(node) || self.told.get(node).copied().is_some_and(gone)
    }

    /// What peers are told.
    pub(super) fn entries(&self) -> Vec<MemberEntry> {
        //# MEMBER-2: Whoever changes its own entry MUST raise its counter, and MUST NOT
        //# tell of the change before it is durable.
        let told = self.iter().filter_map(|(node, member)| {
            let member = match node == self.me {
                true => self.policy.apply(&node, self.durable?),
                false => member,
            };
            Some(MemberEntry { node, member })
        });
        told.collect()
    }

    /// This node's own entry.
    pub(super) fn own(&self) -> Option<Member> {
        self.told.get(&self.me).copied()
    }

    pub(super) fn set_own(&mut self, own: Member) {
        self.told.insert(self.me, own);
    }

    /// The map to write down.
    pub(super) fn write(&mut self) -> Bytes {
        self.writing = self.own();
        self.told.encode()
    }

    /// The map is on disk as it was asked for last. True if there is something
    /// to tell.
    pub(super) fn written(&mut self) -> bool {
        core::mem::replace(&mut self.durable, self.writing) != self.writing
    }

    /// Takes up what the store kept, beside what `spoken` have told of
    /// themselves meanwhile.
    pub(super) fn load(&mut self, kept: &Members, spoken: impl Fn(&NodeId) -> bool) {
        for (node, member) in kept.iter() {
            if node == self.me {
                self.set_own(member);
                self.durable = Some(member);
            } else if !spoken(&node) {
                let hearsay = self.told.remove(&node);
                self.take(node, member);
                if let Some(told) = hearsay {
                    self.third(node, told);
                }
            }
        }
    }

    /// Takes in what `peer` tells. `spoken` says of whom a session stands in
    /// which it has told of itself. True if the map has changed as it counts
    /// here.
    pub(super) fn hear(
        &mut self,
        peer: NodeId,
        told: &Members,
        spoken: impl Fn(&NodeId) -> bool,
    ) -> bool {
        let mut changed = false;
        //# MEMBER-1: What a peer tells of itself MUST take the place of all that was known
        //# of it, whatever the counters.
        if let Some(member) = told.get(&peer) {
            changed |= self.take(peer, *member);
        }
        //# MEMBER-9: What a peer tells of third nodes MUST be passed over unless the peer
        //# itself, by the receiver's policy, has a weight above 0 and is not gone. What it
        //# tells of the receiver MUST be passed over.
        if !self.is_storing(&peer) {
            return changed;
        }
        for (node, member) in told.iter() {
            if node != peer && !spoken(&node) {
                changed |= self.third(node, member);
            }
        }
        changed
    }

    /// What somebody says of somebody else.
    fn third(&mut self, node: NodeId, told: Member) -> bool {
        //# MEMBER-10: An entry for a third node that is not known is taken in if it is not
        //# gone and, by the receiver's policy, has a weight above 0. Of a third node that
        //# is known, only this MUST be taken in: that it is active where it was joining,
        //# and this only while no session stands in which it has told of itself.
        let stores = |member| self.policy.apply(&node, member).is_storing();
        match self.told.get(&node).copied() {
            _ if node == self.me => false,
            None => stores(told) && self.take(node, told),
            Some(known) => {
                let begun = (known.state, told.state) == (State::Joining, State::Active);
                let member = Member {
                    counter: told.counter,
                    state: told.state,
                    ..known
                };
                begun && stores(known) && self.take(node, member)
            }
        }
    }

    /// Puts an entry in, if there is or can be made room for it.
    fn take(&mut self, node: NodeId, member: Member) -> bool {
        if node == self.me || !self.policy.allows(&node) {
            return false;
        }
        let before = self.get(&node);
        if before.is_none() && !self.has_room(&node, &member) {
            return false;
        }
        self.told.insert(node, member);
        self.get(&node) != before
    }

    //# MEMBER-5: An entry for a new node beyond the receiver's own limit (at most 1,000) is
    //# passed over, and is no fault. One that stores takes the place of one that does not.
    fn has_room(&mut self, node: &NodeId, member: &Member) -> bool {
        let others = self.told.len() - usize::from(self.own().is_some());
        if others < self.max {
            return true;
        }
        if !self.policy.apply(node, *member).is_storing() {
            return false;
        }
        let idle = |(node, member): &(NodeId, Member)| *node != self.me && !member.is_storing();
        let idle = self.iter().find(idle).map(|(node, _)| node);
        idle.is_some_and(|idle| self.told.remove(&idle).is_some())
    }
}

/// A short name of what placement chooses from.
pub(super) fn fingerprint(candidates: &[Candidate]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for candidate in candidates {
        hasher.update(candidate.node.as_bytes());
        hasher.update(&candidate.weight.to_be_bytes());
        hasher.update(&candidate.zone.to_be_bytes());
    }
    *hasher.finalize().as_bytes()
}
