//! Builds a file's manifest while its chunks are being sealed, in whatever
//! order they and the nodes above them get done.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::chunk::SealedBlob;
use super::error::{SealError, TreeError};
use super::keys::Reader;
use super::manifest::{DEPTH_MAX, Entry, FANOUT_MAX, Root, seal_node};

/// Collects entries into full nodes.
///
/// 1. [`TreeBuilder::push`] each sealed chunk's entry at its position.
/// 2. After each call take what [`TreeBuilder::take_full`] gives, seal it and
///    hand the entry back by [`TreeBuilder::node_sealed`].
/// 3. [`TreeBuilder::finish`] when the number of chunks is known; go on with 2
///    until [`TreeBuilder::root`] is there.
///
/// Only groups that have a gap are held: at most the fan-out for each level,
/// and what was sealed ahead of a gap. So memory does not grow with the file,
/// but with how far ahead its driver seals. The tree depends on the chunks
/// alone, not on the order in which they were done.
#[derive(Debug)]
pub struct TreeBuilder {
    fanout: u64,
    /// By level and place in it: the children that make one node.
    open: BTreeMap<(u8, u64), Group>,
    full: VecDeque<PendingNode>,
    /// How many entries each level has, from the chunks to the root; empty
    /// until the end is known.
    totals: Vec<u64>,
    root: Option<Root>,
}

#[derive(Debug, Default)]
struct Group {
    slots: Vec<Option<Entry>>,
    filled: u64,
}

/// The children of a node that is to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNode {
    /// The node's level.
    pub level: u8,
    /// The node's position in its level.
    pub index: u64,
    /// Its children.
    pub entries: Vec<Entry>,
}

impl PendingNode {
    /// Seals the node: CPU work for any thread.
    pub fn seal(&self, reader: &Reader) -> Result<SealedBlob, SealError> {
        seal_node(reader, self.level, &self.entries)
    }
}

impl TreeBuilder {
    /// A tree whose nodes have up to `fanout` children, 2 to [`FANOUT_MAX`];
    /// what lies outside is moved to the nearer end. Files are equal blobs only
    /// where their writers use the same one.
    pub fn new(fanout: usize) -> Self {
        Self {
            fanout: fanout.clamp(2, FANOUT_MAX) as u64,
            open: BTreeMap::new(),
            full: VecDeque::new(),
            totals: Vec::new(),
            root: None,
        }
    }

    /// Adds the chunk at position `index` of the file, counted from 0. Each
    /// position is pushed once.
    pub fn push(&mut self, index: u64, chunk: Entry) -> Result<(), TreeError> {
        self.insert(0, index, chunk)
    }

    /// Adds a node that [`TreeBuilder::take_full`] asked for, by the level and
    /// index that it had there.
    pub fn node_sealed(&mut self, level: u8, index: u64, node: Entry) -> Result<(), TreeError> {
        self.insert(level, index, node)
    }

    /// The next node that is to be sealed.
    pub fn take_full(&mut self) -> Option<PendingNode> {
        self.full.pop_front()
    }

    /// Says how many chunks the file has. They need not be there yet.
    pub fn finish(&mut self, chunks: u64) -> Result<(), TreeError> {
        if !self.totals.is_empty() {
            return Err(TreeError::Finished);
        }
        let totals = self.level_totals(chunks)?;
        self.check_end(&totals)?;
        self.totals = totals;
        for level in 0..self.totals.len() as u8 {
            let last = self
                .totals
                .get(usize::from(level))
                .map_or(0, |total| (total - 1) / self.fanout);
            self.settle(level, last);
        }
        Ok(())
    }

    /// The tree's root, once all of it is sealed.
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// Entries held now.
    pub fn held(&self) -> usize {
        let open = self.open.values().map(|group| group.filled as usize);
        let full = self.full.iter().map(|node| node.entries.len());
        open.chain(full).sum()
    }

    fn insert(&mut self, level: u8, index: u64, entry: Entry) -> Result<(), TreeError> {
        if level > DEPTH_MAX || (level == DEPTH_MAX && index > 0) {
            return Err(TreeError::TooDeep);
        }
        let total = self.totals.get(usize::from(level));
        if !self.totals.is_empty() && total.is_none_or(|total| index >= *total) {
            return Err(TreeError::BehindEnd { level, index });
        }
        let group = self.open.entry((level, index / self.fanout)).or_default();
        let slot = (index % self.fanout) as usize;
        if group.slots.len() <= slot {
            group.slots.resize(slot + 1, None);
        }
        match group.slots.get_mut(slot) {
            Some(empty @ None) => *empty = Some(entry),
            _ => return Err(TreeError::Twice { level, index }),
        }
        group.filled += 1;
        self.settle(level, index / self.fanout);
        Ok(())
    }

    /// Moves a group on that has all its entries: to be sealed, or to be the
    /// root.
    fn settle(&mut self, level: u8, index: u64) {
        let size = match self.totals.get(usize::from(level)) {
            Some(total) => (total - index * self.fanout).min(self.fanout),
            None => self.fanout,
        };
        if self
            .open
            .get(&(level, index))
            .is_none_or(|group| group.filled < size)
        {
            return;
        }
        let Some(group) = self.open.remove(&(level, index)) else {
            return;
        };
        let mut entries: Vec<Entry> = group.slots.into_iter().flatten().collect();
        if self.totals.len() == usize::from(level) + 1 {
            self.root = entries.pop().map(|top| Root {
                id: top.id,
                key: top.key,
                depth: level,
                len: top.len,
            });
        } else {
            self.full.push_back(PendingNode {
                level: level + 1,
                index,
                entries,
            });
        }
    }

    fn level_totals(&self, chunks: u64) -> Result<Vec<u64>, TreeError> {
        if chunks == 0 {
            return Err(TreeError::Empty);
        }
        let mut totals = Vec::new();
        let mut count = chunks;
        totals.push(count);
        while count > 1 {
            count = count.div_ceil(self.fanout);
            totals.push(count);
        }
        if totals.len() > usize::from(DEPTH_MAX) + 1 {
            return Err(TreeError::TooDeep);
        }
        Ok(totals)
    }

    fn check_end(&self, totals: &[u64]) -> Result<(), TreeError> {
        for (&(level, group), held) in &self.open {
            let ahead = held.slots.len().saturating_sub(1) as u64;
            let index = group * self.fanout + ahead;
            if totals
                .get(usize::from(level))
                .is_none_or(|total| index >= *total)
            {
                return Err(TreeError::BehindEnd { level, index });
            }
        }
        let behind = |node: &&PendingNode| {
            totals
                .get(usize::from(node.level))
                .is_none_or(|total| node.index >= *total)
        };
        match self.full.iter().find(behind) {
            Some(node) => Err(TreeError::BehindEnd {
                level: node.level,
                index: node.index,
            }),
            None => Ok(()),
        }
    }
}
