//! What fuzzing runs, like `peerhold_core::check`: starts on disks that say
//! anything. A store must open, hand out nothing that is not what its id or
//! check says, take new writes, and be the same at the next start, with its
//! index or without.
//!
//! They are no API: they are public for the fuzz targets, which are shims over
//! them, and for tests that run them over the committed corpus.

use std::sync::OnceLock;

use bytes::Bytes;
use peerhold_core::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, DiskOp, Owed, Part, RecordKey, Row, Seen,
    StoredRecord,
};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::version::Version;

use crate::config::StoreConfig;
use crate::entry::Kind;
use crate::log::LOG;
use crate::open::INDEX;
use crate::segment::{self, SegmentKey};
use crate::store::{Stats, Store};
use crate::vfs::{MemVfs, Vfs, VfsFile};

/// Segments: starts on a log that says anything.
///
/// `data` is one byte of choices and what is done to the log before the start:
/// see `Damage`. Bit 0: the last stop was a crash, and the index lags. Bit 1:
/// there is no index. Bit 2: behind the damage comes one more segment, of which
/// every check is right: entries that are a kind, by how much the sequence
/// number rises, and how far the mark lies behind it, one byte each, and key
/// and body, behind their lengths in one byte each.
///
/// # Panics
/// If the store breaks a promise.
pub fn segment(data: &[u8]) {
    if let Some((disk, forged, sound)) = segment_disk(data) {
        starts(&disk, forged, sound);
    }
}

/// The disk on which `segment` starts with these data; `None` if there are too
/// few of them.
pub fn damaged_segments(data: &[u8]) -> Option<MemVfs> {
    segment_disk(data).map(|(disk, ..)| disk)
}

/// The disk, whether its entries are forged, and whether it is sound.
fn segment_disk(data: &[u8]) -> Option<(MemVfs, bool, bool)> {
    let (choices, mut rest) = data.split_first()?;
    let base = Base::get();
    let disk = match choices & 1 {
        0 => base.stopped.snapshot(),
        _ => base.crashed.snapshot(),
    };
    let segments: Vec<String> = disk
        .files()
        .into_iter()
        .filter(|path| path.starts_with(LOG))
        .collect();
    if choices & 2 != 0 {
        disk.remove(INDEX).expect("it is there");
    }
    let forged = choices & 4 != 0;
    let steps = if forged { 4 } else { usize::MAX };
    let mut sound = !forged;
    for _ in 0..steps {
        let Some(damage) = Damage::take(&mut rest) else {
            break;
        };
        let path = &segments[usize::from(damage.file) % segments.len()];
        damage.strike(&disk, path);
        sound = false;
    }
    if forged {
        add_segment(&disk, rest);
    }
    Some((disk, forged, sound))
}

/// The index: starts on an index that says anything beside a sound log. All
/// that is in the log must be there.
///
/// `data` is what is done to the index, see `Damage`.
///
/// # Panics
/// If the store breaks a promise.
pub fn index(data: &[u8]) {
    let held = starts(&damaged_index(data), false, true);
    assert_eq!(held, Base::get().held, "a sound log is not enough");
}

/// The disk on which `index` starts with these data.
pub fn damaged_index(mut data: &[u8]) -> MemVfs {
    let disk = Base::get().stopped.snapshot();
    while let Some(damage) = Damage::take(&mut data) {
        damage.strike(&disk, INDEX);
    }
    disk
}

/// One thing that is done to a file: four bytes of what, which file and where,
/// and bytes behind their length in one byte.
struct Damage<'a> {
    what: u8,
    file: u8,
    at: u64,
    bytes: &'a [u8],
}

impl<'a> Damage<'a> {
    fn take(from: &mut &'a [u8]) -> Option<Self> {
        let ([what, file, high, low, len], rest) = from.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        *from = rest;
        Some(Self {
            what: *what,
            file: *file,
            at: u64::from(u16::from_be_bytes([*high, *low])),
            bytes,
        })
    }

    fn strike(&self, disk: &MemVfs, path: &str) {
        let Ok(file) = disk.open(path) else {
            return;
        };
        let len = file.len().expect("memory does not fail");
        // Large files are reached in steps, so that every page is.
        let at = match self.what & 8 {
            0 => self.at.min(len),
            _ => self.at.saturating_mul(64).min(len),
        };
        let done = match self.what % 8 {
            0..3 => file.write_at(self.bytes, at),
            3 => file.set_len(at),
            4 => file.write_at(self.bytes, len),
            5 => file.set_len(0).and_then(|()| file.write_at(self.bytes, 0)),
            6 => disk.remove(path),
            // Something that stood elsewhere in the file.
            _ => {
                let mut moved = vec![0; self.bytes.len()];
                let from = len.saturating_sub(at);
                file.read_at(&mut moved, from)
                    .and_then(|_| file.write_at(&moved, at))
            }
        };
        done.expect("memory does not fail");
    }
}

/// Makes a segment of entries whose checks are right.
fn add_segment(disk: &MemVfs, mut rest: &[u8]) {
    const NUMBER: u32 = 1000;
    let base = Base::get();
    let key = SegmentKey::derive(&base.secret, NUMBER);
    let mut sequence = base.next;
    let mut bytes = segment::header(NUMBER, sequence, &key).to_vec();
    while let Some(([kind, rise, behind, key_len, body_len], after)) = rest.split_first_chunk() {
        let (name, after) = after.split_at(after.len().min(usize::from(*key_len)));
        let (body, after) = after.split_at(after.len().min(usize::from(*body_len)));
        rest = after;
        let Some(kind) = Kind::from_byte(*kind) else {
            continue;
        };
        sequence = sequence.saturating_add(u64::from(*rise));
        let numbers = [sequence, sequence.saturating_sub(u64::from(*behind))];
        let offset = bytes.len() as u64;
        segment::encode(&mut bytes, &key, offset, numbers, kind, name, &[body]);
    }
    let made = disk.create_new(&format!("{LOG}/{NUMBER:08}.seg"));
    made.and_then(|file| file.write_at(&bytes, 0))
        .expect("memory does not fail");
}

/// Starts, looks, writes, and starts again: after a good stop, after a crash,
/// and without the index. What the first start has found.
///
/// `sound`: the log says what was written to it. In one that does not, only
/// the index may know what lies beyond the damage.
fn starts(disk: &MemVfs, forged: bool, sound: bool) -> Held {
    let base = Base::get();
    let store = open(disk);
    let held = Held::of(&store, &base.things, forged);
    let stats = counted(&store);
    let new = filled(200, 77);
    let put = put_blob(&new, 9);
    assert_eq!(one(&store, put), Ok(DiskData::Done), "no new writes");
    let crashed = disk.snapshot();
    drop(store);

    let rebuilt = disk.snapshot();
    rebuilt.remove(INDEX).expect("it is there");
    for (disk, how, same) in [
        (disk, "a good stop", true),
        (&crashed, "a crash", true),
        (&rebuilt, "the loss of the index", sound),
    ] {
        let store = open(disk);
        let mut now = Held::of(&store, &base.things, forged);
        if held.state.is_none() {
            // What was damaged may be left out by another start.
            now.state = None;
        }
        assert_eq!(get(&store, &new).as_ref(), Some(&new), "lost by {how}");
        if !same {
            continue;
        }
        assert_eq!(now, held, "other things after {how}");
        let mut expected = stats;
        expected.blobs += 1;
        expected.claims += 1;
        assert_eq!(counted(&store), expected, "other counts after {how}");
    }
    held
}

/// What does not depend on how often there was a start.
fn counted(store: &Store<MemVfs>) -> Stats {
    let Stats {
        blobs,
        claims,
        records,
        debts,
        ..
    } = store.stats();
    Stats {
        blobs,
        claims,
        records,
        debts,
        ..Stats::default()
    }
}

/// What a store has of the things that [`Base`] has put there.
#[derive(Debug, PartialEq)]
struct Held {
    blobs: Vec<Option<Bytes>>,
    records: Vec<Option<StoredRecord>>,
    rows: Vec<Row>,
    /// Nothing if it was found damaged.
    state: Option<State>,
}

/// What a node begins with.
#[derive(Debug, PartialEq)]
struct State {
    members: Option<Bytes>,
    debts: Vec<Debt>,
    seen: Vec<Seen>,
}

impl Held {
    /// `forged`: somebody has made entries who can make their checks, and so
    /// records of any bytes.
    fn of(store: &Store<MemVfs>, things: &Things, forged: bool) -> Self {
        let blobs = things.blobs.iter().map(|blob| {
            let got = get(store, blob);
            assert!(got.is_none() || got.as_ref() == Some(blob), "a wrong blob");
            got
        });
        let blobs = blobs.collect();
        let records = things.records.iter().map(|record| {
            let (key, part) = (record.key, Part::All);
            let at = Some(record.id());
            let got = match one(store, DiskKind::GetRecord { key, at, part }) {
                Ok(DiskData::Record(got)) => got,
                Ok(other) => panic!("a record is {other:?}"),
                Err(_) => None,
            };
            let right = got.is_none() || got.as_ref() == Some(record) || forged;
            assert!(right, "a wrong record");
            got
        });
        let records = records.collect();
        let list = DiskKind::ListNames {
            namespace: NamespaceId([1; 32]),
            after: None,
            max: 1 << 20,
        };
        let rows = match one(store, list) {
            Ok(DiskData::Page(page)) => page.rows,
            other => panic!("a list is {other:?}"),
        };
        let state = match one(store, DiskKind::Load) {
            Ok(DiskData::Loaded(loaded)) => Some(State {
                members: loaded.members,
                debts: loaded.debts,
                seen: loaded.seen,
            }),
            Err(DiskError::Corrupt) => None,
            other => panic!("a load is {other:?}"),
        };
        Self {
            blobs,
            records,
            rows,
            state,
        }
    }
}

/// What is put into a store.
struct Things {
    blobs: Vec<Bytes>,
    records: Vec<StoredRecord>,
}

/// A small store, made once.
struct Base {
    stopped: MemVfs,
    crashed: MemVfs,
    secret: [u8; 32],
    /// The next sequence number.
    next: u64,
    things: Things,
    held: Held,
}

impl Base {
    fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let stopped = MemVfs::new();
        let store = open(&stopped);
        let things = Things {
            blobs: [20, 100, 300, 400, 700, 900]
                .iter()
                .zip(1..)
                .map(|(len, seed)| filled(*len, seed))
                .collect(),
            records: (1..5).map(record).collect(),
        };
        let puts = things.blobs.iter().zip(1..);
        let mut kinds: Vec<DiskKind> = puts.map(|(blob, put)| put_blob(blob, put)).collect();
        let records = things.records.iter().cloned();
        kinds.extend(records.map(DiskKind::PutRecord));
        let last = things.records.last().expect("some").id();
        let key = name(1);
        let (target, owed) = (NodeId([8; 32]), Owed::Record { key, id: last });
        let (id, order) = (last, 1);
        kinds.push(DiskKind::PutDebts(vec![Debt { target, owed }]));
        kinds.push(DiskKind::NoteSeen {
            seen: vec![Seen { key, id, order }],
            forget: Vec::new(),
        });
        kinds.push(DiskKind::PutMembers(filled(90, 50)));
        kinds.push(DiskKind::ForgetBlob(BlobId::of(&things.blobs[1])));
        for kind in kinds {
            // One by one: groups of one entry and of many.
            assert_eq!(one(&store, kind), Ok(DiskData::Done));
        }
        let held = Held::of(&store, &things, false);
        let next = store.writer().state.next;
        let secret = *store.log.secret();
        let crashed = stopped.snapshot();
        drop(store);
        Self {
            stopped,
            crashed,
            secret,
            next,
            things,
            held,
        }
    }
}

fn config() -> StoreConfig {
    let mut config = StoreConfig::new([7; 32]);
    config.segment_bytes = 4 << 10;
    config.small_blob_max = 512;
    config.cache_bytes = 1 << 20;
    config.index_commit_groups = 8;
    config.reserve_bytes = 0;
    config.index_check = true;
    config
}

fn open(disk: &MemVfs) -> Store<MemVfs> {
    Store::open(disk.clone(), config()).expect("whatever the log and the index say")
}

fn one(store: &Store<MemVfs>, kind: DiskKind) -> Result<DiskData, DiskError> {
    let prepared = store.prepare(DiskOp::detached(kind));
    let done = store.commit(vec![prepared]).pop();
    done.expect("one completion").result().clone()
}

fn get(store: &Store<MemVfs>, blob: &Bytes) -> Option<Bytes> {
    match one(store, DiskKind::GetBlob(BlobId::of(blob))) {
        Ok(DiskData::Blob(bytes)) => Some(bytes),
        Ok(other) => panic!("a blob is {other:?}"),
        Err(_) => None,
    }
}

/// Bytes that differ by seed and do not repeat.
fn filled(len: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn name(of: u8) -> RecordKey {
    RecordKey {
        namespace: NamespaceId([1; 32]),
        tag: NameTag([of; 32]),
    }
}

fn put_blob(blob: &Bytes, put: u8) -> DiskKind {
    let RecordKey { namespace, tag } = name(2);
    let claim = Claim {
        blob: BlobId::of(blob),
        len: blob.len() as u32,
        namespace,
        tag,
        put: PutId([put; 16]),
    };
    let bytes = blob.clone();
    DiskKind::PutBlob { claim, bytes }
}

/// Two versions of each name.
fn record(number: u8) -> StoredRecord {
    let head = filled(200, 100 + number);
    StoredRecord {
        key: name(1 + number / 2),
        version: Version::from_bytes([number; 16]),
        head_hash: *blake3::hash(&head).as_bytes(),
        head,
        meta: filled(40, 120 + number),
        content: filled(100 * usize::from(number), 140 + number),
    }
}
