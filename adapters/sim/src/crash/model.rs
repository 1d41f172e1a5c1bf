//! What a store holds, as far as a scenario put it there, and what it may hold
//! after a crash.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peerhold_core::NodeId;
use peerhold_core::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, DiskOp, Owed, Part, RecordKey, Row, Seen,
    StoredRecord,
};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, PutId};
use peerhold_core::version::{RecordId, Version};
use peerhold_store::Store;
use peerhold_store::vfs::Vfs;

use crate::tally::Tally;

pub(super) const OURS: NamespaceId = NamespaceId([1; 32]);
pub(super) const US: NodeId = NodeId([9; 32]);

/// Something that is there by itself, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Blob(BlobId),
    Claim(BlobId, PutId),
    Record(RecordKey, RecordId),
    Members,
    Debt(Debt),
    Seen(RecordKey),
    Starts,
    Owner,
}

/// What a thing is; `None` if it is not there. The first bytes of a hash where
/// it is longer.
pub(super) type Word = Option<u64>;

/// What was said of each thing.
pub(super) type Words = BTreeMap<Thing, Word>;

fn word(bytes: &[u8]) -> Word {
    let hash = blake3::hash(bytes);
    hash.as_bytes()
        .first_chunk()
        .map(|first| u64::from_be_bytes(*first))
}

fn record_word(record: &StoredRecord) -> Word {
    let parts = [&record.head, &record.meta, &record.content];
    let lens = parts.map(|part| (part.len() as u64).to_be_bytes());
    let mut all = lens.concat();
    parts
        .into_iter()
        .for_each(|part| all.extend_from_slice(part));
    word(&all)
}

fn seen_word(seen: &Seen) -> Word {
    let id = [&seen.id.version.to_bytes()[..], &seen.id.head[..]].concat();
    word(&[&id[..], &seen.order.to_be_bytes()].concat())
}

/// What a completed operation makes true.
pub(super) fn says(kind: &DiskKind, before: &Words) -> Words {
    let mut words = Words::new();
    match kind {
        DiskKind::Load => {
            let starts = before.get(&Thing::Starts).copied().flatten();
            words.insert(Thing::Starts, Some(starts.unwrap_or(0) + 1));
        }
        DiskKind::PutBlob { claim, bytes } => {
            words.insert(Thing::Blob(claim.blob), word(bytes));
            words.insert(Thing::Claim(claim.blob, claim.put), Some(1));
        }
        DiskKind::Claim(claim) => {
            words.insert(Thing::Claim(claim.blob, claim.put), Some(1));
        }
        DiskKind::ForgetBlob(id) => {
            words.insert(Thing::Blob(*id), None);
            let claims = before.keys().copied();
            let claims = claims.filter(|thing| matches!(thing, Thing::Claim(of, _) if of == id));
            words.extend(claims.map(|thing| (thing, None)));
        }
        DiskKind::PutRecord(record) => {
            words.insert(Thing::Record(record.key, record.id()), record_word(record));
        }
        DiskKind::PutMembers(bytes) => {
            words.insert(Thing::Members, word(bytes));
        }
        DiskKind::PutDebts(debts) => {
            words.extend(debts.iter().map(|debt| (Thing::Debt(*debt), Some(1))));
        }
        DiskKind::ClearDebts(debts) => {
            words.extend(debts.iter().map(|debt| (Thing::Debt(*debt), None)));
        }
        DiskKind::NoteSeen { seen, forget } => {
            words.extend(forget.iter().map(|key| (Thing::Seen(*key), None)));
            words.extend(
                seen.iter()
                    .map(|seen| (Thing::Seen(seen.key), seen_word(seen))),
            );
        }
        _ => {}
    }
    words
}

/// What a store may say after a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// What was acknowledged last, of all that was ever touched.
    pub(super) told: Words,
    /// What each thing may have become by what is under way, or ended unknown.
    flying: BTreeMap<Thing, Vec<Word>>,
}

impl Expected {
    /// The operation is under way.
    pub(super) fn begin(&mut self, kind: &DiskKind) {
        self.begin_words(says(kind, &self.told));
    }

    /// This may be so from now on.
    pub(super) fn begin_words(&mut self, words: Words) {
        for (thing, word) in words {
            self.flying.entry(thing).or_default().push(word);
        }
    }

    /// All that was under way is acknowledged.
    pub(super) fn end(&mut self) {
        for (thing, words) in std::mem::take(&mut self.flying) {
            self.told.extend(words.last().map(|word| (thing, *word)));
        }
    }

    /// These operations are acknowledged, whatever else is under way.
    pub(super) fn end_of(&mut self, kinds: &[DiskKind]) {
        for kind in kinds {
            let words = says(kind, &self.told);
            self.flying.retain(|thing, _| !words.contains_key(thing));
            self.told.extend(words);
        }
    }

    /// This operation has not happened.
    pub(super) fn undo(&mut self, kind: &DiskKind) {
        for thing in says(kind, &self.told).into_keys() {
            if let Entry::Occupied(mut flying) = self.flying.entry(thing) {
                flying.get_mut().pop();
                if flying.get().is_empty() {
                    flying.remove();
                }
            }
        }
    }

    fn things(&self) -> BTreeSet<Thing> {
        self.told
            .keys()
            .chain(self.flying.keys())
            .copied()
            .collect()
    }

    fn allows(&self, thing: &Thing, word: Word) -> bool {
        let told = self.told.get(thing).copied().flatten();
        let flying = self.flying.get(thing);
        word == told || flying.is_some_and(|words| words.contains(&word))
    }

    /// Looks at all that the store says, and gives what it must say from now on.
    ///
    /// # Errors
    /// What it says and may not say.
    pub(super) fn check<V: Vfs>(&self, store: &Store<V>) -> Result<Self, String> {
        let mut words = self.observe(store)?;
        for (thing, word) in &words {
            if !self.allows(thing, *word) {
                let told = self.told.get(thing).copied().flatten();
                return Err(format!("{thing:?} is {word:x?}, and was {told:x?}"));
            }
        }
        self.check_names(store, &words)?;
        self.check_counts(store, &words)?;
        words.extend(says(&DiskKind::Load, &words));
        let mut known = self.clone();
        known.told.extend(words);
        // Claims are counted, not asked for: about one that was under way there
        // is nothing new.
        known
            .flying
            .retain(|thing, _| matches!(thing, Thing::Claim(..)));
        for thing in known.flying.keys() {
            known.told.entry(*thing).or_insert(None);
        }
        Ok(known)
    }

    /// Looks at what the store says when bits of its disk have been lost: some
    /// of it may be gone, but nothing else may have come in its place.
    ///
    /// # Errors
    /// As of [`Expected::check`].
    pub(super) fn check_damaged<V: Vfs>(&self, store: &Store<V>) -> Result<Self, String> {
        let mut known = Self::default();
        let loaded = run(store, DiskKind::Load).or_else(|_| run(store, DiskKind::Load));
        let starts = match loaded {
            Ok(DiskData::Loaded(loaded)) => loaded.starts,
            other => return Err(format!("a load gives {other:?}")),
        };
        for thing in self.things() {
            let word = match thing {
                Thing::Blob(id) => match run(store, DiskKind::GetBlob(id)) {
                    Ok(DiskData::Blob(bytes)) => word(&bytes),
                    Err(DiskError::NotFound | DiskError::Corrupt) => None,
                    other => return Err(format!("{thing:?}: {other:?}")),
                },
                Thing::Record(key, id) => {
                    let (at, part) = (Some(id), Part::All);
                    match run(store, DiskKind::GetRecord { key, at, part }) {
                        Ok(DiskData::Record(record)) => record.as_ref().and_then(record_word),
                        Err(DiskError::Corrupt) => None,
                        other => return Err(format!("{thing:?}: {other:?}")),
                    }
                }
                _ => continue,
            };
            if word.is_some() && !self.allows(&thing, word) {
                // A drop that is lost brings back what it has dropped.
                if !matches!(thing, Thing::Blob(_)) {
                    return Err(format!("{thing:?} is {word:x?}"));
                }
            }
            known.told.insert(thing, word);
        }
        known.told.insert(Thing::Starts, Some(starts));
        Ok(known)
    }

    fn observe<V: Vfs>(&self, store: &Store<V>) -> Result<Words, String> {
        let DiskData::Loaded(loaded) = one(store, DiskKind::Load)? else {
            return Err("a load loads nothing".to_owned());
        };
        if loaded.lost > 0 {
            return Err(format!("{} entries are said to be lost", loaded.lost));
        }
        let mut words = Words::new();
        words.insert(
            Thing::Starts,
            loaded.starts.checked_sub(1).filter(|n| *n > 0),
        );
        words.insert(Thing::Members, loaded.members.as_deref().and_then(word));
        words.extend(
            loaded
                .debts
                .iter()
                .map(|debt| (Thing::Debt(*debt), Some(1))),
        );
        let seen = loaded.seen.iter();
        words.extend(seen.map(|seen| (Thing::Seen(seen.key), seen_word(seen))));
        let owner = store.owner().map_err(|error| error.to_string())?;
        words.insert(Thing::Owner, owner.and_then(|id| word(&id.0)));
        for thing in self.things() {
            let word = match thing {
                Thing::Blob(id) => {
                    let held = one(store, DiskKind::HasBlob(id))?;
                    let held = held == DiskData::Claimed { held: true };
                    match run(store, DiskKind::GetBlob(id)) {
                        Ok(DiskData::Blob(bytes)) if held => word(&bytes),
                        Err(DiskError::NotFound) if !held => None,
                        other => return Err(format!("{thing:?}: held: {held}, but {other:?}")),
                    }
                }
                Thing::Record(key, id) => {
                    let (at, part) = (Some(id), Part::All);
                    match one(store, DiskKind::GetRecord { key, at, part })? {
                        DiskData::Record(record) => record.as_ref().and_then(record_word),
                        other => return Err(format!("{thing:?}: {other:?}")),
                    }
                }
                // Counted, see `check_counts`.
                Thing::Claim(..) => continue,
                _ => words.get(&thing).copied().flatten(),
            };
            words.insert(thing, word);
        }
        Ok(words)
    }

    /// A name's newest record is the newest that is there, and its versions
    /// are those that are.
    fn check_names<V: Vfs>(&self, store: &Store<V>, words: &Words) -> Result<(), String> {
        let mut names: BTreeMap<RecordKey, Vec<RecordId>> = BTreeMap::new();
        for (thing, word) in words {
            if let Thing::Record(key, id) = thing {
                let held = names.entry(*key).or_default();
                held.extend(word.map(|_| *id));
            }
        }
        for (key, mut held) in names {
            held.sort_unstable();
            let (at, part, below, max) = (None, Part::Head, None, 1 << 20);
            let newest = one(store, DiskKind::GetRecord { key, at, part })?;
            let found = match &newest {
                DiskData::Record(record) => record.as_ref().map(StoredRecord::id),
                other => return Err(format!("newest of {key:?}: {other:?}")),
            };
            let rows = one(store, DiskKind::ListVersions { key, below, max })?;
            let DiskData::Page(page) = rows else {
                return Err(format!("versions of {key:?}: {rows:?}"));
            };
            let mut listed: Vec<_> = page.rows.iter().map(Row::id).collect();
            listed.reverse();
            if found != held.last().copied() || listed != held {
                return Err(format!("{key:?} has {held:?}, {listed:?} and {found:?}"));
            }
        }
        Ok(())
    }

    fn check_counts<V: Vfs>(&self, store: &Store<V>, words: &Words) -> Result<(), String> {
        let stats = store.stats();
        let count = |of: fn(&Thing) -> bool| {
            let held = words
                .iter()
                .filter(|(thing, word)| of(thing) && word.is_some());
            held.count() as u64
        };
        let held = [
            (stats.blobs, count(|thing| matches!(thing, Thing::Blob(_)))),
            (
                stats.records,
                count(|thing| matches!(thing, Thing::Record(..))),
            ),
            (stats.debts, count(|thing| matches!(thing, Thing::Debt(_)))),
            (stats.damaged, 0),
        ];
        if held.iter().any(|(said, found)| said != found) {
            return Err(format!("counts (said, found) do not fit: {held:?}"));
        }
        let things = self.things();
        let claims = things
            .iter()
            .filter(|thing| matches!(thing, Thing::Claim(..)));
        let (mut least, mut most) = (0, 0);
        for claim in claims {
            least += u64::from(!self.allows(claim, None));
            most += u64::from(self.allows(claim, Some(1)));
        }
        if !(least..=most).contains(&stats.claims) {
            let claims = stats.claims;
            return Err(format!("{claims} claims instead of {least} to {most}"));
        }
        Ok(())
    }
}

/// Executes one operation by itself.
pub(super) fn run<V: Vfs>(store: &Store<V>, kind: DiskKind) -> Result<DiskData, DiskError> {
    let mut done = store.commit(vec![store.prepare(DiskOp::detached(kind))]);
    let done = done.pop();
    done.map_or(Err(DiskError::NotFound), |done| done.result().clone())
}

/// Executes operations as one batch, all of which must succeed.
pub(super) fn batch<V: Vfs>(
    store: &Store<V>,
    expected: &mut Expected,
    kinds: &[DiskKind],
) -> Result<(), String> {
    kinds.iter().for_each(|kind| expected.begin(kind));
    let ops = kinds.iter().cloned().map(DiskOp::detached);
    let prepared = ops.map(|op| store.prepare(op)).collect();
    for (done, kind) in store.commit(prepared).iter().zip(kinds) {
        let failed = |error: &_| format!("{:?}: {error}", kind.key());
        done.result().as_ref().map_err(failed)?;
    }
    Ok(())
}

/// Executes operations as one batch, any of which may fail. Gives how often
/// which error was met.
///
/// # Errors
/// A blob that has been read is not the one that it should be.
pub(super) fn attempt<V: Vfs>(
    store: &Store<V>,
    expected: &mut Expected,
    kinds: &[DiskKind],
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    kinds.iter().for_each(|kind| expected.begin(kind));
    let ops = kinds.iter().cloned().map(DiskOp::detached);
    let prepared = ops.map(|op| store.prepare(op)).collect();
    for (done, kind) in store.commit(prepared).iter().zip(kinds) {
        match (done.result(), kind) {
            (Ok(DiskData::Blob(found)), DiskKind::GetBlob(id)) if BlobId::of(found) != *id => {
                return Err(format!("{id:?} is other bytes"));
            }
            (Ok(_), _) => expected.end_of(std::slice::from_ref(kind)),
            // Nobody knows.
            (Err(DiskError::SyncFailed), _) => tally.count("store: sync failed"),
            (Err(error), _) => {
                expected.undo(kind);
                tally.count(match error {
                    DiskError::NoSpace => "store: no space",
                    _ => "store: failed",
                });
            }
        }
    }
    Ok(tally)
}

fn one<V: Vfs>(store: &Store<V>, kind: DiskKind) -> Result<DiskData, String> {
    let said = format!("{:?}", kind.key());
    run(store, kind).map_err(|error| format!("{said}: {error}"))
}

pub(super) fn owner() -> Words {
    Words::from([(Thing::Owner, word(&US.0))])
}

// What scenarios put.

/// Bytes that differ by seed and do not repeat.
pub(super) fn bytes(seed: u64, len: usize) -> Bytes {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut out);
    out.into()
}

pub(super) fn put(seed: u64, len: usize) -> DiskKind {
    let bytes = bytes(seed, len);
    let claim = Claim {
        blob: BlobId::of(&bytes),
        len: len as u32,
        namespace: OURS,
        tag: NameTag([2; 32]),
        put: PutId([3; 16]),
    };
    DiskKind::PutBlob { claim, bytes }
}

pub(super) fn forget(seed: u64, len: usize) -> DiskKind {
    DiskKind::ForgetBlob(BlobId::of(&bytes(seed, len)))
}

pub(super) fn key(name: u8) -> RecordKey {
    RecordKey {
        namespace: OURS,
        tag: NameTag([name; 32]),
    }
}

fn version(n: u64) -> Version {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Version::from_bytes(bytes)
}

pub(super) fn record(name: u8, n: u64, content: usize) -> DiskKind {
    let head = bytes(n + 1000 * u64::from(name), 200);
    DiskKind::PutRecord(StoredRecord {
        key: key(name),
        version: version(n),
        head_hash: *blake3::hash(&head).as_bytes(),
        head,
        meta: bytes(n + 1, 50),
        content: bytes(n + 2, content),
    })
}

pub(super) fn seen(name: u8, n: u8) -> Seen {
    Seen {
        key: key(name),
        id: RecordId {
            version: version(n.into()),
            head: [n; 32],
        },
        order: n.into(),
    }
}

pub(super) fn debt(target: u8, name: u8) -> Debt {
    Debt {
        target: NodeId([target; 32]),
        owed: Owed::Record {
            key: key(name),
            id: RecordId {
                version: version(3),
                head: [4; 32],
            },
        },
    }
}
