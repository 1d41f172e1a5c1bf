//! One node of a manifest: the ids of its children in clear, so that replicas
//! walk, repair and collect without keys, and their keys and lengths sealed.
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

use bytes::Bytes;
use zeroize::Zeroizing;

use super::chunk::{BLOB_HEADER, BlobHeader, BlobKind, SealedBlob};
use super::cipher;
use super::error::{NodeError, OpenError, SealError};
use super::keys::{BlobKey, Reader};
use crate::id::BlobId;

/// Most children of a manifest node.
pub const FANOUT_MAX: usize = 512;
/// Most levels of nodes above the chunks.
pub const DEPTH_MAX: u8 = 8;

/// Level and count, between header and ids.
const FIXED: usize = 3;
/// A child's key and length, in the sealed list.
const SEALED_ENTRY: usize = BlobKey::LEN + 8;

/// What a parent keeps about one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which blob it is.
    pub id: BlobId,
    /// What opens it.
    pub key: BlobKey,
    /// Bytes of the file that it covers.
    pub len: u64,
}

/// The top of a file's tree: what its record keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Which blob it is.
    pub id: BlobId,
    /// What opens it.
    pub key: BlobKey,
    /// Levels of nodes above the chunks, at most [`DEPTH_MAX`]; 0: the root is
    /// the file's only chunk.
    pub depth: u8,
    /// Bytes of the whole file.
    pub len: u64,
}

/// What a node must look like in its place, known from its parent and from the
/// record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its level; the children of level 1 are chunks.
    pub level: u8,
    /// Bytes of the file under it.
    pub len: u64,
    /// The file's chunk size.
    pub chunk_size: u32,
}

/// A node that was opened and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its level; the children of level 1 are chunks.
    pub level: u8,
    /// Its children, in the order of the file.
    pub entries: Vec<Entry>,
}

/// Seals one node over its children.
pub fn seal_node(reader: &Reader, level: u8, entries: &[Entry]) -> Result<SealedBlob, SealError> {
    check_bounds(level, entries.len())?;
    let len = covered(entries)?;
    let payload = FIXED.saturating_add(entries.len().saturating_mul(BlobId::LEN + SEALED_ENTRY));
    let header = BlobHeader {
        kind: BlobKind::Manifest,
        payload: payload as u32,
    };
    let mut node = Zeroizing::new(Vec::with_capacity(BLOB_HEADER.saturating_add(payload)));
    node.extend_from_slice(&header.to_bytes());
    node.push(level);
    node.extend_from_slice(&(entries.len() as u16).to_be_bytes());
    for entry in entries {
        node.extend_from_slice(entry.id.as_bytes());
    }
    let clear = node.len();
    for entry in entries {
        node.extend_from_slice(entry.key.expose());
        node.extend_from_slice(&entry.len.to_be_bytes());
    }
    //# SEAL-10: A node's key MUST be `keyed_hash(manifest root, node)`, the node
    //# being the whole blob, header included, with the list of keys and lengths
    //# in clear; the cipher covers that list alone.
    let key = reader.node_key(&node);
    cipher::apply(key.expose(), 0, node.get_mut(clear..).unwrap_or_default())?;
    let bytes = Bytes::from(core::mem::take(&mut *node));
    Ok(SealedBlob {
        id: BlobId::of(&bytes),
        key,
        len,
        bytes,
    })
}

/// Opens a node and checks that it is what its place in the tree asks for.
///
/// The key is recomputed from what was opened: no other key opens the node to
/// something else.
pub fn open_node(
    reader: &Reader,
    id: &BlobId,
    key: &BlobKey,
    shape: &Shape,
    bytes: &[u8],
) -> Result<Node, OpenError> {
    //# SEAL-11: A reader MUST recompute a node's key from what it opened and
    //# refuse the node if it differs from the key that its parent or record gave.
    open_with(id, key, shape, bytes, |node| reader.node_key(node) == *key)
}

/// Opens a node of which `is_right` is told, in clear and header included.
pub(super) fn open_with(
    id: &BlobId,
    key: &BlobKey,
    shape: &Shape,
    bytes: &[u8],
    is_right: impl FnOnce(&[u8]) -> bool,
) -> Result<Node, OpenError> {
    if BlobId::of(bytes) != *id {
        return Err(OpenError::OtherBlob);
    }
    let Layout { level, ids, clear } = Layout::parse(bytes)?;
    if level != shape.level {
        return Err(NodeError::OtherLevel {
            expected: shape.level,
            found: level,
        }
        .into());
    }
    let mut node = Zeroizing::new(Vec::from(bytes));
    let sealed = node.get_mut(clear..).unwrap_or_default();
    cipher::apply(key.expose(), 0, sealed)?;
    let (pairs, _) = sealed.as_chunks::<SEALED_ENTRY>();
    let entries: Vec<Entry> = ids
        .iter()
        .zip(pairs)
        .map(|(id, pair)| entry(*id, pair))
        .collect();
    if !is_right(&node) {
        return Err(OpenError::OtherKey);
    }
    check_shape(shape, &entries)?;
    Ok(Node { level, entries })
}

/// A node's level and its children's ids: all that a replica without keys
/// reads of it. The bytes are not checked against an id here.
pub fn children(bytes: &[u8]) -> Result<(u8, Vec<BlobId>), NodeError> {
    let layout = Layout::parse(bytes)?;
    Ok((
        layout.level,
        layout.ids.iter().copied().map(BlobId).collect(),
    ))
}

/// A node cut into its parts.
struct Layout<'a> {
    level: u8,
    ids: &'a [[u8; BlobId::LEN]],
    /// Where the sealed list begins.
    clear: usize,
}

impl<'a> Layout<'a> {
    //# SEAL-9: A manifest node's payload MUST be its level (1 to 8), the count of
    //# its children (16 bits, 1 to 512), their ids, and the sealed list of their
    //# keys and lengths (64 bits each), with nothing behind.
    fn parse(bytes: &'a [u8]) -> Result<Self, NodeError> {
        if BlobHeader::parse(bytes)?.kind != BlobKind::Manifest {
            return Err(NodeError::Chunk);
        }
        let payload = bytes.get(BLOB_HEADER..).unwrap_or_default();
        let Some(([level, high, low], lists)) = payload.split_first_chunk::<FIXED>() else {
            return Err(NodeError::Length {
                count: 0,
                len: bytes.len(),
            });
        };
        let count = usize::from(u16::from_be_bytes([*high, *low]));
        check_bounds(*level, count)?;
        let wrong = NodeError::Length {
            count,
            len: bytes.len(),
        };
        let len = |each: usize| count.saturating_mul(each);
        let (ids, sealed) = lists.split_at_checked(len(BlobId::LEN)).ok_or(wrong)?;
        if sealed.len() != len(SEALED_ENTRY) {
            return Err(wrong);
        }
        let clear = bytes.len().saturating_sub(sealed.len());
        Ok(Self {
            level: *level,
            ids: ids.as_chunks().0,
            clear,
        })
    }
}

fn entry(id: [u8; BlobId::LEN], pair: &[u8; SEALED_ENTRY]) -> Entry {
    let mut entry = Entry {
        id: BlobId(id),
        key: BlobKey::from_bytes([0; BlobKey::LEN]),
        len: 0,
    };
    if let Some((key, len)) = pair.split_first_chunk::<{ BlobKey::LEN }>() {
        entry.key = BlobKey::from_bytes(*key);
        entry.len = len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
    }
    entry
}

fn check_bounds(level: u8, count: usize) -> Result<(), NodeError> {
    if level == 0 || level > DEPTH_MAX {
        return Err(NodeError::Level(level));
    }
    if count == 0 || count > FANOUT_MAX {
        return Err(NodeError::Count(count));
    }
    Ok(())
}

/// Bytes under all the children, which must be even but for the last.
//# SEAL-12: Every child of a node MUST cover at least one byte, all but the last
//# equally many, and the last no more than those.
fn covered(entries: &[Entry]) -> Result<u64, NodeError> {
    let full = entries.first().map_or(0, |first| first.len);
    let last = entries.len().saturating_sub(1);
    let mut sum = 0_u64;
    for (index, entry) in entries.iter().enumerate() {
        if entry.len == 0 {
            return Err(NodeError::EmptyChild(index));
        }
        if entry.len > full || (index < last && entry.len != full) {
            return Err(NodeError::Uneven(index));
        }
        sum = sum.checked_add(entry.len).ok_or(NodeError::Sum)?;
    }
    Ok(sum)
}

//# SEAL-13: The children of a node MUST together cover what its parent or record
//# states; a full child of level 1 covers the file's chunk size, a full child of
//# a higher level a multiple of it.
fn check_shape(shape: &Shape, entries: &[Entry]) -> Result<(), NodeError> {
    if covered(entries)? != shape.len {
        return Err(NodeError::Sum);
    }
    let wrong = Err(NodeError::ChunkSize(shape.chunk_size));
    let chunk_size = u64::from(shape.chunk_size);
    match entries {
        _ if chunk_size == 0 => wrong,
        [only] if shape.level == 1 && only.len > chunk_size => wrong,
        [full, _, ..] if shape.level == 1 && full.len != chunk_size => wrong,
        [full, _, ..] if !full.len.is_multiple_of(chunk_size) => wrong,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::seal::{NamespaceSecret, open_chunk, open_shared_node};

    /// A node as its own writer can make it: any level and count over any
    /// children, under the key that these make.
    fn crafted(level: u8, count: u16, children: &[Entry]) -> SealedBlob {
        let payload = (FIXED + children.len() * (BlobId::LEN + SEALED_ENTRY)) as u32;
        let header = BlobHeader {
            kind: BlobKind::Manifest,
            payload,
        };
        let mut node = header.to_bytes().to_vec();
        node.push(level);
        node.extend(count.to_be_bytes());
        children.iter().for_each(|child| node.extend(child.id.0));
        let clear = node.len();
        for child in children {
            node.extend(child.key.expose());
            node.extend(child.len.to_be_bytes());
        }
        let key = reader().node_key(&node);
        cipher::apply(key.expose(), 0, &mut node[clear..]).unwrap();
        SealedBlob {
            id: BlobId::of(&node),
            key,
            len: children
                .iter()
                .fold(0, |sum, child| child.len.wrapping_add(sum)),
            bytes: node.into(),
        }
    }

    /// What opening gives, which a capability's holder must see alike.
    fn open(node: &SealedBlob, shape: &Shape) -> Result<Node, OpenError> {
        let SealedBlob { id, key, bytes, .. } = node;
        let opened = open_node(&reader(), id, key, shape, bytes);
        assert_eq!(open_shared_node(id, key, shape, bytes), opened);
        opened
    }

    fn of(level: u8, lens: &[u64]) -> SealedBlob {
        let children: Vec<Entry> = lens.iter().map(|len| child(*len)).collect();
        crafted(level, lens.len() as u16, &children)
    }

    #[test]
    fn what_is_crafted_by_the_rules_opens() {
        let node = of(1, &[4, 4, 3]);
        let entries = [4, 4, 3].map(child);
        let sealed = seal_node(&reader(), 1, &entries).unwrap();
        assert_eq!(node, sealed);
        let opened = open(&node, &shape(1, 11)).unwrap();
        assert_eq!((opened.level, &opened.entries[..]), (1, &entries[..]));
        assert!(open(&of(8, &[8; FANOUT_MAX]), &shape(8, 8 * 512)).is_ok());
    }

    #[test]
    fn a_node_of_a_level_or_a_count_that_there_is_not_is_not_opened() {
        for level in [0, DEPTH_MAX + 1, u8::MAX] {
            let node = of(level, &[4, 4]);
            let refused = NodeError::Level(level);
            // The level is not one that its place may ask for either.
            assert_eq!(open(&node, &shape(level, 8)), Err(refused.into()));
            assert_eq!(children(&node.bytes), Err(refused));
        }
        for count in [0, FANOUT_MAX + 1, 1000] {
            let node = of(1, &vec![4; count]);
            let refused = NodeError::Count(count);
            assert_eq!(open(&node, &shape(1, node.len)), Err(refused.into()));
            assert_eq!(children(&node.bytes), Err(refused));
        }
        for count in [1, 3, FANOUT_MAX as u16] {
            let node = crafted(1, count, &[child(4), child(4)]);
            let (count, len) = (count.into(), node.bytes.len());
            let refused = NodeError::Length { count, len };
            assert_eq!(open(&node, &shape(1, 8)), Err(refused.into()));
            assert_eq!(children(&node.bytes), Err(refused));
        }
    }

    #[test]
    fn a_node_whose_children_cannot_lie_side_by_side_is_not_opened() {
        for (lens, refused) in [
            (&[0][..], NodeError::EmptyChild(0)),
            (&[4, 0], NodeError::EmptyChild(1)),
            (&[4, 0, 4], NodeError::EmptyChild(1)),
            (&[4, 5], NodeError::Uneven(1)),
            (&[4, 3, 4], NodeError::Uneven(1)),
            (&[4, 4, 3, 4], NodeError::Uneven(2)),
            (&[u64::MAX, 1], NodeError::Sum),
            (&[1 << 63, 1 << 63], NodeError::Sum),
        ] {
            for level in [1, 2, DEPTH_MAX] {
                let node = of(level, lens);
                // What its place asks for is what the lengths come to, or nearly.
                for len in [node.len, node.len.wrapping_sub(1), u64::MAX] {
                    let opened = open(&node, &shape(level, len));
                    assert_eq!(opened, Err(refused.into()), "{lens:?} at {level}");
                }
            }
        }
        // More or fewer bytes than its place asks for.
        for len in [0, 7, 9, u64::MAX] {
            let opened = open(&of(1, &[4, 4]), &shape(1, len));
            assert_eq!(opened, Err(NodeError::Sum.into()));
        }
    }

    #[test]
    fn children_in_another_order_are_another_node() {
        let entries = [
            child(4),
            Entry {
                id: BlobId([6; 32]),
                ..child(4)
            },
        ];
        let node = crafted(1, 2, &entries);
        let other = crafted(1, 2, &[entries[1].clone(), entries[0].clone()]);
        let shape = shape(1, 8);
        // Where the one is asked for the other is not taken..
        let opened = open_node(&reader(), &node.id, &node.key, &shape, &other.bytes);
        assert_eq!(opened, Err(OpenError::OtherBlob));
        // ..not even by who was told its id, but not its key..
        let opened = open_node(&reader(), &other.id, &node.key, &shape, &other.bytes);
        assert_eq!(opened, Err(OpenError::OtherKey));
        // ..and ids whose order alone is changed do not fit what is sealed.
        let mut swapped = node.bytes.to_vec();
        let ids = BLOB_HEADER + FIXED;
        swapped[ids..ids + 2 * BlobId::LEN].rotate_left(BlobId::LEN);
        let opened = open_node(
            &reader(),
            &BlobId::of(&swapped),
            &node.key,
            &shape,
            &swapped,
        );
        assert_eq!(opened, Err(OpenError::OtherKey));
    }

    #[test]
    fn a_node_is_no_child_of_itself_whatever_its_parent_says() {
        let inner = of(2, &[8]);
        let SealedBlob {
            id,
            key,
            len,
            bytes,
        } = inner.clone();
        let name = |id| Entry {
            id,
            key: key.clone(),
            len,
        };
        // No node can have its own id in it; one that has the id of a node of its
        // own level, or above, is what comes nearest.
        for level in [1, 2] {
            let outer = crafted(level, 1, &[name(id)]);
            let opened = open(&outer, &shape(level, 8)).map(|node| node.entries[0].id);
            let expected = match level {
                // More than a chunk, where a chunk is to be.
                1 => Err(NodeError::ChunkSize(4).into()),
                _ => Ok(id),
            };
            assert_eq!(opened, expected);
        }
        let below = Shape {
            level: 1,
            ..shape(2, 8)
        };
        let other = NodeError::OtherLevel {
            expected: 1,
            found: 2,
        };
        assert_eq!(open(&inner, &below), Err(other.into()));
        // And where a chunk is to be there is no node.
        let opened = open_chunk(&id, &key, 8, bytes.clone(), false);
        assert_eq!(opened, Err(OpenError::Manifest));
        // A replica that gives the parent in the place of the child.
        let outer = crafted(3, 1, &[name(id)]);
        let opened = open_node(&reader(), &id, &key, &shape(2, 8), &outer.bytes);
        assert_eq!(opened, Err(OpenError::OtherBlob));
    }

    fn reader() -> Reader {
        NamespaceSecret::from_bytes([7; 32])
            .writer()
            .reader()
            .clone()
    }

    fn child(len: u64) -> Entry {
        Entry {
            id: BlobId([5; 32]),
            key: BlobKey::from_bytes([9; BlobKey::LEN]),
            len,
        }
    }

    fn shape(level: u8, len: u64) -> Shape {
        Shape {
            level,
            len,
            chunk_size: 4,
        }
    }
}
