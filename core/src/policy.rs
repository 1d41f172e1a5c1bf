//! Who may become a storing member here, and as what.
//!
//! A cluster key opens sessions. Whether a node that has opened one also
//! counts in placement is a second step, which every node decides by itself:
//! by its [`Policy`]. Nothing that a peer says of itself or of others goes
//! beyond it.
//!
//! Placement must be the same on all nodes, so **the policy is to be the same
//! on all of them**, clients included, and when it is changed they are all
//! started anew with it. Where two differ for long, both say so:
//! [`crate::Event::MapDiffers`].

use alloc::collections::BTreeMap;

use crate::id::NodeId;
use crate::members::Member;

/// Who may store, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who.
    pub storing: Storing,
    /// No member counts for more than this weight, whatever it says. At least
    /// 1.
    pub weight_max: u16,
}

/// Who may become a storing member.
///
/// The default is [`Storing::Open`]: the nodes of a new cluster do not know
/// each other's ids, and a list that is not the same everywhere keeps nodes
/// from agreeing where things are. What it asks in return is that everybody
/// who has the cluster key is trusted to hold data. Who gives tickets to
/// clients beyond that circle sets a list, on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storing {
    /// Every node that is admitted, and every one that a storing member knows.
    #[default]
    Open,
    /// These and no others. Whoever is not among them is a client here: it is
    /// not in the member map, not placed and not counted, and what it tells of
    /// members is passed over. An operator who has given a member up takes it
    /// from the list.
    Allow(BTreeMap<NodeId, Terms>),
}

/// What one node may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// It counts for no more than this weight. 0: for nothing.
    pub weight_max: Option<u16>,
    /// Where it stands. `None`: where it says.
    pub zone: Option<u16>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            storing: Storing::default(),
            weight_max: u16::MAX,
        }
    }
}

impl Policy {
    /// Only these nodes may store, each on its own terms.
    pub fn allow(nodes: impl IntoIterator<Item = (NodeId, Terms)>) -> Self {
        Self {
            storing: Storing::Allow(nodes.into_iter().collect()),
            ..Self::default()
        }
    }

    /// The terms for `node`; `None` if it is not allowed.
    fn terms(&self, node: &NodeId) -> Option<Terms> {
        match &self.storing {
            Storing::Open => Some(Terms::default()),
            Storing::Allow(list) => list.get(node).copied(),
        }
    }

    /// Whether `node` may store at all.
    pub fn allows(&self, node: &NodeId) -> bool {
        self.terms(node).is_some()
    }

    /// What an entry for `node` counts as.
    pub fn apply(&self, node: &NodeId, told: Member) -> Member {
        //# MEMBER-8: A node MUST apply its policy to every entry, its own included: who is
        //# not allowed counts as weight 0, a weight above the policy's greatest as the
        //# greatest, and a zone that the policy gives takes the place of the one that was
        //# told. Placement and whatever else goes by the map, and what MEMBERS tells, goes
        //# by the outcome.
        let terms = self.terms(node);
        let weight_max = terms.map_or(0, |terms| terms.weight_max.unwrap_or(u16::MAX));
        Member {
            weight: told.weight.min(weight_max).min(self.weight_max),
            zone: terms.and_then(|terms| terms.zone).unwrap_or(told.zone),
            ..told
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::State;

    const TOLD: Member = Member {
        counter: 3,
        state: State::Active,
        weight: 100,
        zone: 7,
    };

    fn counts(policy: &Policy, node: u8) -> (u16, u16) {
        let member = policy.apply(&NodeId([node; 32]), TOLD);
        (member.weight, member.zone)
    }

    #[test]
    fn open_takes_members_at_their_word_up_to_the_greatest_weight() {
        let mut policy = Policy::default();
        assert_eq!(counts(&policy, 1), (100, 7));
        policy.weight_max = 99;
        assert_eq!(counts(&policy, 1), (99, 7));
    }

    #[test]
    fn a_list_gives_each_its_own_terms_and_others_nothing() {
        let terms = |weight_max, zone| Terms { weight_max, zone };
        let mut policy = Policy::allow([
            (NodeId([1; 32]), Terms::default()),
            (NodeId([2; 32]), terms(Some(5), Some(1))),
            (NodeId([3; 32]), terms(Some(500), None)),
        ]);
        policy.weight_max = 90;
        let all = [1, 2, 3, 4].map(|node| counts(&policy, node));
        assert_eq!(all, [(90, 7), (5, 1), (90, 7), (0, 7)]);
        assert!(!policy.allows(&NodeId([4; 32])));
    }
}
