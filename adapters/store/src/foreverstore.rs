//! The files of a node that speaks the Go program's language, as that program
//! keeps them: `<root>/<owner's id>/<path>` (`core/FOREVERSTORE.md`).
//!
//! [`Files`] executes the [`FileOp`]s of any number of connections, and has the
//! same steps for the node itself: [`Files::begin`], [`Files::look_up`],
//! [`Files::remove`]. It starts no thread and may be called from several. What
//! always holds:
//!
//! 1. A path is a [`FilePath`], made of hex and `/` alone; below the root no link
//!    is followed.
//! 2. What stands at a path is whole: a file is written beside, under `.peerhold/`,
//!    synced, and then renamed to its place.
//! 3. A completed commit or removal survives a crash, with every directory that
//!    leads there.
//! 4. Nothing is removed but the file that is named.
//!
//! It does not keep the Go program from its own root: that writes in place and
//! knows no lock. Of our own programs one at a time has a root.
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
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use peerhold_core::disk::DiskError;
use peerhold_core::foreverstore::{FileData, FileDone, FileId, FileKind, FileOp, FilePath};

use crate::config::OpenError;
use crate::read::disk_error;
use crate::vfs::{Vfs, VfsFile, parent};

use space::Space;

mod space;

/// What is ours below the root: no owner's id is called like that.
const OURS: &str = ".peerhold";
const LOCK: &str = ".peerhold/lock";
const TMP: &str = ".peerhold/tmp";
/// Directories that are remembered as durable.
const DIRS_MAX: usize = 4096;

/// A root of files in the Go program's layout.
pub struct Files<V: Vfs> {
    vfs: Arc<V>,
    reading: Table<ReadFile<V>>,
    writing: Table<NewFile<V>>,
    /// Directories that are known to be durable.
    dirs: Mutex<BTreeSet<String>>,
    names: AtomicU64,
    /// `None`: as much as the disk takes.
    space: Option<Space>,
    _lock: V::Lock,
}

/// Open files by connection and by their names there. One has one operation at
/// a time, so its lock is never waited for.
type Table<T> = Mutex<BTreeMap<(u64, FileId), Arc<Mutex<T>>>>;

#[cfg(unix)]
impl Files<crate::vfs::OsVfs> {
    /// The files in a directory of the operating system, made if need be.
    ///
    /// # Errors
    /// [`OpenError`]; for instance that another program of ours has it open.
    pub fn open_dir(root: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        let root = root.as_ref();
        let vfs = crate::vfs::OsVfs::new(root).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => OpenError::NotADirectory(root.display().to_string()),
            _ => OpenError::io("open", &root.display().to_string())(error),
        })?;
        Self::open(vfs)
    }
}

impl<V: Vfs> Files<V> {
    /// The files in a directory tree. Removes what an earlier run had begun and
    /// not committed.
    ///
    /// # Errors
    /// [`OpenError`]; for instance that another program of ours has it open.
    pub fn open(vfs: V) -> Result<Self, OpenError> {
        for dir in [OURS, TMP] {
            vfs.create_dir(dir).map_err(|error| match error.kind() {
                io::ErrorKind::NotADirectory => OpenError::NotADirectory(dir.to_owned()),
                _ => OpenError::io("make", dir)(error),
            })?;
        }
        let lock = vfs.try_lock(LOCK).map_err(OpenError::io("lock", LOCK))?;
        let lock = lock.ok_or(OpenError::InUse)?;
        for name in vfs.list(TMP).map_err(OpenError::io("list", TMP))? {
            let path = format!("{TMP}/{name}");
            vfs.remove(&path).map_err(OpenError::io("remove", &path))?;
        }
        Ok(Self {
            vfs: Arc::new(vfs),
            reading: Mutex::default(),
            writing: Mutex::default(),
            dirs: Mutex::default(),
            names: AtomicU64::new(0),
            space: None,
            _lock: lock,
        })
    }

    /// Lets no more than so many bytes lie below the root, those that are there
    /// counted, and what is being written: what would be more is refused with
    /// [`DiskError::NoSpace`]. A file that replaces another needs its room beside
    /// it. What the Go program writes there meanwhile is counted at the next start.
    ///
    /// # Errors
    /// [`OpenError`]: the files there cannot be looked at.
    pub fn with_capacity(mut self, bytes: u64) -> Result<Self, OpenError> {
        self.space = Some(Space::count(&*self.vfs, bytes)?);
        Ok(self)
    }

    /// Executes an operation of the connection that the caller calls `conn`.
    pub fn execute(&self, conn: u64, op: FileOp) -> FileDone {
        let result = self.perform(conn, op.kind());
        op.complete(result)
    }

    fn perform(&self, conn: u64, kind: &FileKind) -> Result<FileData, DiskError> {
        match kind {
            FileKind::Open { file, path } => {
                let opened = self.look_up(path)?;
                let len = opened.len();
                insert(&self.reading, (conn, *file), opened);
                Ok(FileData::Opened { len })
            }
            FileKind::Read { file, at, len } => {
                let opened = find(&self.reading, (conn, *file))?;
                let bytes = lock(&opened).read_at(*at, *len)?;
                Ok(FileData::Read(bytes))
            }
            FileKind::Close { file } => {
                take(&self.reading, (conn, *file));
                Ok(FileData::Done)
            }
            FileKind::Create { file } => {
                insert(&self.writing, (conn, *file), self.begin()?);
                Ok(FileData::Done)
            }
            FileKind::Append { file, at, bytes } => {
                let begun = find(&self.writing, (conn, *file))?;
                let mut begun = lock(&begun);
                if begun.len() != *at {
                    return Err(DiskError::Io("bytes for another place".into()));
                }
                begun.append(bytes)?;
                Ok(FileData::Done)
            }
            FileKind::Commit { file, path } => {
                let begun = find(&self.writing, (conn, *file))?;
                take(&self.writing, (conn, *file));
                self.place(&mut lock(&begun), path)?;
                Ok(FileData::Done)
            }
            FileKind::Discard { file } => {
                take(&self.writing, (conn, *file));
                Ok(FileData::Done)
            }
            _ => Err(DiskError::Io("an operation that is not known".into())),
        }
    }

    /// Opens what lies at a path for reading, whatever becomes of the path
    /// afterwards.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Corrupt`] if it is no regular file,
    /// or behind a link.
    pub fn look_up(&self, path: &FilePath) -> Result<ReadFile<V>, DiskError> {
        let opened = self.vfs.open_read(path.as_str()).and_then(|file| {
            let len = file.len()?;
            Ok(ReadFile { file, len })
        });
        opened.map_err(|error| file_error(&error))
    }

    /// Begins a file that has no path yet, and no bytes.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin(&self) -> Result<NewFile<V>, DiskError> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let tmp = format!("{TMP}/{number:016x}");
        let file = self.vfs.create_new(&tmp);
        Ok(NewFile {
            file: file.map_err(|error| disk_error(&error))?,
            vfs: Arc::clone(&self.vfs),
            space: self.space.clone(),
            tmp: Some(tmp),
            len: 0,
            failed: false,
        })
    }

    /// Makes a begun file durable and gives it its path, in one step, in place
    /// of what was there.
    ///
    /// # Errors
    /// The disk's. The path has what it had, except after
    /// [`DiskError::SyncFailed`]: then it may have either, and which of them is
    /// there after a crash is not known.
    pub fn commit(&self, mut begun: NewFile<V>, path: &FilePath) -> Result<(), DiskError> {
        self.place(&mut begun, path)
    }

    /// Removes what lies at a path, and nothing beside it. Whether anything was
    /// there.
    ///
    /// # Errors
    /// The disk's; [`DiskError::SyncFailed`] if it is gone and may come back
    /// after a crash.
    pub fn remove(&self, path: &FilePath) -> Result<bool, DiskError> {
        match self.replace(path, || self.vfs.remove(path.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(|error| file_error(&error))?,
        }
        let synced = self.vfs.sync_dir(parent(path.as_str()));
        synced.map_err(|_| DiskError::SyncFailed)?;
        Ok(true)
    }

    fn place(&self, begun: &mut NewFile<V>, path: &FilePath) -> Result<(), DiskError> {
        if begun.failed {
            return Err(DiskError::Io("some of its bytes were not written".into()));
        }
        let Some(tmp) = begun.tmp.clone() else {
            return Err(DiskError::NotFound);
        };
        begun.file.sync().map_err(|_| DiskError::SyncFailed)?;
        self.make_dirs(path)?;
        let rename = || self.vfs.rename(&tmp, path.as_str());
        let mut renamed = self.replace(path, rename);
        if matches!(&renamed, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            // A directory that was there is gone: the Go program removes many
            // files to be rid of one.
            lock(&self.dirs).clear();
            self.make_dirs(path)?;
            renamed = self.replace(path, rename);
        }
        renamed.map_err(|error| file_error(&error))?;
        begun.tmp = None;
        let synced = self.vfs.sync_dir(parent(path.as_str()));
        synced.map_err(|_| DiskError::SyncFailed)
    }

    /// Does what takes away the file at a path.
    fn replace(&self, path: &FilePath, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match &self.space {
            Some(space) => space.replace(&*self.vfs, path.as_str(), change),
            None => change(),
        }
    }

    /// Makes the directories that lead to a file, durably.
    fn make_dirs(&self, path: &FilePath) -> Result<(), DiskError> {
        for dir in path.parents() {
            if lock(&self.dirs).contains(dir) {
                continue;
            }
            let made = self.vfs.create_dir(dir);
            made.map_err(|error| file_error(&error))?;
            // One that is there may be not durable yet, made by another thread,
            // by the Go program, or before a crash.
            let synced = self.vfs.sync_dir(parent(dir));
            synced.map_err(|_| DiskError::SyncFailed)?;
            let mut dirs = lock(&self.dirs);
            if dirs.len() >= DIRS_MAX {
                dirs.clear();
            }
            dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    /// Files that connections have open or begun.
    pub fn open_files(&self) -> usize {
        let reading = lock(&self.reading).len();
        reading.saturating_add(lock(&self.writing).len())
    }
}

impl<V: Vfs> fmt::Debug for Files<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("vfs", &self.vfs)
            .field("open_files", &self.open_files())
            .finish_non_exhaustive()
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct ReadFile<V: Vfs> {
    file: V::File,
    len: u64,
}

impl<V: Vfs> ReadFile<V> {
    /// Its bytes, when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it had none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// So many bytes from there on; fewer only at its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_at(&self, at: u64, len: usize) -> Result<Bytes, DiskError> {
        let mut bytes = BytesMut::zeroed(len);
        let read = self.file.read_at(&mut bytes, at);
        bytes.truncate(read.map_err(|error| disk_error(&error))?);
        Ok(bytes.freeze())
    }
}

/// A file that has been begun. Dropped before it is committed, it is gone.
#[derive(Debug)]
pub struct NewFile<V: Vfs> {
    file: V::File,
    vfs: Arc<V>,
    space: Option<Space>,
    /// Where it is until it has its path.
    tmp: Option<String>,
    /// What was appended, for which there is room.
    len: u64,
    failed: bool,
}

impl<V: Vfs> NewFile<V> {
    /// Bytes that it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The disk's. The file cannot be committed any more then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let appended = self.write(bytes);
        self.failed |= appended.is_err();
        appended
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let space = self.space.as_ref();
        space.map_or(Ok(()), |space| space.take(bytes.len()))?;
        // A part of them may be written: they have their room until it is gone.
        let at = self.len;
        self.len = at.saturating_add(bytes.len() as u64);
        let written = self.file.write_at(bytes, at);
        written.map_err(|error| disk_error(&error))
    }
}

impl<V: Vfs> Drop for NewFile<V> {
    fn drop(&mut self) {
        if let Some(tmp) = self.tmp.take() {
            // What is left of it, the next start removes.
            let _ = self.vfs.remove(&tmp);
            if let Some(space) = &self.space {
                space.give_back(self.len);
            }
        }
    }
}

/// What is no regular file, or behind a link, is none of ours.
fn file_error(error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound,
        io::ErrorKind::InvalidData | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            DiskError::Corrupt
        }
        _ => disk_error(error),
    }
}

fn insert<T>(table: &Table<T>, key: (u64, FileId), value: T) {
    lock(table).insert(key, Arc::new(Mutex::new(value)));
}

fn find<T>(table: &Table<T>, key: (u64, FileId)) -> Result<Arc<Mutex<T>>, DiskError> {
    let found = lock(table).get(&key).map(Arc::clone);
    found.ok_or(DiskError::NotFound)
}

/// Forgets a file; outside the lock, as dropping it may take the disk a while.
fn take<T>(table: &Table<T>, key: (u64, FileId)) {
    let taken = lock(table).remove(&key);
    drop(taken);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
