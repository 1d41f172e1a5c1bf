//! Operations that the simulated embedders run.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskKind, Loaded, Page, RecordKey, Row, StoredRecord};
use peerhold_core::seal::SignedHead;
use peerhold_core::{
    BlobId, Busy, DiskOp, Entry, FileInfo, Forget, Get, History, Instant, List, Listed, Name,
    OpError, OpId, Outcome, Put, PutId, Reader, RecordId, Remove, Restore, Stored, Taped, Version,
    Writer,
};

use peerhold_store::Health;

use crate::cluster::Cluster;
use crate::task::{Finished, Running, Task};

/// Virtual time after which an operation that has not ended never will.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of one page when a store is looked into.
const PAGE: u32 = 64 << 10;

/// Operations, run to their end.
impl Cluster {
    /// Stores a file.
    pub fn put(
        &mut self,
        at: usize,
        writer: &Writer,
        name: &str,
        data: &[u8],
    ) -> Result<Stored, OpError> {
        let task = self.begin_put(at, writer, name, Bytes::copy_from_slice(data));
        self.finish_stored(task)
    }

    /// Reads a file.
    pub fn get(
        &mut self,
        at: usize,
        reader: &Reader,
        name: &str,
    ) -> Result<(FileInfo, Vec<u8>), OpError> {
        let task = self.begin_get(at, get(reader, name));
        let finished = self.finish(task);
        match finished.result.expect("a get ends")? {
            Outcome::Read(file) => Ok((file, finished.bytes)),
            other => panic!("a get ended as {other:?}"),
        }
    }

    /// Removes a file.
    pub fn remove(&mut self, at: usize, writer: &Writer, name: &str) -> Result<Stored, OpError> {
        let remove = Remove {
            writer: writer.clone(),
            name: file_name(name),
        };
        let task = self.begin(at, Running::default(), |node, now| node.remove(now, remove));
        match self.finish(task).result.expect("a remove ends")? {
            Outcome::Removed(stored) => Ok(stored),
            other => panic!("a remove ended as {other:?}"),
        }
    }

    /// Makes an older version the newest again.
    pub fn restore(
        &mut self,
        at: usize,
        writer: &Writer,
        name: &str,
        id: RecordId,
    ) -> Result<Stored, OpError> {
        let task = self.begin_restore(at, writer, name, id);
        self.finish_stored(task)
    }

    /// Makes a node drop its local copies. How many it dropped and kept.
    pub fn forget(
        &mut self,
        at: usize,
        reader: &Reader,
        name: &str,
    ) -> Result<(u64, u64), OpError> {
        let forget = Forget {
            reader: reader.clone(),
            name: file_name(name),
        };
        let task = self.begin(at, Running::default(), |node, now| node.forget(now, forget));
        match self.finish(task).result.expect("a forget ends")? {
            Outcome::Forgotten { blobs, kept } => Ok((blobs, kept)),
            other => panic!("a forget ended as {other:?}"),
        }
    }

    /// Lists names.
    pub fn list(&mut self, at: usize, list: List) -> Result<(Vec<Entry>, Listed), OpError> {
        let task = self.begin_list(at, list);
        self.finish_listed(task)
    }

    /// Lists the versions of a name.
    pub fn history(
        &mut self,
        at: usize,
        history: History,
    ) -> Result<(Vec<Entry>, Listed), OpError> {
        let task = self.begin(at, Running::default(), |node, now| {
            node.history(now, history)
        });
        self.finish_listed(task)
    }

    fn finish_listed(&mut self, task: Task) -> Result<(Vec<Entry>, Listed), OpError> {
        let finished = self.finish(task);
        match finished.result.expect("a listing ends")? {
            Outcome::Listed(listed) => Ok((finished.entries, listed)),
            other => panic!("a listing ended as {other:?}"),
        }
    }

    fn finish_stored(&mut self, task: Task) -> Result<Stored, OpError> {
        match self.finish(task).result.expect("a write ends")? {
            Outcome::Stored(stored) => Ok(stored),
            other => panic!("a put or restore ended as {other:?}"),
        }
    }

    /// Runs until an operation has ended and says how.
    ///
    /// # Panics
    /// If it does not end in ten minutes of virtual time.
    pub fn finish(&mut self, task: Task) -> Finished {
        let ended = self.run_until(PATIENCE, |cluster| cluster.is_finished(task));
        assert!(ended, "an operation neither ends nor fails: {task:?}");
        self.look(task).clone()
    }

    /// Runs until a put has all its copies, for at most `limit`.
    pub fn settle(&mut self, task: Task, limit: Duration) -> bool {
        self.run_until(limit, |cluster| cluster.look(task).settled)
    }
}

/// Operations, begun.
impl Cluster {
    /// Begins a put of all of `data`.
    pub fn begin_put(&mut self, at: usize, writer: &Writer, name: &str, data: Bytes) -> Task {
        let put = Put {
            writer: writer.clone(),
            name: file_name(name),
            modified: None,
        };
        let running = Running {
            data,
            unfinished: true,
            ..Running::default()
        };
        self.begin(at, running, |node, now| node.put(now, put))
    }

    /// Begins a get.
    pub fn begin_get(&mut self, at: usize, get: Get) -> Task {
        self.begin(at, Running::default(), |node, now| node.get(now, get))
    }

    /// Begins a restore.
    pub fn begin_restore(&mut self, at: usize, writer: &Writer, name: &str, id: RecordId) -> Task {
        let restore = Restore {
            writer: writer.clone(),
            name: file_name(name),
            id,
        };
        self.begin(at, Running::default(), |node, now| {
            node.restore(now, restore)
        })
    }

    /// Begins a list.
    pub fn begin_list(&mut self, at: usize, list: List) -> Task {
        self.begin(at, Running::default(), |node, now| node.list(now, list))
    }

    /// Leaves a get's bytes alone from now on, or takes them again.
    pub fn stall(&mut self, task: Task, stalled: bool) {
        if let Some(running) = self.machines[task.node]
            .tasks
            .get_mut(&(task.life, task.op))
        {
            running.stalled = stalled;
        }
        self.feed(task);
        self.drain(task.node);
    }

    /// Cancels an operation.
    pub fn cancel(&mut self, task: Task) {
        let now = self.now();
        self.live(task.node).node.cancel(now, task.op);
        self.drain(task.node);
    }

    /// What has become of an operation so far.
    pub fn look(&self, task: Task) -> &Finished {
        &self.machines[task.node].tasks[&(task.life, task.op)].state
    }

    /// The same, unless it is forgotten.
    pub(crate) fn look_at(&self, task: Task) -> Option<&Finished> {
        let tasks = &self.machines[task.node].tasks;
        tasks
            .get(&(task.life, task.op))
            .map(|running| &running.state)
    }

    /// Whether a machine is on and its node takes commands.
    pub(crate) fn is_ready(&self, at: usize) -> bool {
        self.status(at).is_some_and(|status| status.ready)
    }

    /// Whether an operation has ended.
    pub fn is_finished(&self, task: Task) -> bool {
        self.look(task).result.is_some()
    }

    fn begin<T>(
        &mut self,
        at: usize,
        running: Running,
        command: impl FnOnce(&mut Taped, Instant) -> Result<OpId, Busy<T>>,
    ) -> Task {
        let task = self.try_begin(at, running, command);
        task.expect("a node that is on, ready and not busy")
    }

    /// Begins an operation, if its machine is on and its node takes it.
    pub(crate) fn try_begin<T>(
        &mut self,
        at: usize,
        running: Running,
        command: impl FnOnce(&mut Taped, Instant) -> Result<OpId, Busy<T>>,
    ) -> Option<Task> {
        let now = self.now();
        let life = self.machines[at].starts;
        let live = self.machines[at].live.as_mut()?;
        let op = command(&mut live.node, now).ok()?;
        self.machines[at].tasks.insert((life, op), running);
        let task = Task { node: at, life, op };
        self.feed(task);
        self.drain(at);
        Some(task)
    }

    /// What has become of an operation, which is forgotten.
    pub(crate) fn take(&mut self, task: Task) -> Option<Finished> {
        let tasks = &mut self.machines[task.node].tasks;
        tasks
            .remove(&(task.life, task.op))
            .map(|running| running.state)
    }
}

/// A look into stores, which no node hears of.
impl Cluster {
    /// What a store holds of a name: which records, and the puts that wrote
    /// them, the newest first.
    ///
    /// # Panics
    /// If the machine is off, or one of the records is damaged.
    pub fn held(&mut self, at: usize, reader: &Reader, name: &str) -> Vec<(RecordId, PutId)> {
        let records = self.records(at, reader, name);
        let rows = records.into_iter().map(|record| {
            let head = SignedHead::verify(record.head.clone()).expect("a record that was signed");
            (record.id(), head.head().put)
        });
        rows.collect()
    }

    fn records(&mut self, at: usize, reader: &Reader, name: &str) -> Vec<StoredRecord> {
        let (all, damaged) = self.rows(at, reader.key(&file_name(name)));
        assert!(damaged.is_empty(), "{damaged:?} are damaged");
        all
    }

    /// The records that a store holds of a name, the newest first, and those
    /// that it held and that are damaged.
    pub(crate) fn rows(&self, at: usize, key: RecordKey) -> (Vec<StoredRecord>, Vec<RecordId>) {
        let (mut records, mut damaged, mut below) = (Vec::new(), Vec::new(), None);
        while let Some(page) = self.page(at, key, below, PAGE) {
            for row in page.rows {
                below = Some(row.id());
                match row {
                    Row::Record(record) => records.push(record),
                    Row::Damaged { id, .. } => damaged.push(id),
                }
            }
            if !page.more {
                break;
            }
        }
        (records, damaged)
    }

    /// Whether a store holds a record of a version. `None` if it cannot tell.
    pub(crate) fn has(&self, at: usize, key: RecordKey, version: Version) -> Option<bool> {
        let head = [0xff; 32];
        let page = self.page(at, key, Some(RecordId { version, head }), 1)?;
        Some(matches!(&page.rows[..], [Row::Record(record), ..] if record.version == version))
    }

    /// Whether a store holds a blob. `None` if it cannot tell.
    pub(crate) fn has_blob(&self, at: usize, blob: BlobId) -> Option<bool> {
        match self.ask_store(at, DiskKind::HasBlob(blob))? {
            DiskData::Claimed { held } => Some(held),
            _ => None,
        }
    }

    /// Whether a machine's store takes no writes until it is opened again.
    pub(crate) fn is_read_only(&self, at: usize) -> bool {
        let live = self.machines[at].live.as_ref();
        live.is_some_and(|live| live.store.health() == Health::ReadOnly)
    }

    /// Whether a store holds a record of a version or a later one. `None` if it
    /// cannot tell.
    pub(crate) fn has_from(&self, at: usize, key: RecordKey, version: Version) -> Option<bool> {
        let page = self.page(at, key, None, 1)?;
        Some(
            page.rows
                .first()
                .is_some_and(|row| row.id().version >= version),
        )
    }

    /// What a store would tell a node that starts. It counts that as a start.
    pub(crate) fn books(&self, at: usize) -> Option<Loaded> {
        match self.ask_store(at, DiskKind::Load)? {
            DiskData::Loaded(loaded) => Some(loaded),
            _ => None,
        }
    }

    fn page(&self, at: usize, key: RecordKey, below: Option<RecordId>, max: u32) -> Option<Page> {
        match self.ask_store(at, DiskKind::ListVersions { key, below, max })? {
            DiskData::Page(page) => Some(page),
            _ => None,
        }
    }

    fn ask_store(&self, at: usize, kind: DiskKind) -> Option<DiskData> {
        let store = &self.machines[at].live.as_ref()?.store;
        let done = store.commit(vec![store.prepare(DiskOp::detached(kind))]);
        done.first()?.result().clone().ok()
    }
}

/// What reads all of a file, unconfirmed if need be.
fn get(reader: &Reader, name: &str) -> Get {
    Get::newest(reader, &file_name(name))
}

fn file_name(name: &str) -> Name {
    Name::new(name).expect("a sound file name")
}
