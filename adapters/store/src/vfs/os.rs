//! The operating system's files.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{Kind, Vfs, VfsFile, parent};

/// A directory on disk. Files are made with mode 0600, directories with 0700.
#[derive(Clone, Debug)]
pub struct OsVfs {
    root: PathBuf,
    /// The root's directory, from which everything is reached; and what can be
    /// synced when nothing more can be opened.
    dir: Arc<File>,
}

/// A directory of the tree: what is done in it is done there, whatever stands at
/// its path by then.
enum Held<'a> {
    Root(&'a File),
    Below(File),
}

impl Deref for Held<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Self::Root(dir) => dir,
            Self::Below(dir) => dir,
        }
    }
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

    fn directory(&self, path: &str) -> io::Result<Held<'_>> {
        if path.is_empty() {
            return Ok(Held::Root(&self.dir));
        }
        match open_below(self.dir.as_fd(), path, DIRECTORY, Mode::empty()) {
            Ok(dir) => Ok(Held::Below(dir.into())),
            Err(error) => Err(on_the_way(error)),
        }
    }

    /// The directory that a name is in, and the name.
    fn place<'a>(&self, path: &'a str) -> io::Result<(Held<'_>, &'a str)> {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        Ok((self.directory(parent(path))?, name))
    }

    fn open_with(&self, path: &str, access: OFlags) -> io::Result<File> {
        let error = match open_below(self.dir.as_fd(), path, access | FILE, Mode::empty()) {
            Ok(file) => return regular(file.into()),
            Err(error @ Errno::NOENT) => return Err(error.into()),
            Err(error) => error.into(),
        };
        // A link, a directory or an idle pipe is refused by open itself, each
        // with an error of its own.
        match self.kind(path) {
            Ok(Some(Kind::Dir | Kind::Other)) => Err(not_ours("not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
            _ => Err(error),
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
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        match open_below(self.dir.as_fd(), path, flags, OWNERS) {
            Ok(file) => Ok(file.into()),
            Err(error) => Err(on_the_way(error)),
        }
    }

    fn open(&self, path: &str) -> io::Result<File> {
        self.open_with(path, OFlags::RDWR)
    }

    fn open_read(&self, path: &str) -> io::Result<File> {
        self.open_with(path, OFlags::RDONLY)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from) = self.place(from)?;
        let (to_dir, to) = self.place(to)?;
        Ok(rustix::fs::renameat(&*from_dir, from, &*to_dir, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        Ok(rustix::fs::unlinkat(&*dir, name, AtFlags::empty())?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        match rustix::fs::mkdirat(&*dir, name, Mode::RWXU) {
            Err(Errno::EXIST) if kind_in(&dir, name)? != Some(Kind::Dir) => {
                Err(io::ErrorKind::NotADirectory.into())
            }
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        match self.directory(path) {
            Ok(dir) => dir.sync_all(),
            // That no file can be opened is no failure of the disk, after which
            // nobody could tell what it holds.
            Err(error) if has_none_left(&error) => self.sync_all(),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&*self.directory(path)?)? {
            // The store makes no name that is not text; others are not its.
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        match self.place(path) {
            Ok((dir, name)) => kind_in(&dir, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<OsLock>> {
        let flags = OFlags::RDWR | OFlags::CREATE | FILE;
        let file = open_below(self.dir.as_fd(), path, flags, OWNERS)?;
        let file = regular(file.into())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OsLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// How a file is opened: without NONBLOCK, opening a pipe would wait for its
/// other end.
const FILE: OFlags = OFlags::CLOEXEC
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
/// How a directory is.
const DIRECTORY: OFlags = OFlags::CLOEXEC
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY);
/// What its owner alone may read and write.
const OWNERS: Mode = Mode::RUSR.union(Mode::WUSR);

/// Opens what is below a directory, by a path no part of which may be a link.
///
/// A look at the path before it is opened would leave time to put a link there.
/// So the kernel follows the path and refuses links in one call; without that
/// call every directory is held while the next one is opened in it.
#[cfg(target_os = "linux")]
fn open_below(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match retry_on_intr(|| openat2(dir, path, flags, mode, resolve)) {
        // A kernel before 5.6, or a sandbox that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => walk(dir, path, flags, mode),
        opened => opened,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_below(
    dir: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    walk(dir, path, flags, mode)
}

/// As [`open_below`], step by step.
fn walk(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let open = |held: &Option<OwnedFd>, name, flags, mode| {
        let dir = held.as_ref().map_or(root, AsFd::as_fd);
        retry_on_intr(|| rustix::fs::openat(dir, name, flags, mode))
    };
    let (mut held, mut rest) = (None, path);
    while let Some((name, behind)) = rest.split_once('/') {
        held = Some(open(&held, name, DIRECTORY, Mode::empty())?);
        rest = behind;
    }
    open(&held, rest, flags | OFlags::NOFOLLOW, mode)
}

/// Why a directory could not be opened, or passed.
fn on_the_way(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => not_ours("a directory of the store is something else"),
        error => error.into(),
    }
}

/// The file, if it is a regular one.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_ours("not a regular file"))
    }
}

/// What stands under a name of a directory.
fn kind_in(dir: &File, name: &str) -> io::Result<Option<Kind>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File(stat.st_size.cast_unsigned()),
            FileType::Directory => Kind::Dir,
            _ => Kind::Other,
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
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
    use std::os::unix::fs::symlink;

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

    /// A tree with a file in `a/b`, and a directory elsewhere with another.
    fn trees() -> (OsVfs, [tempfile::TempDir; 2]) {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let vfs = OsVfs::new(dirs[0].path()).unwrap();
        for path in ["a", "a/b"] {
            vfs.create_dir(path).unwrap();
        }
        for path in ["top", "a/b/file"] {
            vfs.create_new(path).unwrap();
        }
        std::fs::write(dirs[1].path().join("file"), "secret").unwrap();
        (vfs, dirs)
    }

    #[test]
    fn a_path_that_is_walked_comes_to_the_same_as_in_one_call_and_follows_no_link() {
        let (vfs, [dir, elsewhere]) = trees();
        symlink(elsewhere.path(), dir.path().join("a/linked")).unwrap();
        let file = elsewhere.path().join("file");
        symlink(file, dir.path().join("a/link")).unwrap();
        type Open = fn(BorrowedFd<'_>, &str, OFlags, Mode) -> rustix::io::Result<OwnedFd>;
        for open in [open_below as Open, walk] {
            let flags = OFlags::RDONLY | FILE;
            let open = |path| open(vfs.dir.as_fd(), path, flags, Mode::empty()).map(drop);
            for path in ["top", "a/b/file"] {
                assert_eq!(open(path), Ok(()), "{path}");
            }
            for path in ["none", "a/none", "none/file"] {
                assert_eq!(open(path), Err(Errno::NOENT), "{path}");
            }
            for path in ["a/link", "a/linked/file", "top/file"] {
                let refused = matches!(open(path), Err(Errno::LOOP | Errno::NOTDIR));
                assert!(refused, "{path}");
            }
        }
    }

    #[test]
    fn what_is_done_in_a_directory_is_not_done_in_what_took_its_place() {
        let (vfs, [dir, elsewhere]) = trees();
        let (held, name) = vfs.place("a/b/file").unwrap();
        // Between the opening of the directory and what is done in it.
        let b = dir.path().join("a/b");
        std::fs::rename(&b, dir.path().join("a/old")).unwrap();
        symlink(elsewhere.path(), &b).unwrap();
        assert_eq!(kind_in(&held, name).unwrap(), Some(Kind::File(0)));
        for error in [
            vfs.place("a/b/file").err(),
            vfs.open("a/b/file").err(),
            vfs.create_new("a/b/new").err(),
            vfs.rename("top", "a/b/top").err(),
            vfs.remove("a/b/file").err(),
            vfs.create_dir("a/b/dir").err(),
            vfs.sync_dir("a/b").err(),
            vfs.list("a/b").err(),
            vfs.kind("a/b/file").err(),
        ] {
            let error = error.expect("it is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        let left = std::fs::read_dir(elsewhere.path()).unwrap().count();
        assert_eq!(left, 1);
    }
}
