//! All that is on a disk, and all that was written to it and may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use peerhold_store::vfs::Kind;
use rand_core::Rng;

use super::DiskFaults;
use super::file::{File, Tear};
use super::state::one_in_a_million;
use crate::tally::Tally;

/// What a disk holds at one moment: what is durable, and what was written and
/// may be. A copy shares its pages.
///
/// A file's sync makes its bytes and its length durable, a directory's its
/// entries. Nothing else does: not a rename the file, not a file's sync its
/// name, not a directory's sync the name of the directory.
#[derive(Clone, Debug)]
pub struct Image {
    nodes: BTreeMap<u64, Arc<Node>>,
    next: u64,
}

/// What stands behind a name.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(File),
    Dir(Dir),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    /// What its readers see.
    now: BTreeMap<String, u64>,
    /// What is on the disk for certain.
    durable: BTreeMap<String, u64>,
    /// What was changed since, in order.
    changes: Vec<Change>,
}

/// Names that one call has given or taken, all at once.
#[derive(Clone, Debug)]
struct Change {
    call: u64,
    names: Vec<(String, Option<u64>)>,
}

impl Dir {
    fn change(&mut self, call: u64, names: Vec<(String, Option<u64>)>) {
        apply(&mut self.now, &names);
        self.changes.push(Change { call, names });
    }

    fn refers_to(&self) -> impl Iterator<Item = u64> {
        let changed = self.changes.iter().flat_map(|change| &change.names);
        let changed = changed.filter_map(|(_, node)| *node);
        let held = self.now.values().chain(self.durable.values()).copied();
        held.chain(changed)
    }
}

fn apply(entries: &mut BTreeMap<String, u64>, names: &[(String, Option<u64>)]) {
    for (name, node) in names {
        match node {
            Some(node) => entries.insert(name.clone(), *node),
            None => entries.remove(name),
        };
    }
}

const ROOT: u64 = 0;

/// Something unsynced, which a crash keeps or loses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsynced {
    place: Place,
    /// What can become of it, at least two; the first is that it is lost.
    pub fates: usize,
    /// The call that has changed it last, counted from the disk's first.
    pub call: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page { file: u64, at: usize },
    Len { file: u64 },
    Call { file: u64, call: u64 },
    Names { dir: u64, at: usize },
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// An empty disk.
    pub fn new() -> Self {
        let root = Arc::new(Node::Dir(Dir::default()));
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
        }
    }

    /// Everything that a crash decides about. Files of up to `pages_max` pages
    /// are told page by page, larger ones call by call.
    pub fn unsynced(&self, pages_max: usize) -> Vec<Unsynced> {
        let mut all = Vec::new();
        for (&id, node) in &self.nodes {
            match &**node {
                Node::Dir(dir) => {
                    let changes = dir.changes.iter().enumerate();
                    all.extend(changes.map(|(at, change)| Unsynced {
                        place: Place::Names { dir: id, at },
                        fates: 2,
                        call: change.call,
                    }));
                }
                Node::File(file) if file.is_clean() => {}
                Node::File(file) if file.now.len <= (pages_max * super::file::PAGE) as u64 => {
                    all.extend(file.dirty().map(|(at, versions, call)| Unsynced {
                        place: Place::Page { file: id, at },
                        fates: versions + 1,
                        call,
                    }));
                    all.extend(file.lens().map(|(versions, call)| Unsynced {
                        place: Place::Len { file: id },
                        fates: versions + 1,
                        call,
                    }));
                }
                Node::File(file) => all.extend(file.calls().into_iter().map(|call| Unsynced {
                    place: Place::Call { file: id, call },
                    fates: 2,
                    call,
                })),
            }
        }
        all
    }

    /// What is left after a crash that has decided so about each of
    /// `unsynced`: below its `fates`, 0 is lost. With `tear`, what is written
    /// to a file is sometimes torn.
    pub fn after_crash(
        &self,
        unsynced: &[Unsynced],
        fates: &[usize],
        tear: Option<&mut ChaCha20Rng>,
    ) -> Self {
        let mut tear = tear;
        let torn = |_| {
            let rng = tear.as_deref_mut()?;
            let torn = rng.next_u32().is_multiple_of(4);
            torn.then(|| Tear::draw(rng))
        };
        self.settled(unsynced, fates, torn)
    }

    fn settled(
        &self,
        unsynced: &[Unsynced],
        fates: &[usize],
        mut torn: impl FnMut(usize) -> Option<Tear>,
    ) -> Self {
        let mut left = self.clone();
        for (number, (one, &fate)) in unsynced.iter().zip(fates).enumerate() {
            if fate == 0 {
                continue;
            }
            match one.place {
                Place::Names { dir, at } => {
                    if let Some(Node::Dir(dir)) = left.node_mut(dir)
                        && let Some(change) = dir.changes.get(at)
                    {
                        apply(&mut dir.durable, &change.names);
                    }
                }
                Place::Page { file, at } => {
                    if let Some(Node::File(file)) = left.node_mut(file) {
                        file.settle_page(at, fate, torn(number));
                    }
                }
                Place::Len { file } => {
                    if let Some(Node::File(file)) = left.node_mut(file) {
                        file.settle_len(fate);
                    }
                }
                Place::Call { file, call } => {
                    if let Some(Node::File(file)) = left.node_mut(file) {
                        file.settle_call(call, torn(number));
                    }
                }
            }
        }
        left.cut();
        left
    }

    /// What is left after a crash that draws the fate of all that is unsynced.
    pub(super) fn crashed(
        &self,
        faults: &DiskFaults,
        rng: &mut ChaCha20Rng,
        fired: &mut Tally,
    ) -> Self {
        let unsynced = self.unsynced(usize::MAX / super::file::PAGE);
        let mut fates = Vec::with_capacity(unsynced.len());
        let mut tears = Vec::with_capacity(unsynced.len());
        for one in &unsynced {
            let lost = one_in_a_million(rng, faults.lose);
            // The last version mostly, as one that is written is written soon.
            let fate = match one.fates - 1 {
                _ if lost => 0,
                last if last > 1 && rng.next_u32().is_multiple_of(2) => {
                    1 + rng.next_u32() as usize % last
                }
                last => last,
            };
            let page = matches!(one.place, Place::Page { .. });
            let torn = fate > 0 && page && one_in_a_million(rng, faults.tear);
            fired.count(match one.place {
                _ if torn => "disk: page torn at a crash",
                Place::Page { .. } | Place::Call { .. } if lost => "disk: page lost at a crash",
                Place::Page { .. } | Place::Call { .. } => "disk: unsynced page kept at a crash",
                Place::Len { .. } if lost => "disk: length lost at a crash",
                Place::Len { .. } => "disk: unsynced length kept at a crash",
                Place::Names { .. } if lost => "disk: name lost at a crash",
                Place::Names { .. } => "disk: unsynced name kept at a crash",
            });
            fates.push(fate);
            tears.push(torn.then(|| Tear::draw(rng)));
        }
        self.settled(&unsynced, &fates, |number| {
            tears.get(number).copied().flatten()
        })
    }

    /// The power is gone: what is on the disk is all there is.
    fn cut(&mut self) {
        for node in self.nodes.values_mut() {
            let clean = match &**node {
                Node::Dir(dir) => dir.changes.is_empty() && dir.now == dir.durable,
                Node::File(file) => file.is_cut(),
            };
            if clean {
                continue;
            }
            match Arc::make_mut(node) {
                Node::Dir(dir) => {
                    dir.changes.clear();
                    dir.now = dir.durable.clone();
                }
                Node::File(file) => file.cut(),
            }
        }
        self.forget_unnamed(&BTreeMap::new());
    }

    /// Forgets what no name leads to or may lead to, and nobody has open.
    pub(super) fn forget_unnamed(&mut self, open: &BTreeMap<u64, u64>) {
        let mut named = BTreeSet::from([ROOT]);
        let mut left = vec![ROOT];
        while let Some(id) = left.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&id).map(|node| &**node) {
                left.extend(dir.refers_to().filter(|id| named.insert(*id)));
            }
        }
        self.nodes
            .retain(|id, _| named.contains(id) || open.contains_key(id));
    }

    /// Bytes that its files take, as who uses it now sees them. Counted in
    /// pages; holes take nothing.
    pub fn used(&self) -> u64 {
        let mut names = Vec::new();
        self.walk(ROOT, "", &mut names);
        let pages = names.iter().map(|(_, id)| self.pages(*id));
        pages.sum::<u64>() * super::file::PAGE as u64
    }

    /// Pages that one file takes.
    pub(super) fn pages(&self, file: u64) -> u64 {
        self.file(file).map_or(0, |file| file.now.used())
    }

    /// The paths of all files, as who uses it now sees them, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.walk(ROOT, "", &mut names);
        names.into_iter().map(|(path, _)| path).collect()
    }

    /// All files and where they stand.
    pub(super) fn named(&self) -> Vec<(String, u64)> {
        let mut names = Vec::new();
        self.walk(ROOT, "", &mut names);
        names
    }

    /// Whether a name leads to this file.
    pub(super) fn is_named(&self, file: u64) -> bool {
        self.named().iter().any(|(_, id)| *id == file)
    }

    fn walk(&self, dir: u64, path: &str, names: &mut Vec<(String, u64)>) {
        let Some(Node::Dir(dir)) = self.nodes.get(&dir).map(|node| &**node) else {
            return;
        };
        for (name, id) in &dir.now {
            let path = join(path, name);
            match self.nodes.get(id).map(|node| &**node) {
                Some(Node::File(_)) => names.push((path, *id)),
                Some(Node::Dir(_)) => self.walk(*id, &path, names),
                None => {}
            }
        }
    }

    fn node_mut(&mut self, id: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(Arc::make_mut)
    }

    pub(super) fn file(&self, id: u64) -> Option<&File> {
        match self.nodes.get(&id).map(|node| &**node) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self, id: u64) -> io::Result<&mut File> {
        match self.node_mut(id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A directory's number; the empty path is the root.
    fn dir_id(&self, path: &str) -> io::Result<u64> {
        let mut at = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let dir = self.dir(at)?;
            at = *dir.now.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(at).map(|_| at)
    }

    fn dir(&self, id: u64) -> io::Result<&Dir> {
        match self.nodes.get(&id).map(|node| &**node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir_mut(&mut self, id: u64) -> io::Result<&mut Dir> {
        match self.node_mut(id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The directory in which a path stands, its last name, and what it is.
    fn look_up<'p>(&self, path: &'p str) -> io::Result<(u64, &'p str, Option<u64>)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.dir_id(parent)?;
        let node = self.dir(parent)?.now.get(name).copied();
        Ok((parent, name, node))
    }

    pub(super) fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let node = match self.look_up(path) {
            Ok((_, _, node)) => node,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let node = node.and_then(|id| self.nodes.get(&id));
        Ok(node.map(|node| match &**node {
            Node::File(file) => Kind::File(file.now.len),
            Node::Dir(_) => Kind::Dir,
        }))
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let dir = self.dir(self.dir_id(path)?)?;
        Ok(dir.now.keys().cloned().collect())
    }

    pub(super) fn open(&self, path: &str) -> io::Result<u64> {
        let (_, _, node) = self.look_up(path)?;
        let id = node.ok_or(io::ErrorKind::NotFound)?;
        match self.file(id) {
            Some(_) => Ok(id),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) fn create(&mut self, call: u64, path: &str) -> io::Result<u64> {
        match self.look_up(path)? {
            (_, _, Some(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (dir, name, None) => self.make(call, dir, name, Node::File(File::default())),
        }
    }

    pub(super) fn create_dir(&mut self, call: u64, path: &str) -> io::Result<()> {
        match self.look_up(path)? {
            (_, _, Some(node)) => self.dir(node).map(|_| ()),
            (dir, name, None) => self
                .make(call, dir, name, Node::Dir(Dir::default()))
                .map(|_| ()),
        }
    }

    fn make(&mut self, call: u64, dir: u64, name: &str, node: Node) -> io::Result<u64> {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Arc::new(node));
        let names = vec![(name.to_owned(), Some(id))];
        self.dir_mut(dir)?.change(call, names);
        Ok(id)
    }

    /// Gives the file that has lost its name, if any has.
    pub(super) fn rename(&mut self, call: u64, from: &str, to: &str) -> io::Result<Option<u64>> {
        let (old_dir, old_name, node) = self.look_up(from)?;
        let (new_dir, new_name, replaced) = self.look_up(to)?;
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        if replaced.is_some_and(|id| self.dir(id).is_ok()) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if replaced == Some(node) {
            return Ok(None);
        }
        let given = (new_name.to_owned(), Some(node));
        let taken = (old_name.to_owned(), None);
        if old_dir == new_dir {
            self.dir_mut(new_dir)?.change(call, vec![taken, given]);
        } else {
            // Each directory has its part on the disk when it likes.
            self.dir_mut(new_dir)?.change(call, vec![given]);
            self.dir_mut(old_dir)?.change(call, vec![taken]);
        }
        Ok(replaced)
    }

    /// Gives the file that has lost its name.
    pub(super) fn remove(&mut self, call: u64, path: &str) -> io::Result<u64> {
        let (dir, name, node) = self.look_up(path)?;
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        if self.dir(node).is_ok() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let names = vec![(name.to_owned(), None)];
        self.dir_mut(dir)?.change(call, names);
        Ok(node)
    }

    /// Puts a directory's entries on the disk. Gives how many changes these
    /// were.
    pub(super) fn sync_dir(&mut self, path: &str) -> io::Result<usize> {
        let id = self.dir_id(path)?;
        if self.dir(id)?.changes.is_empty() {
            return Ok(0);
        }
        let dir = self.dir_mut(id)?;
        let changes = std::mem::take(&mut dir.changes);
        for change in &changes {
            apply(&mut dir.durable, &change.names);
        }
        Ok(changes.len())
    }

    /// A sync of a directory that fails: some of its changes are on the disk,
    /// the rest waits for the next.
    pub(super) fn sync_dir_failed(&mut self, path: &str, rng: &mut ChaCha20Rng) -> io::Result<()> {
        let id = self.dir_id(path)?;
        let dir = self.dir_mut(id)?;
        let mut left = std::mem::take(&mut dir.changes).into_iter();
        let written = rng.next_u32() as usize % (left.len() + 1);
        for change in left.by_ref().take(written) {
            apply(&mut dir.durable, &change.names);
        }
        dir.changes = left.collect();
        Ok(())
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}
