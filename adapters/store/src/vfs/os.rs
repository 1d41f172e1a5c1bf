//! The operating system's files.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Kind, Vfs, VfsFile};

/// A directory on disk. Files are made with mode 0600, directories with 0700.
#[derive(Clone, Debug)]
pub struct OsVfs {
    root: PathBuf,
    /// The root's directory: what can be synced when nothing more can be opened.
    dir: Arc<File>,
}

impl OsVfs {
    /// The tree at `root`, made with its parents if it is not there.
    ///
    /// `root` itself may be reached through links; inside it none is followed.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = root.as_ref();
        if !root.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        }
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let dir = Arc::new(File::open(&root)?);
        Ok(Self { root, dir })
    }

    /// Where it is, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn join(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }

    /// The path of a file, after a look at its directories: a link among them
    /// would lead out of the tree.
    fn inside(&self, path: &str) -> io::Result<PathBuf> {
        for (end, _) in path.match_indices('/') {
            let dir = self.root.join(&path[..end]);
            if !dir.symlink_metadata()?.is_dir() {
                return Err(not_ours("a directory of the store is something else"));
            }
        }
        Ok(self.join(path))
    }

    fn open_with(&self, path: &str, options: &OpenOptions) -> io::Result<File> {
        let path = self.inside(path)?;
        match options.open(&path) {
            Ok(file) if file.metadata()?.is_file() => Ok(file),
            Ok(_) => Err(not_ours("not a regular file")),
            // A link, a directory or an idle pipe is refused by open itself,
            // each with an error of its own.
            Err(error) => match path.symlink_metadata() {
                Ok(meta) if !meta.is_file() => Err(not_ours("not a regular file")),
                _ => Err(error),
            },
        }
    }
}

impl OsVfs {
    /// Makes everything in the tree durable, without opening anything.
    #[cfg(target_os = "linux")]
    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.dir)?)
    }

    /// Makes everything in the tree durable, without opening anything: there is
    /// no call for that here.
    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self) -> io::Result<()> {
        Err(Errno::MFILE.into())
    }
}

impl Vfs for OsVfs {
    type File = File;
    type Lock = OsLock;

    fn create_new(&self, path: &str) -> io::Result<File> {
        options().create_new(true).open(self.inside(path)?)
    }

    fn open(&self, path: &str) -> io::Result<File> {
        self.open_with(path, &options())
    }

    fn open_read(&self, path: &str) -> io::Result<File> {
        self.open_with(path, options().write(false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.inside(from)?, self.inside(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.inside(path)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.inside(path)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if path.symlink_metadata()?.is_dir() {
                    Ok(())
                } else {
                    Err(io::ErrorKind::NotADirectory.into())
                }
            }
            result => result,
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        match File::open(self.join(path)) {
            Ok(dir) => dir.sync_all(),
            // That no file can be opened is no failure of the disk, after which
            // nobody could tell what it holds.
            Err(error) if has_none_left(&error) => self.sync_all(),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.join(path))? {
            // The store makes no name that is not text; others are not its.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        match self.join(path).symlink_metadata() {
            Ok(meta) if meta.is_file() => Ok(Some(Kind::File(meta.len()))),
            Ok(meta) if meta.is_dir() => Ok(Some(Kind::Dir)),
            Ok(_) => Ok(Some(Kind::Other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<OsLock>> {
        let file = options()
            .create(true)
            .truncate(false)
            .open(self.inside(path)?)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OsLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct OsLock(File);

/// A child of this process that has not begun its own program yet has the
/// file too, and to close it here would leave the lock to the child.
impl Drop for OsLock {
    fn drop(&mut self) {
        // It is closed next, which is as good where there is no child.
        let _ = self.0.unlock();
    }
}

impl VfsFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // Without O_NONBLOCK, opening a pipe would wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    options
}

/// Whether an error says that this process, or the machine, has no more file
/// descriptors.
fn has_none_left(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

fn not_ours(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_though_a_child_still_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = OsVfs::new(dir.path()).unwrap();
        let lock = vfs.try_lock("lock").unwrap().unwrap();
        // As a child has it until it begins its own program.
        let childs = lock.0.try_clone().unwrap();
        assert!(vfs.try_lock("lock").unwrap().is_none());
        drop(lock);
        assert!(vfs.try_lock("lock").unwrap().is_some());
        drop(childs);
    }
}
