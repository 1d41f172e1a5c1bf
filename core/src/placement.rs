//! Placement: which members hold a key (PROTOCOL.md, "Placement").
//!
//! Keys fall into 2^16 [`Slot`]s. For each slot every member draws a number
//! from a hash of slot and member, and weighted rendezvous hashing orders the
//! members by `weight / -log2(number)` (Schindelhauer and Schomaker, "Weighted
//! distributed hash tables", SPAA 2005): a member comes first in a share of the
//! slots that is its share of the weight, and a member that joins or leaves
//! moves only what it gains or loses. Whole numbers only, so that every
//! machine gets the same order.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;
use core::{fmt, iter, mem};

use crate::id::{BlobId, NameTag, NamespaceId, NodeId};

/// How many slots there are.
pub const SLOTS: usize = 1 << 16;

/// One of the classes into which keys fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of a blob.
    pub fn of_blob(id: &BlobId) -> Self {
        //# PLACE-1: The slot of a blob is the first 2 bytes of its id, big-endian.
        Self::first_two(id.as_bytes())
    }

    /// The slot of all records of a name.
    pub fn of_record(namespace: &NamespaceId, tag: &NameTag) -> Self {
        //# PLACE-2: The slot of a record is the first 2 bytes, big-endian, of BLAKE3
        //# derive_key with context "peerhold 2026-11 record slot" over namespace id, then
        //# name tag.
        let mut hasher = blake3::Hasher::new_derive_key("peerhold 2026-11 record slot");
        hasher.update(namespace.as_bytes());
        hasher.update(tag.as_bytes());
        Self::first_two(hasher.finalize().as_bytes())
    }

    fn first_two(bytes: &[u8; 32]) -> Self {
        let [hi, lo, ..] = *bytes;
        Self(u16::from_be_bytes([hi, lo]))
    }
}

/// A member that may be given slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Who.
    pub node: NodeId,
    /// Its share relative to the others'. With 0 it is given nothing.
    pub weight: u16,
    /// What may fail with it: replicas go to distinct zones while there are
    /// any.
    pub zone: u16,
}

/// Everyone's place for one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Every candidate of a weight above 0, once: the replicas, then all
    /// others by falling score.
    pub nodes: Vec<NodeId>,
    /// How many of them, from the front, are the replicas.
    pub replicas: usize,
}

impl Order {
    /// The replicas, those of distinct zones first.
    pub fn replicas(&self) -> &[NodeId] {
        self.nodes.get(..self.replicas).unwrap_or_default()
    }

    /// The others by falling score: where to look when no replica has it.
    pub fn others(&self) -> &[NodeId] {
        self.nodes.get(self.replicas..).unwrap_or_default()
    }
}

/// The candidates by falling score, zones not regarded.
pub fn rank(slot: Slot, candidates: &[Candidate]) -> Vec<NodeId> {
    place(slot, candidates, 0).nodes
}

/// The replicas of a slot, then everyone else. Who asks more than once for a
/// set of candidates keeps a [`Placement`].
pub fn place(slot: Slot, candidates: &[Candidate], replicas: usize) -> Order {
    Placement::new(candidates, replicas, 0).order(slot)
}

/// The placement of one set of candidates, with a cache of replicas.
///
/// A slot that is not cached costs one pass over the candidates, some
/// nanoseconds for each, and no allocation.
pub struct Placement {
    /// By node id, so that the order of indexes settles ties.
    members: Vec<Member>,
    replicas: usize,
    zones: usize,
    cache: Cache,
    /// Work space, kept between calls.
    scored: Vec<Scored>,
    ranked: Vec<Index>,
    skipped: Vec<Index>,
    answer: Vec<NodeId>,
}

impl Placement {
    /// The placement of `replicas` copies on these candidates, in whatever
    /// order they come. Of candidates with the same node the heaviest counts.
    ///
    /// At most `cached_slots` slots are remembered, at 4 bytes and another 4
    /// per replica each; with [`SLOTS`] all of them are, with 0 none.
    pub fn new(candidates: &[Candidate], replicas: usize, cached_slots: usize) -> Self {
        //# PLACE-3: Candidates of weight 0 are left out.
        let mut candidates: Vec<&Candidate> = candidates.iter().filter(|c| c.weight > 0).collect();
        candidates.sort_unstable_by_key(|c| (c.node, Reverse(c.weight), c.zone));
        candidates.dedup_by_key(|c| c.node);
        let members: Vec<Member> = candidates.into_iter().map(Member::new).collect();

        let mut zones: Vec<u16> = members.iter().map(|member| member.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        let replicas = replicas.min(members.len());
        Self {
            replicas,
            zones: zones.len(),
            cache: Cache::new(cached_slots, replicas),
            scored: Vec::with_capacity(members.len()),
            ranked: Vec::with_capacity(members.len()),
            skipped: Vec::with_capacity(members.len()),
            answer: Vec::with_capacity(replicas),
            members,
        }
    }

    /// How many replicas a slot has: as many as asked for, or all candidates
    /// if there are fewer.
    pub fn replica_count(&self) -> usize {
        self.replicas
    }

    /// The replicas of a slot, as [`Order::replicas`] has them.
    pub fn replicas(&mut self, slot: Slot) -> &[NodeId] {
        self.answer.clear();
        if let Some(indexes) = self.cache.get(slot) {
            self.answer.extend(nodes(&self.members, indexes));
        } else {
            self.rank(slot, self.replicas);
            self.ranked.truncate(self.replicas);
            self.cache.set(slot, &self.ranked);
            self.answer.extend(nodes(&self.members, &self.ranked));
        }
        &self.answer
    }

    /// Whether `node` is a replica of the slot.
    pub fn is_replica(&mut self, slot: Slot, node: &NodeId) -> bool {
        self.replicas(slot).contains(node)
    }

    /// The replicas of a slot, then everyone else. Not cached.
    pub fn order(&mut self, slot: Slot) -> Order {
        self.rank(slot, self.members.len());
        Order {
            nodes: nodes(&self.members, &self.ranked).collect(),
            replicas: self.replicas,
        }
    }

    /// Ranks the members of a slot as far as the first `count`, replicas
    /// first. A heap, because most calls need a few of many.
    fn rank(&mut self, slot: Slot, count: usize) {
        self.scored.clear();
        let costs = self.members.iter().map(|member| member.cost(slot));
        self.scored.extend(costs.zip(0..).map(Reverse));
        let mut heap = BinaryHeap::from(mem::take(&mut self.scored));
        let mut next = || heap.pop().map(|Reverse((_, index))| index);

        //# PLACE-8: The replicas are chosen by walking the order: first a candidate of
        //# each zone that has none yet, until there are enough or no zone is left;
        //# then, if there are too few, those passed over and those that follow. Whoever
        //# is not chosen follows the replicas in the order of the slot.
        self.ranked.clear();
        let zone = |index: Index| self.members[index as usize].zone;
        let distinct = self.replicas.min(self.zones);
        while self.ranked.len() < distinct
            && let Some(index) = next()
        {
            if self.ranked.iter().all(|&other| zone(other) != zone(index)) {
                self.ranked.push(index);
            } else {
                self.skipped.push(index);
            }
        }
        self.ranked.append(&mut self.skipped);
        let missing = count.saturating_sub(self.ranked.len());
        self.ranked.extend(iter::from_fn(next).take(missing));
        self.scored = heap.into_vec();
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placement")
            .field("members", &self.members)
            .field("replicas", &self.replicas)
            .field("zones", &self.zones)
            .finish_non_exhaustive()
    }
}

/// A member's place in `Placement::members`.
type Index = u32;

/// The lowest cost is the greatest, then the lowest index.
type Scored = Reverse<(u64, Index)>;

fn nodes(members: &[Member], indexes: &[Index]) -> impl Iterator<Item = NodeId> {
    indexes.iter().map(|&index| members[index as usize].node)
}

#[derive(Clone, Copy, Debug)]
struct Member {
    node: NodeId,
    seed: u64,
    weight: u16,
    zone: u16,
}

impl Member {
    fn new(candidate: &Candidate) -> Self {
        //# PLACE-4: A node's seed is the first 8 bytes, big-endian, of BLAKE3 derive_key with
        //# context "peerhold 2026-11 placement seed" over its node id.
        let mut hasher = blake3::Hasher::new_derive_key("peerhold 2026-11 placement seed");
        hasher.update(candidate.node.as_bytes());
        let mut seed = [0; 8];
        hasher.finalize_xof().fill(&mut seed);
        Self {
            node: candidate.node,
            seed: u64::from_be_bytes(seed),
            weight: candidate.weight,
            zone: candidate.zone,
        }
    }

    /// The inverse of the score, scaled to whole numbers: low comes first.
    fn cost(&self, slot: Slot) -> u64 {
        //# PLACE-7: A node's cost for a slot is floor(L(h) * 2^24 / weight). The order of a
        //# slot is by rising cost, equal costs by rising node id.
        (minus_log2(self.draw(slot)) << 24) / u64::from(self.weight)
    }

    /// Output `slot + 1` of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn draw(&self, slot: Slot) -> u64 {
        //# PLACE-5: A node's number h for a slot is output number slot + 1 of
        //# SplitMix64 with the node's seed; a 0 counts as 1. That is, modulo 2^64: z =
        //# seed + (slot + 1) * 0x9e3779b97f4a7c15; z = (z xor z >> 30) *
        //# 0xbf58476d1ce4e5b9; z = (z xor z >> 27) * 0x94d049bb133111eb; h = z xor z >>
        //# 31.
        let steps = u64::from(slot.0) + 1;
        let z = self
            .seed
            .wrapping_add(steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }
}

/// `-log2(h / 2^64)` in units of 2^-32: from 1 up to 2^38. `h` is at least 1.
/// A chord of 256 is off by at most 0.2 % of the value, near 0 too.
fn minus_log2(h: u64) -> u64 {
    //# PLACE-6: L(h) is -log2(h / 2^64) in units of 2^-32, by chords: with z leading zero
    //# bits in h, i the 8 bits behind the leading one, r the 32 bits behind those (zeros
    //# where h has no more bits), and T the table of 257 entries below,
    //# L = (z + 1) * 2^32 - T[i] - floor((T[i + 1] - T[i]) * r / 2^32).
    let zeros = h.leading_zeros();
    let fraction = h << zeros << 1;
    let [at, ..] = fraction.to_be_bytes();
    let rest = fraction >> 24 & u64::from(u32::MAX);
    let (low, high) = (LOG2[usize::from(at)], LOG2[usize::from(at) + 1]);
    ((u64::from(zeros) + 1) << 32) - low - (((high - low) * rest) >> 32)
}

/// `log2(1 + i / 256)` in units of 2^-32.
static LOG2: [u64; 257] = log2_table();

const fn log2_table() -> [u64; 257] {
    //# PLACE-9: T[i] for i < 256 is made bit by bit: x = (256 + i) * 2^55; 32 times, from the
    //# highest bit of T[i] down, x becomes floor(x * x / 2^63), and if that is 2^64 or more
    //# the bit is 1 and x is halved, rounding down. T[256] = 2^32.
    let mut table = [1 << 32; 257];
    let mut i = 0;
    while i < 256 {
        let mut x = (256 + i as u128) << 55;
        let mut log = 0;
        let mut bit = 0;
        while bit < 32 {
            x = (x * x) >> 63;
            let carry = x >> 64;
            x >>= carry;
            log = log << 1 | carry as u64;
            bit += 1;
        }
        table[i] = log;
        i += 1;
    }
    table
}

/// Replicas of some slots, each in the one place that is its own modulo the
/// number of places.
struct Cache {
    replicas: usize,
    slots: Box<[Option<Slot>]>,
    indexes: Box<[Index]>,
}

impl Cache {
    fn new(slots: usize, replicas: usize) -> Self {
        let slots = slots.min(SLOTS);
        Self {
            replicas,
            slots: vec![None; slots].into_boxed_slice(),
            indexes: vec![0; slots * replicas].into_boxed_slice(),
        }
    }

    fn place(&self, slot: Slot) -> Option<(usize, Range<usize>)> {
        let place = usize::from(slot.0).checked_rem(self.slots.len())?;
        let start = place * self.replicas;
        Some((place, start..start + self.replicas))
    }

    fn get(&self, slot: Slot) -> Option<&[Index]> {
        let (place, range) = self.place(slot)?;
        (self.slots[place] == Some(slot)).then(|| &self.indexes[range])
    }

    fn set(&mut self, slot: Slot, indexes: &[Index]) {
        if let Some((place, range)) = self.place(slot) {
            self.indexes[range].copy_from_slice(indexes);
            self.slots[place] = Some(slot);
        }
    }
}
