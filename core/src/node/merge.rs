//! Rows of several members, merged into one order.
//!
//! Each member tells its rows page by page. What was told of one place is
//! complete once every member that counts has got past it. A member that fails
//! is waited for or passed over, as its operation says; one that was passed
//! over counts no more.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::pages::{Order, Place, Query};
use crate::bug::{self, Bug};
use crate::disk::{Page, Row};
use crate::id::NodeId;
use crate::wire::message::PAGE_MAX;

#[derive(Debug)]
pub(super) struct Merge {
    order: Order,
    /// What the rows of each member may come to.
    share: usize,
    members: BTreeMap<NodeId, Source>,
}

/// One member's rows that are here and not merged yet.
#[derive(Debug)]
struct Source {
    state: State,
    rows: VecDeque<Row>,
    /// What they come to.
    cost: usize,
    /// The last that it told, here or merged already.
    told: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has more to tell.
    Resting,
    Asked,
    /// It gave no answer, and is asked again when it can be reached.
    Failed,
    /// It has told all.
    Ended,
    /// It was passed over, or lied.
    Out,
}

/// What was told of one place, and by whom.
pub(super) type Told = BTreeMap<Place, Vec<(NodeId, Row)>>;

impl Merge {
    pub(super) fn new(
        order: Order,
        behind: Option<Place>,
        members: impl IntoIterator<Item = NodeId>,
        share: usize,
    ) -> Self {
        let source = |node| {
            let source = Source {
                state: State::Resting,
                rows: VecDeque::new(),
                cost: 0,
                told: behind,
            };
            (node, source)
        };
        Self {
            order,
            share,
            members: members.into_iter().map(source).collect(),
        }
    }

    /// What to ask of whom: the next page of everyone who has half of their
    /// share free.
    pub(super) fn ask(&mut self) -> Vec<(NodeId, Query)> {
        let half = self.share / 2;
        let free = self
            .members
            .iter_mut()
            .filter(|(_, source)| source.state == State::Resting && source.cost <= half);
        let (order, max) = (self.order, page_max(self.share));
        free.map(|(node, source)| {
            source.state = State::Asked;
            let behind = source.told;
            (*node, Query { order, behind, max })
        })
        .collect()
    }

    /// What a member that was asked has answered, if anything.
    pub(super) fn answer(&mut self, from: NodeId, page: Option<Page>) {
        let (order, max) = (self.order, page_max(self.share));
        let Some(source) = self.members.get_mut(&from) else {
            return;
        };
        if source.state != State::Asked {
            return;
        }
        let behind = source.told;
        let query = Query { order, behind, max };
        // This node's own store has not been checked yet.
        let Some(mut page) = page.filter(|page| query.is_answered_by(page)) else {
            source.state = State::Failed;
            return;
        };
        source.state = if page.more {
            State::Resting
        } else {
            State::Ended
        };
        source.told = page.rows.last().map(|row| order.place(row)).or(source.told);
        if page.more && bug::on(Bug::PageBorderLost) {
            page.rows.pop();
        }
        source.cost += page.rows.iter().map(Row::cost).sum::<usize>();
        source.rows.extend(page.rows);
    }

    /// Members can be reached again: those that failed may be asked again.
    pub(super) fn revive(&mut self, is_reachable: impl Fn(&NodeId) -> bool) {
        for (node, source) in &mut self.members {
            if source.state == State::Failed && is_reachable(node) {
                source.state = State::Resting;
            }
        }
    }

    /// How many members keep all others from going on: those that have not
    /// answered yet, and those that failed to.
    pub(super) fn missing(&self) -> (usize, usize) {
        let missing = || self.members.values().filter(|source| source.is_missing());
        let failed = missing().filter(|source| source.state == State::Failed);
        let failed = failed.count();
        (missing().count() - failed, failed)
    }

    /// Goes on without them.
    pub(super) fn pass_over_missing(&mut self) {
        for source in self.members.values_mut() {
            if source.is_missing() {
                source.state = State::Out;
            }
        }
    }

    /// Goes on without one that lied. False if that has been said before.
    pub(super) fn drop_liar(&mut self, node: &NodeId) -> bool {
        let Some(source) = self.members.get_mut(node) else {
            return false;
        };
        source.rows.clear();
        source.cost = 0;
        core::mem::replace(&mut source.state, State::Out) != State::Out
    }

    /// Takes the rows of every place that nobody is behind.
    pub(super) fn take(&mut self) -> Told {
        let behind = |source: &&Source| !matches!(source.state, State::Ended | State::Out);
        let open = self.members.values().filter(behind);
        let horizon = open.map(|source| source.told).min();
        let mut told = Told::new();
        for (node, source) in &mut self.members {
            while let Some(row) = source.rows.front() {
                let place = self.order.place(row);
                if horizon.is_some_and(|horizon| Some(place) > horizon) {
                    break;
                }
                source.cost -= row.cost();
                let row = source.rows.pop_front().map(|row| (*node, row));
                told.entry(place).or_default().extend(row);
            }
        }
        told
    }

    /// Whether a member has told, or tells, all that it holds.
    pub(super) fn counts(&self, node: &NodeId) -> bool {
        let source = self.members.get(node);
        source.is_some_and(|source| source.state != State::Out)
    }

    /// How many members do not count.
    pub(super) fn out(&self) -> usize {
        let out = |source: &&Source| source.state == State::Out;
        self.members.values().filter(out).count()
    }

    /// Whether all is told and taken.
    pub(super) fn is_done(&self) -> bool {
        let done = |source: &Source| match source.state {
            State::Ended => source.rows.is_empty(),
            State::Out => true,
            State::Resting | State::Asked | State::Failed => false,
        };
        self.members.values().all(done)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

impl Source {
    /// Whether its next row is not here and may still come.
    fn is_missing(&self) -> bool {
        self.rows.is_empty() && !matches!(self.state, State::Ended | State::Out)
    }
}

fn page_max(share: usize) -> u32 {
    u32::try_from(share / 2).unwrap_or(PAGE_MAX).min(PAGE_MAX)
}
