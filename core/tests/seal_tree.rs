//! Trees built in any order, and the walks through them.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use peerhold_core::id::BlobId;
use peerhold_core::seal::{
    BlobKey, ChunkBuffer, DEPTH_MAX, Entry, NamespaceSecret, Need, Node, RangeWalk, Reader, Root,
    TreeBuilder, TreeError, WalkError, children, open_chunk, open_node, seal_chunk,
};
use quickcheck::TestResult;

const CHUNK_SIZE: u32 = 16;

quickcheck::quickcheck! {
    fn any_order_of_completion_makes_the_same_tree(
        len: u16, fanout: u8, order: Vec<u16>, other: Vec<u16>, early: bool
    ) -> TestResult {
        if len == 0 {
            return TestResult::discard();
        }
        let (data, fanout) = (data(len % 2048 + 1), usize::from(fanout % 5) + 2);
        let first = File::build(&data, fanout, &order, early);
        let second = File::build(&data, fanout, &other, !early);
        TestResult::from_bool(first.root == second.root && first.blobs == second.blobs)
    }

    fn a_walk_asks_for_just_the_blobs_that_the_range_touches(
        len: u16, fanout: u8, from: u16, to: u16, order: Vec<u16>
    ) -> bool {
        let (data, fanout) = (data(len % 2048 + 1), usize::from(fanout % 5) + 2);
        let file = File::build(&data, fanout, &order, true);
        let range = u64::from(from % 2400)..u64::from(to % 2400);
        let (bytes, asked) = file.read(range.clone());
        let inside = range.start.min(data.len() as u64)..range.end.min(data.len() as u64);
        let expected = data.get(inside.start as usize..inside.end as usize).unwrap_or_default();
        bytes == expected && asked == touched(data.len() as u64, fanout as u64, &inside)
    }
}

#[test]
fn one_chunk_is_its_own_root() {
    let file = File::build(&data(16), 2, &[], true);
    assert_eq!(
        (file.root.depth, file.root.len, file.blobs.len()),
        (0, 16, 1)
    );
    let file = File::build(&data(17), 2, &[], true);
    assert_eq!(
        (file.root.depth, file.root.len, file.blobs.len()),
        (1, 17, 3)
    );
}

#[test]
fn replicas_reach_every_blob_without_keys() {
    let file = File::build(&data(2000), 3, &[5, 1, 9], false);
    let mut todo = vec![(file.root.id, file.root.depth)];
    let mut reached = 0;
    while let Some((id, level)) = todo.pop() {
        reached += 1;
        if level > 0 {
            let (found, ids) = children(&file.blobs[&id]).unwrap();
            assert_eq!(found, level);
            todo.extend(ids.into_iter().map(|id| (id, level - 1)));
        }
    }
    assert_eq!(reached, file.blobs.len());
}

#[test]
fn a_long_file_is_built_and_walked_in_little_memory() {
    let (fanout, chunks) = (8, 100_000_u64);
    let depth = 6;
    let reader = reader();
    let mut tree = TreeBuilder::new(fanout);
    let mut nodes = BTreeMap::new();
    let mut most = 0;
    for index in 0..=chunks {
        match index {
            _ if index < chunks => tree.push(index, leaf(index, 16)).unwrap(),
            _ => tree.finish(chunks).unwrap(),
        }
        most = most.max(tree.held());
        while let Some(pending) = tree.take_full() {
            let sealed = pending.seal(&reader).unwrap();
            tree.node_sealed(pending.level, pending.index, sealed.entry())
                .unwrap();
            nodes.insert(
                sealed.id,
                Node {
                    level: pending.level,
                    entries: pending.entries,
                },
            );
        }
    }
    assert!(most <= fanout * depth, "{most} entries held while building");
    let root = tree.root().unwrap();
    assert_eq!((usize::from(root.depth), root.len), (depth, chunks * 16));

    let mut walk = RangeWalk::new(root, CHUNK_SIZE, 0..u64::MAX);
    let mut most = 0;
    let mut seen = 0;
    while let Some(need) = walk.next_need() {
        most = most.max(walk.held());
        match need.level {
            0 => seen += 1,
            _ => walk.expand(nodes[&need.id].clone()).unwrap(),
        }
    }
    assert!(walk.is_done());
    assert_eq!(seen, chunks);
    assert!(most <= fanout * depth, "{most} entries held while walking");
}

#[test]
fn a_builder_refuses_what_does_not_fit_and_stays_as_it_was() {
    let mut tree = TreeBuilder::new(4);
    assert_eq!(tree.finish(0), Err(TreeError::Empty));
    assert_eq!(tree.finish(4_u64.pow(8) + 1), Err(TreeError::TooDeep));
    tree.push(2, leaf(2, 16)).unwrap();
    assert_eq!(
        tree.push(2, leaf(9, 16)),
        Err(TreeError::Twice { level: 0, index: 2 })
    );
    assert_eq!(
        tree.finish(2),
        Err(TreeError::BehindEnd { level: 0, index: 2 })
    );
    assert_eq!(tree.node_sealed(9, 0, leaf(0, 16)), Err(TreeError::TooDeep));
    tree.finish(3).unwrap();
    assert_eq!(tree.finish(3), Err(TreeError::Finished));
    assert_eq!(
        tree.push(3, leaf(3, 16)),
        Err(TreeError::BehindEnd { level: 0, index: 3 })
    );
    assert_eq!(
        tree.push(u64::MAX, leaf(3, 16)),
        Err(TreeError::BehindEnd {
            level: 0,
            index: u64::MAX
        })
    );
    tree.push(0, leaf(0, 16)).unwrap();
    assert_eq!(tree.take_full(), None);
    tree.push(1, leaf(1, 16)).unwrap();
    let pending = tree.take_full().unwrap();
    assert_eq!(
        (pending.level, pending.index, pending.entries.len()),
        (1, 0, 3)
    );
    assert_eq!(tree.root(), None);
    tree.node_sealed(1, 0, leaf(7, 48)).unwrap();
    assert_eq!(
        tree.root().map(|root| (root.depth, root.len)),
        Some((1, 48))
    );
}

#[test]
fn a_walk_ends_though_every_node_names_itself() {
    // What no hash allows, and a walk does not rely on that.
    let itself = leaf(1, 64);
    let root = Root {
        id: itself.id,
        key: itself.key.clone(),
        depth: DEPTH_MAX,
        len: 64,
    };
    let mut walk = RangeWalk::new(&root, CHUNK_SIZE, 0..64);
    let mut levels = Vec::new();
    while let Some(need) = walk.next_need() {
        assert_eq!((need.id, need.covers()), (itself.id, 64));
        levels.push(need.level);
        let node = |level| Node {
            level,
            entries: vec![itself.clone()],
        };
        if need.level > 0 {
            // A node that is below itself is of its own level, not of the next.
            let above = walk.expand(node(need.level + 1));
            assert_eq!(above, Err(WalkError::OtherNode));
            walk.expand(node(need.level)).unwrap();
        }
    }
    assert_eq!(levels, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert!(walk.is_done());
}

#[test]
fn a_node_that_is_reached_twice_is_walked_at_each_of_its_places() {
    let chunk = u64::from(CHUNK_SIZE);
    let file = Root {
        id: leaf(0, 0).id,
        key: BlobKey::from_bytes([1; 32]),
        depth: 2,
        len: 4 * chunk,
    };
    let twice = |level, child: Entry| Node {
        level,
        entries: vec![child.clone(), child],
    };
    let mut walk = RangeWalk::new(&file, CHUNK_SIZE, 0..4 * chunk);
    let mut spans = Vec::new();
    while let Some(need) = walk.next_need() {
        match need.level {
            0 => spans.push(need.span),
            1 => walk.expand(twice(1, leaf(2, chunk))).unwrap(),
            _ => walk.expand(twice(2, leaf(1, 2 * chunk))).unwrap(),
        }
    }
    let chunks = (0..4).map(|at| at * chunk..(at + 1) * chunk);
    assert_eq!(spans, chunks.collect::<Vec<_>>());
}

#[test]
fn a_walk_refuses_a_node_that_it_did_not_ask_for() {
    let file = File::build(&data(100), 4, &[], true);
    let mut walk = RangeWalk::new(&file.root, CHUNK_SIZE, 0..100);
    let stray = Node {
        level: 1,
        entries: vec![leaf(0, 100)],
    };
    assert_eq!(walk.expand(stray.clone()), Err(WalkError::NotWaiting));
    let need = walk.next_need().unwrap();
    assert_eq!(
        (need.level, need.covers(), walk.next_need()),
        (2, 100, None)
    );
    assert!(walk.is_waiting() && !walk.is_done());
    assert_eq!(walk.expand(stray), Err(WalkError::OtherNode));
    let short = Node {
        level: 2,
        entries: vec![leaf(0, 99)],
    };
    assert_eq!(walk.expand(short), Err(WalkError::OtherNode));
    let endless = Node {
        level: 2,
        entries: vec![leaf(0, u64::MAX), leaf(1, 101)],
    };
    assert_eq!(walk.expand(endless), Err(WalkError::OtherNode));
    walk.expand(file.open(&need)).unwrap();
    assert_eq!(walk.next_need().unwrap().level, 1);
}

/// A sealed file: its tree, and all its blobs by id.
struct File {
    root: Root,
    blobs: BTreeMap<BlobId, Bytes>,
}

impl File {
    /// Seals `data`; what gets done next is drawn from `order`. `early`: the
    /// end is known before the first chunk is sealed.
    fn build(data: &[u8], fanout: usize, order: &[u16], early: bool) -> Self {
        let reader = reader();
        let mut tree = TreeBuilder::new(fanout);
        let mut blobs = BTreeMap::new();
        let chunks: Vec<&[u8]> = data.chunks(CHUNK_SIZE as usize).collect();
        let mut running: Vec<(u8, u64, Entry)> = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut buffer = ChunkBuffer::with_capacity(CHUNK_SIZE as usize);
            assert_eq!(buffer.extend(chunk), chunk.len());
            let sealed = seal_chunk(&reader, buffer, 1).unwrap();
            running.push((0, index as u64, sealed.entry()));
            blobs.insert(sealed.id, sealed.bytes);
        }
        if early {
            tree.finish(chunks.len() as u64).unwrap();
        }
        let mut draws = order.iter().copied().cycle();
        while !running.is_empty() {
            let draw = usize::from(draws.next().unwrap_or(0));
            let (level, index, entry) = running.remove(draw % running.len());
            tree.node_sealed(level, index, entry).unwrap();
            if !early && running.is_empty() && tree.root().is_none() {
                let _ = tree.finish(chunks.len() as u64);
            }
            while let Some(pending) = tree.take_full() {
                let sealed = pending.seal(&reader).unwrap();
                running.push((pending.level, pending.index, sealed.entry()));
                blobs.insert(sealed.id, sealed.bytes);
            }
        }
        assert_eq!(tree.held(), 0);
        Self {
            root: tree.root().unwrap().clone(),
            blobs,
        }
    }

    fn open(&self, need: &Need) -> Node {
        open_node(
            &reader(),
            &need.id,
            &need.key,
            &need.shape(),
            &self.blobs[&need.id],
        )
        .unwrap()
    }

    /// The bytes of a range, and what was asked for: level and start.
    fn read(&self, range: Range<u64>) -> (Vec<u8>, Vec<(u8, u64)>) {
        let mut walk = RangeWalk::new(&self.root, CHUNK_SIZE, range);
        let mut bytes = Vec::new();
        let mut asked = Vec::new();
        while let Some(need) = walk.next_need() {
            asked.push((need.level, need.span.start));
            if need.level > 0 {
                walk.expand(self.open(&need)).unwrap();
            } else {
                let blob = self.blobs[&need.id].clone();
                let len = need.covers() as u32;
                let plain = open_chunk(&need.id, &need.key, len, blob, false).unwrap();
                bytes.extend_from_slice(&plain[need.part()]);
            }
        }
        assert!(walk.is_done());
        (bytes, asked)
    }
}

/// The model: what a range touches, found without a tree, in the order of a
/// walk from the root down.
fn touched(size: u64, fanout: u64, range: &Range<u64>) -> Vec<(u8, u64)> {
    let mut spans = vec![u64::from(CHUNK_SIZE)];
    while spans[spans.len() - 1] < size {
        spans.push(spans[spans.len() - 1] * fanout);
    }
    let mut blobs = Vec::new();
    for (level, span) in spans.iter().enumerate() {
        for start in (0..size).step_by(*span as usize) {
            let end = (start + span).min(size);
            if !range.is_empty() && start < range.end && end > range.start {
                blobs.push((start, std::cmp::Reverse(level as u8)));
            }
        }
    }
    blobs.sort();
    blobs
        .into_iter()
        .map(|(start, level)| (level.0, start))
        .collect()
}

fn reader() -> Reader {
    NamespaceSecret::from_bytes([7; 32])
        .writer()
        .reader()
        .clone()
}

/// An entry that stands for a blob, for tests that open none.
fn leaf(number: u64, len: u64) -> Entry {
    let id = BlobId::of(&number.to_be_bytes());
    Entry {
        id,
        key: BlobKey::from_bytes([1; 32]),
        len,
    }
}

/// Bytes of which no two chunks are alike.
fn data(len: u16) -> Vec<u8> {
    (0..len)
        .flat_map(|at| at.wrapping_mul(40_503).to_be_bytes())
        .take(len.into())
        .collect()
}
