//! The log's files: makes, opens, keeps open and removes segments.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bug::{self, Bug};
use crate::segment::{self, Segment, SegmentKey};
use crate::vfs::{Vfs, VfsFile};

pub(crate) const LOG: &str = "log";

/// The directory of segments.
pub(crate) struct Log<V: Vfs> {
    vfs: Arc<V>,
    secret: [u8; 32],
    /// Open segments, the one used last at the end.
    open: Mutex<Vec<Arc<Segment<V::File>>>>,
    open_max: usize,
}

impl<V: Vfs> Log<V> {
    pub(crate) fn new(vfs: Arc<V>, secret: [u8; 32], open_max: usize) -> Self {
        Self {
            vfs,
            secret,
            open: Mutex::default(),
            open_max,
        }
    }

    /// What the checks of its segments are made of.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The numbers of the segments there are, rising.
    pub(crate) fn list(&self) -> io::Result<Vec<u32>> {
        let names = self.vfs.list(LOG)?;
        let numbers = names.iter().filter_map(|name| {
            let number = name.strip_suffix(".seg")?.parse().ok()?;
            (path(number).strip_prefix("log/") == Some(name)).then_some(number)
        });
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A segment that is there. It stays readable while it is held, removed or
    /// not.
    pub(crate) fn segment(&self, number: u32) -> io::Result<Arc<Segment<V::File>>> {
        if let Some(found) = self.lookup(number) {
            return Ok(found);
        }
        let path = path(number);
        let opened = self.vfs.open(&path);
        let opened = opened.and_then(|file| Segment::open(file, number, &self.secret));
        let opened =
            opened.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        let opened = Arc::new(opened);
        self.keep(opened.clone());
        Ok(opened)
    }

    /// Makes an empty segment, durably. `number` must be above that of every
    /// segment which has had entries.
    pub(crate) fn create(&self, number: u32, first: u64) -> io::Result<Arc<Segment<V::File>>> {
        let key = SegmentKey::derive(&self.secret, number);
        let file = match self.vfs.create_new(&path(number)) {
            // What an earlier attempt could not remove: it never had entries.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.vfs.remove(&path(number))?;
                self.vfs.create_new(&path(number))?
            }
            other => other?,
        };
        let made = file
            .write_at(&segment::header(number, first, &key), 0)
            .and_then(|()| file.sync())
            .and_then(|()| match bug::on(Bug::SegmentUnsynced) {
                true => Ok(()),
                false => self.vfs.sync_dir(LOG),
            });
        if let Err(error) = made {
            // If it cannot be removed, the next attempt or start does.
            let _ = self.vfs.remove(&path(number));
            return Err(error);
        }
        let made = Arc::new(Segment {
            number,
            file,
            key,
            first_sequence: Some(first),
        });
        self.keep(made.clone());
        Ok(made)
    }

    /// Makes the names of all segments durable that there are.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        self.vfs.sync_dir(LOG)
    }

    /// Removes a segment, durably.
    pub(crate) fn remove(&self, number: u32) -> io::Result<()> {
        self.opened().retain(|segment| segment.number != number);
        self.vfs.remove(&path(number))?;
        self.vfs.sync_dir(LOG)
    }

    fn lookup(&self, number: u32) -> Option<Arc<Segment<V::File>>> {
        let mut open = self.opened();
        let at = open.iter().rposition(|segment| segment.number == number)?;
        let found = open.remove(at);
        open.push(found.clone());
        Some(found)
    }

    fn keep(&self, segment: Arc<Segment<V::File>>) {
        let mut open = self.opened();
        open.retain(|other| other.number != segment.number);
        if open.len() >= self.open_max {
            open.remove(0);
        }
        open.push(segment);
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Arc<Segment<V::File>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(number: u32) -> String {
    format!("{LOG}/{number:08}.seg")
}
