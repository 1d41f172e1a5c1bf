//! Whatever members hold, have damaged or do not answer, and however they cut
//! it into pages: a list is what the rules make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use peerhold_core::disk::StoredRecord;
use peerhold_core::placement::{Candidate, Placement, Slot};
use peerhold_core::{Listed, NameTag, NodeId, OpError, RecordId, Unconfirmed};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::listers::{Cluster, history_of, list_of, version};

const NAMES: usize = 8;
const VERSIONS: usize = 4;
const NEEDED: usize = 2;

/// Every record that any member holds, by name and version; some remove.
fn records() -> &'static [[StoredRecord; VERSIONS]; NAMES] {
    static RECORDS: OnceLock<[[StoredRecord; VERSIONS]; NAMES]> = OnceLock::new();
    RECORDS.get_or_init(|| {
        std::array::from_fn(|name| {
            std::array::from_fn(|at| {
                let size = ((name + at) % 4 > 0).then_some(100 * name + at);
                version(&format!("name {name}"), at as u64, size)
            })
        })
    })
}

#[derive(Clone, Debug)]
struct Case {
    members: u8,
    /// Name, version, and which members hold it.
    held: Vec<(u8, u8, u8)>,
    /// Name, version, and at which members it is damaged.
    damaged: Vec<(u8, u8, u8)>,
    /// Rows in a page of each member.
    rows: Vec<u8>,
    silent: u8,
    removed: bool,
}

impl Arbitrary for Case {
    fn arbitrary(g: &mut Gen) -> Self {
        // More often than not all answer.
        let silent = u8::arbitrary(g) & u8::arbitrary(g) & u8::arbitrary(g);
        Self {
            members: 3 + u8::arbitrary(g) % 3,
            held: Vec::arbitrary(g),
            damaged: Vec::arbitrary(g).into_iter().take(6).collect(),
            rows: (0..5).map(|_| 1 + u8::arbitrary(g) % 5).collect(),
            silent,
            removed: bool::arbitrary(g),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let case = self.clone();
        let held = self.held.shrink().map(move |held| Self {
            held,
            ..case.clone()
        });
        let case = self.clone();
        let damaged = self.damaged.shrink().map(move |damaged| Self {
            damaged,
            ..case.clone()
        });
        let answers = (self.silent != 0).then(|| Self {
            silent: 0,
            ..self.clone()
        });
        Box::new(held.chain(damaged).chain(answers))
    }
}

fn record(name: u8, at: u8) -> &'static StoredRecord {
    &records()[usize::from(name) % NAMES][usize::from(at) % VERSIONS]
}

impl Case {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::new(self.members);
        for at in 0..cluster.members.len() {
            let has = |mask: u8| mask >> at & 1 == 1;
            for (name, version, _) in self.held.iter().filter(|of| has(of.2)) {
                cluster.hold(&[at], record(*name, *version));
            }
            let member = &mut cluster.members[at];
            let damaged = self.damaged.iter().filter(|of| has(of.2));
            let damaged = damaged.map(|(name, version, _)| record(*name, *version).id());
            member.disk.damaged = damaged.collect();
            member.rows_max = self.rows[at].into();
            member.silent = has(self.silent);
        }
        cluster
    }
}

/// What is shown of a record: the record, its copies, and whether it is
/// unconfirmed.
type Shown = (RecordId, u8, Option<Unconfirmed>);

/// What a cluster's members make of their rows, by the rules.
struct Model {
    placement: Placement,
    telling: Vec<NodeId>,
}

impl Model {
    fn new(cluster: &Cluster) -> Self {
        let candidate = |node| Candidate {
            node,
            weight: 1,
            zone: 0,
        };
        let ids = cluster.members.iter().map(|of| candidate(of.peer.id));
        let telling = cluster.members.iter().filter(|member| !member.silent);
        Self {
            placement: Placement::new(&ids.collect::<Vec<_>>(), 3, 0),
            telling: telling.map(|member| member.peer.id).collect(),
        }
    }

    /// Of those who tell one row each, and whether it is damaged there.
    fn shown(&mut self, rows: &[(NodeId, &StoredRecord, bool)]) -> Option<Shown> {
        let sound = rows.iter().filter(|(.., damaged)| !damaged);
        let newest = sound.map(|(_, record, _)| record.id()).max()?;
        let key = rows[0].1.key;
        let slot = Slot::of_record(&key.namespace, &key.tag);
        let (mut answered, mut copies) = (0, 0);
        for node in self.placement.replicas(slot) {
            let row = rows.iter().find(|(of, ..)| of == node);
            let damaged = row.is_some_and(|(.., damaged)| *damaged);
            answered += usize::from(self.telling.contains(node) && !damaged);
            copies += u8::from(row.is_some_and(|(_, of, _)| of.id() == newest && !damaged));
        }
        let unconfirmed = (answered < NEEDED).then_some(Unconfirmed {
            answered: answered as u8,
            needed: NEEDED as u8,
            copies,
            durable: 2,
        });
        Some((newest, copies, unconfirmed))
    }

    fn is_unread(&mut self, slot: Slot) -> bool {
        let replicas = self.placement.replicas(slot).iter();
        replicas.filter(|of| self.telling.contains(of)).count() < NEEDED
    }

    /// The outcome, if anyone tells anything.
    fn ended(&self, members: usize, listed: Listed) -> Result<Listed, OpError> {
        if self.telling.is_empty() {
            let (answered, needed) = (0, NEEDED as u8);
            return Err(OpError::Unconfirmed { answered, needed });
        }
        Ok(Listed {
            answered: self.telling.len() as u16,
            members: members as u16,
            needed: NEEDED as u8,
            ..listed
        })
    }
}

#[test]
fn a_list_is_what_its_members_hold() {
    fn holds(case: Case) -> bool {
        let mut cluster = case.cluster();
        let mut model = Model::new(&cluster);
        let mut rows: BTreeMap<NameTag, Vec<_>> = BTreeMap::new();
        for member in cluster.members.iter().filter(|member| !member.silent) {
            for (key, records) in &member.disk.records {
                let newest = records.last().unwrap();
                let damaged = member.disk.damaged.contains(&newest.id());
                let row = (member.peer.id, newest, damaged);
                rows.entry(key.tag).or_default().push(row);
            }
        }
        let (mut expected, mut unreadable) = (Vec::new(), 0);
        for rows in rows.values() {
            match model.shown(rows) {
                Some(shown) => expected.push(shown),
                None => unreadable += 1,
            }
        }
        let removals = removals();
        expected.retain(|(id, ..)| case.removed || !removals.contains(id));
        let listed = Listed {
            entries: expected.len() as u64,
            unreadable,
            unread: (0..=u16::MAX)
                .filter(|at| model.is_unread(Slot(*at)))
                .count() as u32,
            ..Listed::default()
        };
        let ended = model.ended(cluster.members.len(), listed);
        let mut list = list_of();
        list.removed = case.removed;
        let op = cluster.list(list);
        let (entries, result) = cluster.ended(op);
        let told: Vec<Shown> = entries
            .iter()
            .map(|entry| (entry.id, entry.copies, entry.unconfirmed))
            .collect();
        assert_eq!((told, result), (expected, ended));
        true
    }
    QuickCheck::new()
        .rng(Gen::new(60))
        .tests(150)
        .quickcheck(holds as fn(Case) -> bool);
}

/// The records that remove their names.
fn removals() -> BTreeSet<RecordId> {
    let all = records().iter().enumerate();
    let all = all.flat_map(|(name, of)| (name..).zip(of));
    let removals = all.filter(|(at, _)| at % 4 == 0);
    removals.map(|(_, record)| record.id()).collect()
}

#[test]
fn a_history_is_what_its_replicas_hold() {
    fn holds(case: Case) -> bool {
        let mut cluster = case.cluster();
        let mut model = Model::new(&cluster);
        let key = records()[0][0].key;
        let slot = Slot::of_record(&key.namespace, &key.tag);
        let replicas: BTreeSet<NodeId> = model.placement.replicas(slot).iter().copied().collect();
        model.telling.retain(|node| replicas.contains(node));
        let mut rows: BTreeMap<RecordId, Vec<_>> = BTreeMap::new();
        for member in &cluster.members {
            if member.silent || !replicas.contains(&member.peer.id) {
                continue;
            }
            for record in member.disk.records.get(&key).into_iter().flatten() {
                let damaged = member.disk.damaged.contains(&record.id());
                let row = (member.peer.id, record, damaged);
                rows.entry(record.id()).or_default().push(row);
            }
        }
        let (mut expected, mut unreadable) = (Vec::new(), 0);
        for rows in rows.values().rev() {
            match model.shown(rows) {
                Some(shown) => expected.push(shown),
                None => unreadable += 1,
            }
        }
        let listed = Listed {
            entries: expected.len() as u64,
            unreadable,
            unread: model.is_unread(slot).into(),
            ..Listed::default()
        };
        let ended = model.ended(replicas.len(), listed);
        let op = cluster.history(history_of("name 0"));
        let (entries, result) = cluster.ended(op);
        let told: Vec<Shown> = entries
            .iter()
            .map(|entry| (entry.id, entry.copies, entry.unconfirmed))
            .collect();
        assert_eq!((told, result), (expected, ended));
        true
    }
    QuickCheck::new()
        .rng(Gen::new(60))
        .tests(150)
        .quickcheck(holds as fn(Case) -> bool);
}
