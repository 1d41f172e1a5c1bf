//! A file system that dies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Kind, Vfs, VfsFile};

/// Passes calls on to another [`Vfs`] until their number is used up, and
/// fails every one after that: to a store, the machine has stopped.
///
/// The write that is the first to fail leaves its first half behind, as a
/// torn write does. Clones and open files share the count.
#[derive(Clone, Debug)]
pub struct FailAfter<V> {
    inner: V,
    fuse: Arc<Fuse>,
}

impl<V> FailAfter<V> {
    /// Lets `calls` calls through.
    pub fn new(inner: V, calls: u64) -> Self {
        Self {
            inner,
            fuse: Arc::new(Fuse {
                limit: calls,
                made: AtomicU64::new(0),
            }),
        }
    }

    /// How many calls have been made, the failed ones counted.
    pub fn calls(&self) -> u64 {
        self.fuse.made.load(Ordering::Relaxed)
    }

    /// Whether a call has failed.
    pub fn burnt(&self) -> bool {
        self.calls() > self.fuse.limit
    }
}

/// An open file of a [`FailAfter`].
#[derive(Debug)]
pub struct FailFile<F> {
    inner: F,
    fuse: Arc<Fuse>,
}

#[derive(Debug)]
struct Fuse {
    limit: u64,
    made: AtomicU64,
}

impl Fuse {
    /// Counts a call and gives its number.
    fn count(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    fn call(&self) -> io::Result<()> {
        if self.count() < self.limit {
            Ok(())
        } else {
            Err(stopped())
        }
    }
}

impl<V: Vfs> FailAfter<V> {
    fn file(&self, inner: V::File) -> FailFile<V::File> {
        FailFile {
            inner,
            fuse: self.fuse.clone(),
        }
    }
}

impl<V: Vfs> Vfs for FailAfter<V> {
    type File = FailFile<V::File>;
    type Lock = V::Lock;

    fn create_new(&self, path: &str) -> io::Result<Self::File> {
        self.fuse.call()?;
        Ok(self.file(self.inner.create_new(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Self::File> {
        self.fuse.call()?;
        Ok(self.file(self.inner.open(path)?))
    }

    fn open_read(&self, path: &str) -> io::Result<Self::File> {
        self.fuse.call()?;
        Ok(self.file(self.inner.open_read(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.fuse.call()?;
        self.inner.list(path)
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        self.fuse.call()?;
        self.inner.kind(path)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Self::Lock>> {
        self.fuse.call()?;
        self.inner.try_lock(path)
    }
}

impl<F: VfsFile> VfsFile for FailFile<F> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fuse.call()?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let number = self.fuse.count();
        if number < self.fuse.limit {
            return self.inner.write_at(bytes, offset);
        }
        if number == self.fuse.limit {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        Err(stopped())
    }

    fn len(&self) -> io::Result<u64> {
        self.fuse.call()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.fuse.call()?;
        self.inner.sync()
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}
