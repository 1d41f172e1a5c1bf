//! The copies of one blob or record that a put makes.

use alloc::vec::Vec;

use super::task::No;
use crate::id::NodeId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    Asked,
    Durable,
    Failed(No),
}

#[derive(Debug, Default)]
pub(super) struct Copies(Vec<(NodeId, Copy)>);

impl Copies {
    /// All of them asked for.
    pub(super) fn asked(replicas: &[NodeId]) -> Self {
        Self(replicas.iter().map(|node| (*node, Copy::Asked)).collect())
    }

    pub(super) fn set(&mut self, node: NodeId, copy: Copy) {
        if let Some((_, state)) = self.0.iter_mut().find(|(of, _)| *of == node) {
            // What is durable stays so, whatever a late answer says.
            if *state != Copy::Durable {
                *state = copy;
            }
        }
    }

    /// Who is a replica has changed: those that are none any more count for
    /// nothing, and those that are new, who are given, are yet to be asked.
    pub(super) fn replace(&mut self, replicas: &[NodeId]) -> Vec<NodeId> {
        self.0.retain(|(node, _)| replicas.contains(node));
        let known = |node: &NodeId| self.0.iter().any(|(of, _)| of == node);
        let new: Vec<NodeId> = replicas
            .iter()
            .filter(|node| !known(node))
            .copied()
            .collect();
        self.0.extend(new.iter().map(|node| (*node, Copy::Asked)));
        new
    }

    pub(super) fn durable(&self) -> usize {
        self.0
            .iter()
            .filter(|(_, copy)| *copy == Copy::Durable)
            .count()
    }

    /// How many there are to be.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is waited for.
    pub(super) fn is_settled(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, copy)| *copy != Copy::Asked)
    }

    /// Whether replicas have been asked at all.
    pub(super) fn is_placed(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = (NodeId, &No)> {
        self.0.iter().filter_map(|(node, copy)| match copy {
            Copy::Failed(no) => Some((*node, no)),
            _ => None,
        })
    }
}
