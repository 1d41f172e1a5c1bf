//! Files in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Kind, Vfs, VfsFile, parent};

/// A directory tree in memory. Clones share it, so that a store can be
/// dropped and opened again on what it left.
///
/// It keeps every write, synced or not: what a power cut would take is for a
/// wrapper to decide.
#[derive(Clone, Debug, Default)]
pub struct MemVfs {
    tree: Arc<Mutex<Tree>>,
}

impl MemVfs {
    /// An empty tree without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the tree as it is now, with nothing locked: what a process
    /// that dies at this moment leaves behind.
    pub fn snapshot(&self) -> Self {
        let tree = self.tree();
        let nodes = tree.nodes.iter().map(|(path, node)| {
            let copy = match node {
                Node::Dir => Node::Dir,
                Node::File(file) => Node::File(Arc::new(Mutex::new(Content::clone(&lock(file))))),
            };
            (path.clone(), copy)
        });
        let copy = Tree {
            nodes: nodes.collect(),
            locks: BTreeMap::new(),
            capacity: tree.capacity,
        };
        Self {
            tree: Arc::new(Mutex::new(copy)),
        }
    }

    /// Limits the bytes of all files together: a write beyond them stops where
    /// they end, with [`io::ErrorKind::StorageFull`]. Counted in pages of 4 KiB
    /// that have been written to; holes take nothing.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.tree().capacity = bytes;
    }

    /// The bytes that all files take, see [`MemVfs::set_capacity`].
    pub fn used(&self) -> u64 {
        self.tree().used()
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        let tree = self.tree();
        let files = tree
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.tree)
    }
}

/// An open file of a [`MemVfs`].
#[derive(Clone, Debug)]
pub struct MemFile {
    content: Shared,
    tree: Arc<Mutex<Tree>>,
}

/// A lock in a [`MemVfs`], held until dropped.
#[derive(Debug)]
pub struct MemLock(#[expect(dead_code, reason = "its being alive is the lock")] Arc<()>);

type Shared = Arc<Mutex<Content>>;

const PAGE: usize = 4096;

/// A file's bytes, and which of its pages take space.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    pages: Vec<bool>,
}

impl Content {
    fn used(&self) -> u64 {
        self.pages.iter().filter(|page| **page).count() as u64 * PAGE as u64
    }

    /// How many bytes from `offset` on can be written with `room` bytes for
    /// new pages. Takes these pages.
    fn allocate(&mut self, offset: usize, len: usize, mut room: usize) -> usize {
        let end = offset + len;
        if self.pages.len() < end.div_ceil(PAGE) {
            self.pages.resize(end.div_ceil(PAGE), false);
        }
        for (at, page) in self.pages.iter_mut().enumerate().skip(offset / PAGE) {
            if at * PAGE >= end {
                break;
            }
            if !*page {
                if room < PAGE {
                    return (at * PAGE).saturating_sub(offset);
                }
                room -= PAGE;
                *page = true;
            }
        }
        len
    }
}

#[derive(Debug, Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    locks: BTreeMap<String, Weak<()>>,
    capacity: Option<u64>,
}

#[derive(Debug)]
enum Node {
    Dir,
    File(Shared),
}

impl Tree {
    fn used(&self) -> u64 {
        let files = self.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(lock(file).used()),
            Node::Dir => None,
        });
        files.sum()
    }

    /// How much the files may still grow.
    fn room(&self) -> usize {
        let room = self
            .capacity
            .map_or(u64::MAX, |all| all.saturating_sub(self.used()));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn check_parent(&self, path: &str) -> io::Result<()> {
        match parent(path) {
            "" => Ok(()),
            dir => match self.nodes.get(dir) {
                Some(Node::Dir) => Ok(()),
                Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }
}

impl Vfs for MemVfs {
    type File = MemFile;
    type Lock = MemLock;

    fn create_new(&self, path: &str) -> io::Result<MemFile> {
        let mut tree = self.tree();
        tree.check_parent(path)?;
        if tree.nodes.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Shared::default();
        tree.nodes
            .insert(path.to_owned(), Node::File(content.clone()));
        Ok(MemFile {
            content,
            tree: self.tree.clone(),
        })
    }

    fn open(&self, path: &str) -> io::Result<MemFile> {
        match self.tree().nodes.get(path) {
            Some(Node::File(content)) => Ok(MemFile {
                content: content.clone(),
                tree: self.tree.clone(),
            }),
            Some(Node::Dir) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tree = self.tree();
        tree.check_parent(to)?;
        if let Some(Node::Dir) = tree.nodes.get(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = tree.nodes.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.nodes.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut tree = self.tree();
        match tree.nodes.get(path) {
            Some(Node::File(_)) => tree.nodes.remove(path),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut tree = self.tree();
        tree.check_parent(path)?;
        match tree.nodes.get(path) {
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Dir) => {}
            None => {
                tree.nodes.insert(path.to_owned(), Node::Dir);
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        match self.tree().nodes.get(path) {
            Some(Node::Dir) => Ok(()),
            None if path.is_empty() => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.sync_dir(path)?;
        let tree = self.tree();
        let inside = tree.nodes.keys().filter(|node| parent(node) == path);
        Ok(inside
            .map(|node| node.rsplit('/').next().unwrap_or(node).to_owned())
            .collect())
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        Ok(self.tree().nodes.get(path).map(|node| match node {
            Node::Dir => Kind::Dir,
            Node::File(file) => Kind::File(lock(file).bytes.len() as u64),
        }))
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<MemLock>> {
        let mut tree = self.tree();
        if tree
            .locks
            .get(path)
            .is_some_and(|held| held.strong_count() > 0)
        {
            return Ok(None);
        }
        let held = Arc::new(());
        tree.locks.insert(path.to_owned(), Arc::downgrade(&held));
        Ok(Some(MemLock(held)))
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.bytes.len());
        let n = buf.len().min(content.bytes.len() - from);
        buf[..n].copy_from_slice(&content.bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let room = lock(&self.tree).room();
        let mut content = lock(&self.content);
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let fits = content.allocate(from, data.len(), room);
        let end = from + fits;
        if fits > 0 {
            if content.bytes.len() < end {
                content.bytes.resize(end, 0);
            }
            content.bytes[from..end].copy_from_slice(&data[..fits]);
        }
        if fits < data.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut content = lock(&self.content);
        content.bytes.resize(len, 0);
        content.pages.truncate(len.div_ceil(PAGE));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
