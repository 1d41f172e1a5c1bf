//! Opening a store.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use peerhold_core::disk::DiskError;
use peerhold_core::path::Layout;

use crate::config::{OpenError, StoreConfig};
use crate::index::Index;
use crate::log::{LOG, Log};
use crate::replay::{Forgotten, Recovery, ReplayError, Replayed, replay};
use crate::state::State;
use crate::store::{Health, SegmentInfo, Space, Store, Writer};
use crate::vfs::{Kind, Vfs, VfsFile};

pub(crate) const BLOBS: &str = "blobs";
pub(crate) const TMP: &str = "tmp";
pub(crate) const DAMAGED: &str = "damaged";
const FORMAT: &str = "FORMAT";
pub(crate) const INDEX: &str = "index.redb";
const LOCK: &str = "lock";
pub(crate) const RESERVE: &str = "reserve";
/// Newest format this program knows.
const FORMAT_KNOWN: u32 = 1;
/// Damaged records that one group of the log writes down at a start.
const REMEMBERED_AT_ONCE: usize = 1024;
/// No FORMAT file is longer.
const FORMAT_BYTES_MAX: u64 = 4096;

#[cfg(unix)]
impl Store<crate::vfs::OsVfs> {
    /// Opens the store in a directory of the operating system, or makes one.
    pub fn open_dir(
        root: impl AsRef<std::path::Path>,
        config: StoreConfig,
    ) -> Result<Self, OpenError> {
        let root = root.as_ref();
        let vfs = crate::vfs::OsVfs::new(root).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => OpenError::NotADirectory(root.display().to_string()),
            _ => OpenError::io("open", &root.display().to_string())(error),
        })?;
        Self::open(vfs, config)
    }
}

impl<V: Vfs> Store<V> {
    /// Opens the store in a directory tree, or makes one there. Replays what
    /// its index lacks of its log.
    pub fn open(vfs: V, config: StoreConfig) -> Result<Self, OpenError> {
        config.check()?;
        let vfs = Arc::new(vfs);
        let lock = vfs.try_lock(LOCK).map_err(OpenError::io("lock", LOCK))?;
        let lock = lock.ok_or(OpenError::InUse)?;
        let format = match Format::read(&*vfs)? {
            Some(format) => format,
            None => Format::create(&*vfs, &config)?,
        };
        for dir in [LOG, BLOBS, TMP, DAMAGED] {
            vfs.create_dir(dir).map_err(|error| match error.kind() {
                io::ErrorKind::NotADirectory => OpenError::NotADirectory(dir.to_owned()),
                _ => OpenError::io("make", dir)(error),
            })?;
        }
        vfs.sync_dir("").map_err(OpenError::io("sync", ""))?;
        let mut recovery = Recovery {
            swept: sweep(&*vfs)?,
            ..Recovery::default()
        };
        let log = Log::new(vfs.clone(), format.secret, config.open_segments);
        let reserve = vfs
            .kind(RESERVE)
            .map_err(OpenError::io("look at", RESERVE))?
            .is_some();
        let mut open = || open_index(&*vfs, &log, &config, &format.store(), &mut recovery, true);
        let (reserve, (index, replayed)) = match open() {
            // The disk may be full.
            Err(_) if reserve && vfs.remove(RESERVE).is_ok() => (false, open()?),
            opened => (reserve, opened?),
        };
        let segments = segment_infos(&log, &index)?;
        let state = replayed.state;
        let store = Self {
            space: Arc::new(Space::new(config.capacity_bytes, state.live())),
            writer: Mutex::new(Writer {
                state,
                active: replayed.active,
                segments,
                buffer: Vec::new(),
                groups_behind: u32::from(recovery.replayed > 0),
                bytes_behind: 0,
                reserve,
                unlinked: BTreeSet::new(),
                compaction: None,
                stuck: BTreeSet::new(),
            }),
            index: RwLock::new(Some(index)),
            layout: format.layout,
            log,
            config,
            vfs,
            recovery,
            damaged: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
            dirs: Mutex::default(),
            tmp_names: AtomicU64::new(0),
            _lock: lock,
        };
        store
            .remember(&mut store.writer(), &replayed.forgotten)
            .map_err(|error| OpenError::Index(error.to_string()))?;
        // Where the log is damaged, what was lost may have set them again.
        if store.recovery.damaged == 0 {
            for id in &replayed.dropped {
                store.unlink(&mut store.writer(), id);
            }
        }
        Ok(store)
    }

    /// Writes down what the log has lost and the last index still knew.
    fn remember(
        &self,
        writer: &mut Writer<V::File>,
        forgotten: &Forgotten,
    ) -> Result<(), DiskError> {
        //# STORE-23: the records that only the index still names MUST be kept as damaged, by entries
        //# of the log, and the number of starts MUST NOT go back.
        writer.state.starts = writer.state.starts.max(forgotten.starts);
        for keys in forgotten.records.chunks(REMEMBERED_AT_ONCE) {
            let write = |writer: &mut _| {
                self.group(writer, false, |stage| {
                    for key in keys {
                        if stage.tables.record(key)?.is_none() {
                            stage.put(crate::entry::Kind::RecordDamaged, key, &[])?;
                        }
                    }
                    Ok(())
                })
            };
            match write(writer) {
                Err(DiskError::NoSpace) if self.give_up_reserve(writer) => write(writer)?,
                written => written?,
            }
        }
        Ok(())
    }

    /// Opens the index again after it has failed, and brings it up to the log.
    /// A file whose sync has failed is not trusted any more.
    pub(crate) fn reopen_index(&self, writer: &mut Writer<V::File>) -> bool {
        let mut slot = self
            .index
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let anew = slot.as_ref().is_some_and(Index::sync_failed);
        // Closes the file before it is opened again.
        *slot = None;
        if anew && self.vfs.remove(INDEX).is_err() {
            return false;
        }
        // Whatever the reason: with space it can be excluded.
        self.give_up_reserve(writer);
        let mut recovery = Recovery::default();
        let opened = open_index(
            &*self.vfs,
            &self.log,
            &self.config,
            &writer.state.store,
            &mut recovery,
            false,
        );
        let Ok((index, replayed)) = opened else {
            return false;
        };
        let Ok(segments) = segment_infos(&self.log, &index) else {
            return false;
        };
        writer.segments = segments;
        writer.state = replayed.state;
        writer.active = replayed.active;
        writer.compaction = None;
        *slot = Some(index);
        true
    }

    /// Opens the index again if it does not answer any more: nothing may be
    /// written for a long time, and what is read must not wait for that.
    pub(crate) fn revive_index(&self) {
        let is_lost = || self.index().as_ref().is_none_or(Index::has_failed);
        if is_lost() && self.health() == Health::Writable {
            let mut writer = self.writer();
            // A commit may have done it in the meantime.
            if is_lost() {
                self.reopen_index(&mut writer);
            }
        }
    }
}

/// Opens the index and replays the log behind it; makes the index anew where
/// it is missing, unsound, another store's, or ahead of the log.
fn open_index<V: Vfs>(
    vfs: &V,
    log: &Log<V>,
    config: &StoreConfig,
    store: &[u8; 16],
    recovery: &mut Recovery,
    start: bool,
) -> Result<(Index, Replayed<V::File>), OpenError> {
    let mut forgotten = Forgotten::default();
    let old = match vfs.kind(INDEX).map_err(OpenError::io("look at", INDEX))? {
        Some(_) => existing_index(vfs, config, store)?,
        None => None,
    };
    if let Some((index, state)) = old {
        match replay(log, &index, state, recovery) {
            Ok(replayed) => return Ok((index, replayed)),
            // What it has lost is told at a start only.
            Err(ReplayError::IndexAhead) if start => {
                // If it cannot tell, it is unsound as well.
                forgotten = Forgotten::find(log, &index).unwrap_or_default();
            }
            Err(ReplayError::Index(error)) if error.damaged() => {}
            Err(error) => return Err(replay_error(error)),
        }
        drop(index);
    }
    recovery.index_rebuilt = !log.list().map_err(OpenError::io("list", LOG))?.is_empty();
    match vfs.remove(INDEX) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", INDEX)(error));
        }
        _ => {}
    }
    let file = vfs
        .create_new(INDEX)
        .map_err(OpenError::io("make", INDEX))?;
    let index = Index::open(file, config.cache_bytes, false).map_err(index_error)?;
    // One empty transaction makes the tables.
    let made = index.write(true, &State::new(*store), |_| Ok::<_, ReplayError>(()));
    let ((), state, _) = made.map_err(|error| replay_error(error.into()))?;
    // An older index that came back with its name would name what has been
    // removed since.
    vfs.sync_dir("").map_err(OpenError::io("sync", ""))?;
    let mut replayed = replay(log, &index, state, recovery).map_err(replay_error)?;
    replayed.forgotten = forgotten;
    Ok((index, replayed))
}

/// The index in its file, if it is sound and this store's.
fn existing_index<V: Vfs>(
    vfs: &V,
    config: &StoreConfig,
    store: &[u8; 16],
) -> Result<Option<(Index, State)>, OpenError> {
    let file = match vfs.open(INDEX) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        Err(error) => return Err(OpenError::io("open", INDEX)(error)),
    };
    let opened = Index::open(file, config.cache_bytes, config.index_check)
        .and_then(|index| Ok((index.state()?, index)));
    match opened {
        Ok((Some(state), index)) if state.store == *store => Ok(Some((index, state))),
        Ok(_) => Ok(None),
        Err(error) if error.damaged() => Ok(None),
        Err(error) => Err(index_error(error)),
    }
}

fn segment_infos<V: Vfs>(
    log: &Log<V>,
    index: &Index,
) -> Result<BTreeMap<u32, SegmentInfo>, OpenError> {
    let mut shares = index.shares().map_err(index_error)?;
    let mut infos = BTreeMap::new();
    for number in log.list().map_err(OpenError::io("list", LOG))? {
        let segment = log.segment(number).map_err(OpenError::io("open", LOG))?;
        let bytes = segment.file.len().map_err(OpenError::io("measure", LOG))?;
        let share = shares.remove(&number).unwrap_or_default();
        infos.insert(number, SegmentInfo { bytes, share });
    }
    Ok(infos)
}

fn index_error(error: crate::index::IndexError) -> OpenError {
    OpenError::Index(error.to_string())
}

fn replay_error(error: ReplayError) -> OpenError {
    match error {
        ReplayError::Io(error) => OpenError::io("replay", LOG)(error),
        ReplayError::Index(error) => index_error(error),
        ReplayError::IndexAhead => OpenError::Index("a new index is ahead of the log".to_owned()),
    }
}

//# STORE-3: A start MUST remove what is in `tmp/`.
fn sweep<V: Vfs>(vfs: &V) -> Result<u64, OpenError> {
    let names = vfs.list(TMP).map_err(OpenError::io("list", TMP))?;
    let mut swept = 0_u64;
    for name in names {
        let path = format!("{TMP}/{name}");
        // The store makes no directories there.
        if vfs.kind(&path).map_err(OpenError::io("look at", &path))? != Some(Kind::Dir) {
            vfs.remove(&path).map_err(OpenError::io("remove", &path))?;
            swept = swept.saturating_add(1);
        }
    }
    Ok(swept)
}

/// The `FORMAT` file: what must be known before anything else is read.
struct Format {
    layout: Layout,
    secret: [u8; 32],
}

impl Format {
    /// Names the store in its index.
    fn store(&self) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.secret, b"peerhold 2026-11 store");
        *hash.as_bytes().first_chunk().unwrap_or(&[0; 16])
    }

    fn read<V: Vfs>(vfs: &V) -> Result<Option<Self>, OpenError> {
        let damaged = |what| Err(OpenError::FormatDamaged(what));
        let len = match vfs.kind(FORMAT).map_err(OpenError::io("look at", FORMAT))? {
            None => return Self::missing(vfs),
            Some(Kind::File(len)) if len <= FORMAT_BYTES_MAX => len,
            Some(_) => return damaged("not a short file"),
        };
        let file = vfs.open(FORMAT).map_err(OpenError::io("open", FORMAT))?;
        let mut bytes = vec![0; len as usize];
        let n = file
            .read_at(&mut bytes, 0)
            .map_err(OpenError::io("read", FORMAT))?;
        bytes.truncate(n);
        let Ok(text) = String::from_utf8(bytes) else {
            return damaged("not text");
        };
        let mut lines = text.lines();
        let Some(version) = lines
            .next()
            .and_then(|line| line.strip_prefix("peerhold store "))
        else {
            return damaged("first line");
        };
        match version.parse() {
            //# STORE-5: A store whose first line has a greater number MUST be refused before
            //# anything in it is changed.
            Ok(found) if found > FORMAT_KNOWN => {
                return Err(OpenError::NewerFormat {
                    found,
                    known: FORMAT_KNOWN,
                });
            }
            Ok(FORMAT_KNOWN) => {}
            _ => return damaged("version"),
        }
        let mut field = |name| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let Some(layout) = field("layout").and_then(Layout::from_name) else {
            return damaged("layout");
        };
        let secret = field("secret").and_then(|hex| blake3::Hash::from_hex(hex).ok());
        let Some(secret) = secret else {
            return damaged("secret");
        };
        Ok(Some(Self {
            layout,
            secret: *secret.as_bytes(),
        }))
    }

    /// Without the file, only a tree without a log is a new store.
    fn missing<V: Vfs>(vfs: &V) -> Result<Option<Self>, OpenError> {
        let log = match vfs.kind(LOG).map_err(OpenError::io("look at", LOG))? {
            Some(Kind::Dir) => !vfs
                .list(LOG)
                .map_err(OpenError::io("list", LOG))?
                .is_empty(),
            Some(_) => return Err(OpenError::NotADirectory(LOG.to_owned())),
            None => false,
        };
        if log {
            Err(OpenError::FormatMissing)
        } else {
            Ok(None)
        }
    }

    fn create<V: Vfs>(vfs: &V, config: &StoreConfig) -> Result<Self, OpenError> {
        let mut hasher = blake3::Hasher::new_derive_key("peerhold 2026-11 store secret");
        let secret = hasher.update(&config.entropy).finalize();
        let text = format!(
            "peerhold store {FORMAT_KNOWN}\nlayout {}\nsecret {secret}\n",
            config.layout
        );
        let new = "FORMAT.new";
        let write = || {
            if vfs.kind(new)?.is_some() {
                vfs.remove(new)?;
            }
            let file = vfs.create_new(new)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync()?;
            vfs.rename(new, FORMAT)?;
            vfs.sync_dir("")
        };
        write().map_err(OpenError::io("write", FORMAT))?;
        Ok(Self {
            layout: config.layout,
            secret: *secret.as_bytes(),
        })
    }
}
