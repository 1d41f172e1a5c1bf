//! Placement: the written-down order, shares by weight, little movement when
//! members come and go, replicas in distinct zones.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId};
use peerhold_core::placement::{Candidate, Placement, SLOTS, Slot, place, rank};
use quickcheck::{Arbitrary, Gen, quickcheck};

#[path = "support/hex.rs"]
mod hex;

use hex::unhex_array;

#[test]
fn orders_are_as_written_down() {
    let (mut candidates, mut replicas, mut orders) = (Vec::new(), 0, 0);
    for line in vector_lines(include_str!("vectors/placement.txt")) {
        match line[..] {
            ["map", count, ..] => (candidates, replicas) = (Vec::new(), count.parse().unwrap()),
            ["node", weight, zone, id] => candidates.push(Candidate {
                node: NodeId(unhex_array(id)),
                weight: weight.parse().unwrap(),
                zone: zone.parse().unwrap(),
            }),
            ["slot", slot, ref order @ ..] => {
                let nth = |number: &&str| candidates[number.parse::<usize>().unwrap()].node;
                let expected: Vec<NodeId> = order.iter().map(nth).collect();
                let order = place(Slot(slot.parse().unwrap()), &candidates, replicas);
                assert_eq!(order.nodes, expected, "{line:?}");
                orders += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!(orders, 7 * 11);
}

#[test]
fn slots_are_as_written_down() {
    let mut lines = 0;
    for line in vector_lines(include_str!("vectors/slots.txt")) {
        let (slot, expected) = match line[..] {
            ["blob", id, slot] => (Slot::of_blob(&BlobId(unhex_array(id))), slot),
            ["record", namespace, tag, slot] => {
                let namespace = NamespaceId(unhex_array(namespace));
                (
                    Slot::of_record(&namespace, &NameTag(unhex_array(tag))),
                    slot,
                )
            }
            _ => panic!("{line:?}"),
        };
        assert_eq!(slot, Slot(expected.parse().unwrap()));
        lines += 1;
    }
    assert_eq!(lines, 8);
}

#[test]
fn every_member_is_first_in_its_share_by_weight() {
    let weights = [100, 100, 200, 400, 50, 1000];
    let total: u16 = weights.iter().sum();
    let candidates: Vec<_> = (0..)
        .zip(weights)
        .map(|(k, weight)| member(k, weight, 0))
        .collect();
    let firsts = slots_of(&candidates, 1);
    for candidate in &candidates {
        let share = SLOTS as f64 * f64::from(candidate.weight) / f64::from(total);
        let off = firsts[&candidate.node] as f64 / share - 1.0;
        // Chance alone moves the smallest share by about 2 % (one sigma).
        assert!(off.abs() < 0.06, "{candidate:?} is off by {off}");
    }
}

#[test]
fn equal_members_hold_equally_many_replicas() {
    for count in [3, 7, 30] {
        let candidates: Vec<_> = (0..count).map(|k| member(k, 10, 0)).collect();
        let held = slots_of(&candidates, 3);
        let share = SLOTS as f64 * 3.0 / count as f64;
        for (node, slots) in held {
            let off = slots as f64 / share - 1.0;
            assert!(off.abs() < 0.05, "{node:?} of {count} is off by {off}");
        }
    }
}

#[test]
fn members_join_and_leave_without_moving_others() {
    let before: Vec<_> = (0..9)
        .map(|k| member(k, 10 + k as u16, k as u16 % 4))
        .collect();
    let joined = member(9, 15, 1);
    let mut after = before.clone();
    after.push(joined);
    let mut old = Placement::new(&before, 3, 0);
    let mut new = Placement::new(&after, 3, 0);
    let mut gained = 0;
    for slot in slots() {
        let (old, new) = (old.replicas(slot), new.replicas(slot));
        if new.contains(&joined.node) {
            gained += 1;
            assert_eq!(new.iter().filter(|node| !old.contains(node)).count(), 1);
        } else {
            assert_eq!(old, new, "{slot:?} moved between members that stayed");
        }
    }
    assert!(
        gained > SLOTS / 9 && gained < SLOTS / 2,
        "{gained} slots gained"
    );
}

#[test]
fn a_greater_weight_only_draws_slots_to_its_member() {
    let before: Vec<_> = (0..6).map(|k| member(k, 10, 0)).collect();
    let mut after = before.clone();
    after[2].weight = 20;
    let mut old = Placement::new(&before, 2, 0);
    let mut new = Placement::new(&after, 2, 0);
    for slot in slots() {
        let (old, new) = (set(old.replicas(slot)), set(new.replicas(slot)));
        assert!(new == old || new.difference(&old).eq([&after[2].node]));
    }
}

#[test]
fn nobody_is_chosen_from_nobody() {
    let order = place(Slot(7), &[], 3);
    assert_eq!((order.nodes.len(), order.replicas), (0, 0));
    let mut clients = Placement::new(&[member(1, 0, 0)], 3, SLOTS);
    assert_eq!(clients.replicas(Slot(7)), []);
    assert_eq!(clients.replica_count(), 0);
}

#[test]
fn of_a_member_named_twice_the_heavier_counts() {
    let others = [member(1, 10, 0), member(2, 10, 0)];
    let once = [others[0], others[1], member(3, 30, 0)];
    let twice = [member(3, 1, 0), others[0], member(3, 30, 0), others[1]];
    for slot in (0..200).map(Slot) {
        assert_eq!(rank(slot, &once), rank(slot, &twice));
    }
}

quickcheck! {
    fn the_order_of_candidates_is_nothing(map: Map, slot: u16, turn: usize) -> bool {
        let mut turned = map.candidates.clone();
        turned.rotate_left(turn % map.candidates.len().max(1));
        turned.reverse();
        place(Slot(slot), &turned, map.replicas) == place(Slot(slot), &map.candidates, map.replicas)
    }

    fn an_order_has_every_weighty_candidate_once(map: Map, slot: u16) -> bool {
        let order = place(Slot(slot), &map.candidates, map.replicas);
        let mut nodes = order.nodes.clone();
        nodes.sort_unstable();
        let expected: Vec<_> = map.weighty().map(|candidate| candidate.node).collect();
        nodes == expected
            && order.replicas == map.replicas.min(nodes.len())
            && order.replicas().len() + order.others().len() == nodes.len()
    }

    fn replicas_are_in_as_many_zones_as_there_can_be(map: Map, slot: u16) -> bool {
        let order = place(Slot(slot), &map.candidates, map.replicas);
        let zones: BTreeMap<_, _> = map.weighty().map(|c| (c.node, c.zone)).collect();
        let all: BTreeSet<_> = zones.values().collect();
        let distinct = order.replicas.min(all.len());
        let first: BTreeSet<_> = order.replicas()[..distinct].iter().map(|n| zones[n]).collect();
        first.len() == distinct
    }

    // The rule as PLACE-8 words it, without the shortcuts of the real one.
    fn replicas_and_others_follow_the_rank(map: Map, slot: u16) -> bool {
        let zones: BTreeMap<_, _> = map.candidates.iter().map(|c| (c.node, c.zone)).collect();
        let rank = rank(Slot(slot), &map.candidates);
        let mut replicas: Vec<NodeId> = Vec::new();
        for node in &rank {
            let taken = replicas.iter().any(|other| zones[other] == zones[node]);
            if replicas.len() < map.replicas && !taken {
                replicas.push(*node);
            }
        }
        for node in &rank {
            if replicas.len() < map.replicas && !replicas.contains(node) {
                replicas.push(*node);
            }
        }
        let others: Vec<_> = rank.into_iter().filter(|node| !replicas.contains(node)).collect();
        let order = place(Slot(slot), &map.candidates, map.replicas);
        order.replicas() == replicas && order.others() == others
    }

    fn a_cache_of_any_size_changes_nothing(map: Map, size: u8, asked: Vec<u16>) -> bool {
        let mut cached = Placement::new(&map.candidates, map.replicas, usize::from(size) % 8);
        asked.iter().chain(&asked).map(|&slot| Slot(slot % 16)).all(|slot| {
            let order = place(slot, &map.candidates, map.replicas);
            cached.replicas(slot) == order.replicas() && cached.order(slot) == order
        })
    }

    fn joining_changes_one_place_at_most(map: Map, weight: u16, zone: u16, slot: u16) -> bool {
        let joined = member(1000, weight.max(1), zone % 4);
        let mut after = map.candidates.clone();
        after.push(joined);
        let before = place(Slot(slot), &map.candidates, map.replicas);
        let after = place(Slot(slot), &after, map.replicas);
        let (old, new) = (set(before.replicas()), set(after.replicas()));
        let one_came = new.difference(&old).eq([&joined.node]);
        old == new || (one_came && old.difference(&new).count() <= 1)
    }
}

#[derive(Clone, Debug)]
struct Map {
    candidates: Vec<Candidate>,
    replicas: usize,
}

impl Map {
    /// By node id.
    fn weighty(&self) -> impl Iterator<Item = &Candidate> {
        let weighty = self
            .candidates
            .iter()
            .filter(|candidate| candidate.weight > 0);
        let by_id: BTreeMap<_, _> = weighty
            .map(|candidate| (candidate.node, candidate))
            .collect();
        by_id.into_values()
    }
}

impl Arbitrary for Map {
    fn arbitrary(g: &mut Gen) -> Self {
        let count = usize::arbitrary(g) % 20;
        let candidate = |k| {
            let weight = *g.choose(&[0, 1, 5, 100, u16::MAX]).expect("a weight");
            member(k, weight, u16::arbitrary(g) % 4)
        };
        Self {
            candidates: (0..count).map(candidate).collect(),
            replicas: usize::arbitrary(g) % 6,
        }
    }
}

fn member(number: usize, weight: u16, zone: u16) -> Candidate {
    let node = NodeId(BlobId::of(&number.to_be_bytes()).0);
    Candidate { node, weight, zone }
}

fn slots() -> impl Iterator<Item = Slot> {
    (0..=u16::MAX).map(Slot)
}

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

/// How many slots each node is a replica of.
fn slots_of(candidates: &[Candidate], replicas: usize) -> BTreeMap<NodeId, usize> {
    let mut placement = Placement::new(candidates, replicas, 0);
    let mut held = BTreeMap::new();
    for slot in slots() {
        for node in placement.replicas(slot) {
            *held.entry(*node).or_default() += 1;
        }
    }
    held
}

fn vector_lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
}
