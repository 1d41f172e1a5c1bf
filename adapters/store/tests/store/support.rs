//! What the store's tests share.
use bytes::Bytes;
use peerhold_core::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, DiskOp, Loaded, Owed, Page, Part, RecordKey, Row,
    Seen, StoredRecord,
};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::version::{RecordId, Version};
use peerhold_store::vfs::Vfs;
use peerhold_store::{OpenError, Store, StoreConfig};

pub(crate) type Outcome = Result<DiskData, DiskError>;

/// Small limits, so that little data meets all of them.
pub(crate) fn config() -> StoreConfig {
    let mut config = StoreConfig::new([7; 32]);
    config.segment_bytes = 4 << 10;
    config.small_blob_max = 512;
    config.cache_bytes = 1 << 20;
    config.index_commit_groups = 8;
    config.reserve_bytes = 256 << 10;
    config.compact_bytes = 2 << 10;
    config
}

pub(crate) fn open<V: Vfs>(vfs: V) -> Store<V> {
    Store::open(vfs, config()).expect("the store opens")
}

pub(crate) fn try_open<V: Vfs>(vfs: V) -> Result<Store<V>, OpenError> {
    Store::open(vfs, config())
}

/// Executes operations as one batch.
pub(crate) fn run<V: Vfs>(store: &Store<V>, kinds: Vec<DiskKind>) -> Vec<Outcome> {
    let prepared = kinds
        .into_iter()
        .map(|kind| store.prepare(DiskOp::detached(kind)))
        .collect();
    store
        .commit(prepared)
        .into_iter()
        .map(|done| done.result().clone())
        .collect()
}

pub(crate) fn one<V: Vfs>(store: &Store<V>, kind: DiskKind) -> Outcome {
    run(store, vec![kind]).pop().expect("one completion")
}

pub(crate) fn load<V: Vfs>(store: &Store<V>) -> Loaded {
    match one(store, DiskKind::Load) {
        Ok(DiskData::Loaded(loaded)) => loaded,
        other => panic!("load: {other:?}"),
    }
}

pub(crate) fn get<V: Vfs>(store: &Store<V>, id: BlobId) -> Result<Bytes, DiskError> {
    match one(store, DiskKind::GetBlob(id)) {
        Ok(DiskData::Blob(bytes)) => Ok(bytes),
        Ok(other) => panic!("get: {other:?}"),
        Err(error) => Err(error),
    }
}

pub(crate) fn newest<V: Vfs>(
    store: &Store<V>,
    key: RecordKey,
) -> Result<Option<StoredRecord>, DiskError> {
    record_at(store, key, None)
}

pub(crate) fn record_at<V: Vfs>(
    store: &Store<V>,
    key: RecordKey,
    at: Option<RecordId>,
) -> Result<Option<StoredRecord>, DiskError> {
    let part = Part::All;
    match one(store, DiskKind::GetRecord { key, at, part }) {
        Ok(DiskData::Record(record)) => Ok(record),
        Ok(other) => panic!("record: {other:?}"),
        Err(error) => Err(error),
    }
}

/// Bytes that differ by seed and do not repeat.
pub(crate) fn bytes(seed: u64, len: usize) -> Bytes {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut out);
    out.into()
}

pub(crate) fn claim(blob: &Bytes, put: u8) -> Claim {
    Claim {
        blob: BlobId::of(blob),
        len: blob.len() as u32,
        namespace: NamespaceId([1; 32]),
        tag: NameTag([2; 32]),
        put: PutId([put; 16]),
    }
}

pub(crate) fn put_blob(blob: &Bytes, put: u8) -> DiskKind {
    DiskKind::PutBlob {
        claim: claim(blob, put),
        bytes: blob.clone(),
    }
}

pub(crate) fn key(name: u8) -> RecordKey {
    RecordKey {
        namespace: NamespaceId([1; 32]),
        tag: NameTag([name; 32]),
    }
}

pub(crate) fn version(n: u64) -> Version {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Version::from_bytes(bytes)
}

pub(crate) fn record(name: u8, n: u64, content: usize) -> StoredRecord {
    let head = bytes(n + 1000 * u64::from(name), 200);
    StoredRecord {
        key: key(name),
        version: version(n),
        head_hash: *blake3::hash(&head).as_bytes(),
        head,
        meta: bytes(n + 1, 50),
        content: bytes(n + 2, content),
    }
}

pub(crate) fn seen(name: u8, n: u8) -> Seen {
    Seen {
        key: key(name),
        id: RecordId {
            version: version(n.into()),
            head: [n; 32],
        },
        order: n.into(),
    }
}

/// Notes one name and forgets another.
pub(crate) fn note(noted: Seen, forget: u8) -> DiskKind {
    DiskKind::NoteSeen {
        seen: vec![noted],
        forget: vec![key(forget)],
    }
}

pub(crate) fn debt(target: u8, name: u8) -> Debt {
    let owed = Owed::Record {
        key: key(name),
        id: RecordId {
            version: version(3),
            head: [4; 32],
        },
    };
    Debt {
        target: NodeId([target; 32]),
        owed,
    }
}

/// What a row says in short: the name, the version, and whether it is sound.
pub(crate) fn row(row: &Row) -> (u8, u64, bool) {
    let stamp = row.id().version.to_bytes();
    let n = u64::from_be_bytes(*stamp.first_chunk().expect("8 of 16"));
    (row.tag().0[0], n, matches!(row, Row::Record(_)))
}

pub(crate) fn page<V: Vfs>(store: &Store<V>, kind: DiskKind) -> Page {
    match one(store, kind) {
        Ok(DiskData::Page(page)) => page,
        other => panic!("page: {other:?}"),
    }
}

/// All names, in pages of this size at most.
pub(crate) fn names<V: Vfs>(store: &Store<V>, max: u32) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let kind = DiskKind::ListNames {
            namespace: key(0).namespace,
            after: all.last().map(Row::tag),
            max,
        };
        if !add(&mut all, page(store, kind), max) {
            return all;
        }
    }
}

/// All versions of a name, in pages of this size at most.
pub(crate) fn versions<V: Vfs>(store: &Store<V>, name: u8, max: u32) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let kind = DiskKind::ListVersions {
            key: key(name),
            below: all.last().map(Row::id),
            max,
        };
        if !add(&mut all, page(store, kind), max) {
            return all;
        }
    }
}

fn add(all: &mut Vec<Row>, page: Page, max: u32) -> bool {
    let cost: usize = page.rows.iter().map(Row::cost).sum();
    assert!(cost <= max as usize || page.rows.len() == 1, "{cost}");
    assert!(!page.rows.is_empty() || !page.more && all.is_empty());
    all.extend(page.rows);
    page.more
}

/// Makes a pipe; says whether it could.
#[cfg(unix)]
pub(crate) fn pipe(path: &std::path::Path) -> bool {
    special(path, false)
}

/// Makes a device that tells whoever writes to it that it is full; says whether
/// it could.
#[cfg(unix)]
pub(crate) fn device(path: &std::path::Path) -> bool {
    special(path, true)
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn special(path: &std::path::Path, device: bool) -> bool {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let (kind, number) = match device {
        true => (FileType::CharacterDevice, makedev(1, 7)),
        false => (FileType::Fifo, 0),
    };
    mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, number).is_ok()
}

/// There is no call for that here.
#[cfg(all(unix, target_vendor = "apple"))]
fn special(_: &std::path::Path, _: bool) -> bool {
    false
}
