//! Which blobs a range of a file needs, found node by node.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::vec::Vec;
use core::ops::Range;

use super::error::WalkError;
use super::keys::BlobKey;
use super::manifest::{Entry, Node, Root, Shape};
use crate::id::BlobId;

/// One blob that the range needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which blob.
    pub id: BlobId,
    /// What opens it.
    pub key: BlobKey,
    /// 0: a chunk. Otherwise a manifest node of this level, and the walk waits
    /// for [`RangeWalk::expand`].
    pub level: u8,
    /// Bytes of the file that it covers.
    pub span: Range<u64>,
    /// Those of them that the range wants; never empty.
    pub wanted: Range<u64>,
    /// The file's chunk size.
    pub chunk_size: u32,
}

impl Need {
    /// Bytes of the file that it covers. For a chunk, its plaintext length.
    pub fn covers(&self) -> u64 {
        self.span.end.saturating_sub(self.span.start)
    }

    /// What a node must look like to fit here.
    pub fn shape(&self) -> Shape {
        Shape {
            level: self.level,
            len: self.covers(),
            chunk_size: self.chunk_size,
        }
    }

    /// The part of the chunk's plaintext that the range wants.
    pub fn part(&self) -> Range<usize> {
        let offset =
            |at: u64| usize::try_from(at.saturating_sub(self.span.start)).unwrap_or(usize::MAX);
        offset(self.wanted.start)..offset(self.wanted.end)
    }
}

/// Walks the part of a file's tree that covers a range, in the file's order.
///
/// Holds at most the fan-out for each level. Chunks may be asked for as far
/// ahead as the caller likes; behind a node that was asked for, nothing more
/// comes until it is expanded.
#[derive(Clone, Debug)]
pub struct RangeWalk {
    range: Range<u64>,
    chunk_size: u32,
    /// From the root down: the siblings still to come, the next one last.
    levels: Vec<Level>,
    /// Where the node that was asked for begins, and its shape.
    waiting: Option<(u64, Shape)>,
}

#[derive(Clone, Debug)]
struct Level {
    level: u8,
    siblings: Vec<(u64, Entry)>,
}

impl RangeWalk {
    /// A walk over the bytes of `range` that the file has.
    pub fn new(root: &Root, chunk_size: u32, range: Range<u64>) -> Self {
        let range = range.start..range.end.min(root.len);
        let mut walk = Self {
            range,
            chunk_size,
            levels: Vec::new(),
            waiting: None,
        };
        let top = Entry {
            id: root.id,
            key: root.key.clone(),
            len: root.len,
        };
        walk.descend(root.depth, 0, core::iter::once(top));
        walk
    }

    /// The next blob. `None` when all were named, or while a node is awaited.
    pub fn next_need(&mut self) -> Option<Need> {
        if self.waiting.is_some() {
            return None;
        }
        while let Some(lowest) = self.levels.last_mut() {
            let level = lowest.level;
            let Some((start, entry)) = lowest.siblings.pop() else {
                self.levels.pop();
                continue;
            };
            let span = start..start.saturating_add(entry.len);
            let wanted = span.start.max(self.range.start)..span.end.min(self.range.end);
            let need = Need {
                id: entry.id,
                key: entry.key,
                level,
                span,
                wanted,
                chunk_size: self.chunk_size,
            };
            if level > 0 {
                self.waiting = Some((start, need.shape()));
            }
            return Some(need);
        }
        None
    }

    /// Hands over the node that was asked for last.
    pub fn expand(&mut self, node: Node) -> Result<(), WalkError> {
        let Some((start, shape)) = self.waiting else {
            return Err(WalkError::NotWaiting);
        };
        let sum = node
            .entries
            .iter()
            .try_fold(0_u64, |sum, entry| sum.checked_add(entry.len));
        if node.level != shape.level || sum != Some(shape.len) {
            return Err(WalkError::OtherNode);
        }
        self.waiting = None;
        self.descend(
            shape.level.saturating_sub(1),
            start,
            node.entries.into_iter(),
        );
        Ok(())
    }

    /// A node was asked for and is not here yet.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// All blobs of the range were named.
    pub fn is_done(&self) -> bool {
        self.waiting.is_none() && self.levels.iter().all(|level| level.siblings.is_empty())
    }

    /// Entries held now.
    pub fn held(&self) -> usize {
        self.levels.iter().map(|level| level.siblings.len()).sum()
    }

    fn descend(&mut self, level: u8, mut start: u64, entries: impl Iterator<Item = Entry>) {
        let mut siblings = Vec::new();
        for entry in entries {
            let end = start.saturating_add(entry.len);
            if start < self.range.end && end > self.range.start && !self.range.is_empty() {
                siblings.push((start, entry));
            }
            start = end;
        }
        siblings.reverse();
        self.levels.push(Level { level, siblings });
    }
}
