//! What nodes say that is no operation's.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::{Damage, Event, NodeId, PeerFault};

use super::{Check, holds};
use crate::violation::Invariant::{
    Convergence, Durability, Freshness, Integrity, LogTail, Progress,
};

/// Who is not what others take it for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    /// Nodes that lie.
    pub(crate) liars: BTreeSet<NodeId>,
    /// Machines whose disks lose or damage what they were given.
    pub(crate) disks: BTreeSet<usize>,
    /// Machines whose disks fail, or are full.
    pub(crate) failing: BTreeSet<usize>,
    /// Machines whose disks were set back.
    pub(crate) set_back: BTreeSet<usize>,
    /// Machines that may be newcomers to their own nodes.
    pub(crate) newcomers: BTreeSet<usize>,
}

impl Suspects {
    /// A machine's disk loses what its node was: it may even give the versions
    /// again that it has given.
    pub(crate) fn lose(&mut self, at: usize) {
        self.disks.insert(at);
        self.newcomers.insert(at);
        self.set_back.insert(at);
    }
}

/// Whether a peer that does nothing wrong may end a session so.
fn is_innocent(fault: &PeerFault) -> bool {
    matches!(fault, PeerFault::Silent | PeerFault::AdmissionTimeout)
}

/// Looks whether a node may say this. `known` are the nodes of the cluster
/// and their machines; what a liar's node says is not looked at.
pub(crate) fn look_at_event(
    at: usize,
    event: &Event,
    known: &BTreeMap<NodeId, usize>,
    suspects: &Suspects,
) -> Check {
    let honest = |peer: &NodeId| known.contains_key(peer) && !suspects.liars.contains(peer);
    match event {
        Event::Lied { peer } => holds(!honest(peer), Integrity, || {
            format!("node{at} says that {peer:?} lied, which it did not")
        }),
        Event::PeerDown {
            peer,
            fault: Some(fault),
        }
        | Event::Refused {
            peer: Some(peer),
            fault: Some(fault),
            ..
        } => holds(!honest(peer) || is_innocent(fault), Progress, || {
            format!("node{at} ended its session with {peer:?}: {fault}")
        }),
        Event::Unkept { peer, .. } => {
            let lost = known
                .get(peer)
                .is_some_and(|of| suspects.disks.contains(of) || suspects.set_back.contains(of));
            holds(!honest(peer) || lost, Durability, || {
                format!("node{at} finds that {peer:?} has not kept what it acknowledged")
            })
        }
        Event::Forked(fork) => holds(!suspects.set_back.is_empty(), Freshness, || {
            format!("node{at} tells of a fork: {fork:?}")
        }),
        // The log alone is enough: it is made anew.
        Event::Damaged(Damage::Index) => Ok(()),
        Event::Damaged(damage) => holds(suspects.disks.contains(&at), LogTail, || {
            format!("node{at} has found its disk damaged, and nothing did that: {damage:?}")
        }),
        Event::Trouble(error) => {
            let may = suspects.failing.contains(&at) || suspects.disks.contains(&at);
            holds(may, Convergence, || {
                format!("node{at}'s store failed, and nothing was wrong with its disk: {error}")
            })
        }
        _ => Ok(()),
    }
}
