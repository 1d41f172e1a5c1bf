//! The small part of a file system that a store needs.
//!
//! Paths are relative to the store's root, separated by `/`, and made by the
//! store alone from fixed names, counters and hex: nothing a peer sent ever
//! stands in one. An implementation may therefore join them to its root as
//! they are.

mod fail;
mod mem;
#[cfg(unix)]
mod os;

use std::fmt::Debug;
use std::io;

pub use self::fail::FailAfter;
pub use self::mem::MemVfs;
#[cfg(unix)]
pub use self::os::{OsLock, OsVfs};

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File(u64),
    /// A directory.
    Dir,
    /// A symbolic link, a pipe, a device: nothing that a store made.
    Other,
}

/// A directory tree that one store owns.
///
/// Errors are the operating system's; the store tells full disks
/// ([`io::ErrorKind::StorageFull`], [`io::ErrorKind::QuotaExceeded`]) and
/// damage ([`io::ErrorKind::NotFound`], [`io::ErrorKind::InvalidData`]) from
/// the rest.
pub trait Vfs: Send + Sync + Debug + 'static {
    /// An open file.
    type File: VfsFile;
    /// Holds a lock until it is dropped.
    type Lock: Send + Sync + Debug + 'static;

    /// Creates a regular file for reading and writing. Fails if the name is
    /// taken.
    fn create_new(&self, path: &str) -> io::Result<Self::File>;

    /// Opens a regular file for reading and writing. Follows no link, waits
    /// for no pipe: whatever is no regular file is
    /// [`io::ErrorKind::InvalidData`].
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// As [`Vfs::open`], for reading alone: a file that may not be written to
    /// will do.
    fn open_read(&self, path: &str) -> io::Result<Self::File> {
        self.open(path)
    }

    /// Gives a file another name, replacing what stands there, at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name. The file lives on while it is open.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory. Done too if it is there; its parent must be.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable. The empty path is the root.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// What stands under a name, links not followed; `None` if nothing does.
    fn kind(&self, path: &str) -> io::Result<Option<Kind>>;

    /// Locks a file, made if need be, against every other opener of it in any
    /// process. `None` if another holds it.
    fn try_lock(&self, path: &str) -> io::Result<Option<Self::Lock>>;
}

/// A regular file, read and written at offsets by any thread.
pub trait VfsFile: Send + Sync + Debug + 'static {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. After an error any part of them may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it, or lengthens it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes its bytes and its length durable. After an error nobody knows
    /// which of them are, and trying again would prove nothing.
    fn sync(&self) -> io::Result<()>;
}

/// The directory part of a path; empty for the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
