//! Asking for one thing where it may be: one after the other, until it is had.

use alloc::collections::VecDeque;

use super::ctx::Ctx;
use super::lookup::is_passing;
use super::task::No;
use crate::bug::{self, Bug};
use crate::id::NodeId;

/// Whom to ask for one thing.
#[derive(Debug, Default)]
pub(super) struct Sources {
    left: VecDeque<NodeId>,
    asked: Option<NodeId>,
    /// Someone may have it and could not be asked, or did not tell.
    passing: bool,
    /// Someone could not give it, and not for want of it.
    refused: bool,
}

impl Sources {
    pub(super) fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let most = bug::or(Bug::OneSource, 1, usize::MAX);
        Self {
            left: nodes.into_iter().take(most).collect(),
            ..Self::default()
        }
    }

    /// The next who can be asked now.
    pub(super) fn next(&mut self, ctx: &Ctx) -> Option<NodeId> {
        self.asked = None;
        while let Some(node) = self.left.pop_front() {
            if node == ctx.me() && ctx.config.weight == 0 {
                // A client holds nothing.
                continue;
            }
            if ctx.is_reachable(&node) {
                self.asked = Some(node);
                break;
            }
            self.passing = true;
        }
        self.asked
    }

    /// Whether it is this one's turn.
    pub(super) fn is_asked(&self, node: NodeId) -> bool {
        self.asked == Some(node)
    }

    /// Whether all were asked to no end.
    pub(super) fn is_exhausted(&self) -> bool {
        self.asked.is_none() && self.left.is_empty()
    }

    /// Whoever was asked did not give it.
    pub(super) fn failed(&mut self, no: &No) {
        if is_passing(no) {
            self.passing = true;
        } else {
            self.refused = true;
        }
    }

    /// What came of whoever was asked is not what its hash, signature or seal
    /// says.
    pub(super) fn lied(&mut self, ctx: &mut Ctx) {
        if let Some(node) = self.asked {
            ctx.lied(node);
        }
        self.refused = true;
    }

    /// Whether another try may lead to another end.
    pub(super) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Whether someone has said no, rather than that it has none.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }
}
