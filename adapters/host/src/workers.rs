//! Threads for what would hold up the thread that turns the engine: large
//! jobs and everything that may wait for a disk.
//!
//! All threads share one queue and take, in this order:
//!
//! 1. a job. It is short, never waits, and feeds what sockets and disk are to
//!    do next; the core has only a bounded number in flight, so that disk
//!    work behind jobs is not starved.
//! 2. a read. It ends an operation's wait, and is done without a commit.
//! 3. the preparation of a small write. It does not wait for the disk either,
//!    and joins the next commit, or is a claim on what is not held and done.
//!    Likewise an errand that only reads.
//! 4. the commit of everything that has been prepared. One thread at a time;
//!    what others prepare meanwhile is the next one's batch.
//! 5. the preparation of a large write, which writes and syncs a file, and in
//!    turn with it an errand that writes.
//!
//! Where there is more than one thread, one of them never takes 4 and 5, so
//! that no job and no read waits behind a sync.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use peerhold_core::foreverstore::FileDone;
use peerhold_core::job::{Job, JobDone};
use peerhold_core::{DiskDone, DiskOp};
use peerhold_store::vfs::Vfs;
use peerhold_store::{Prepared, Store};

use crate::engine::wake::Signal;
use crate::foreverstore::PeerId;
use crate::lock;

/// Writes of at most this many bytes go into the store's log, so preparing
/// them does not touch the disk.
const SMALL_MAX: usize = 64 << 10;

/// What carries out disk operations in two steps: one that may run beside
/// others, and one that may not.
pub(crate) trait Disk: Send + Sync + 'static {
    type Prepared: Send + 'static;

    /// `Ok`: it is done.
    fn prepare(&self, op: DiskOp) -> Result<DiskDone, Self::Prepared>;
    fn commit(&self, batch: Vec<Self::Prepared>) -> Vec<DiskDone>;
}

impl<V: Vfs> Disk for Store<V> {
    type Prepared = Prepared;

    fn prepare(&self, op: DiskOp) -> Result<DiskDone, Prepared> {
        match self.prepare(op) {
            Prepared::Done(done) => Ok(done),
            write => Err(write),
        }
    }

    fn commit(&self, batch: Vec<Prepared>) -> Vec<DiskDone> {
        self.commit(batch)
    }
}

/// What a worker hands back.
#[derive(Debug)]
pub(crate) enum Completion {
    Disk(DiskDone),
    Job(JobDone),
    Errand(Filed),
}

/// Work on files that are none of the store's.
pub(crate) struct Errand {
    /// It may wait until the disk has written something.
    pub(crate) writes: bool,
    pub(crate) work: Box<dyn FnOnce() -> Filed + Send>,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

/// What came of an errand.
#[derive(Debug)]
pub(crate) enum Filed {
    /// For a connection of the second port.
    Of(PeerId, FileDone),
    /// Whoever waits for it has been told.
    Told,
}

/// Where workers put what is done. The driver is woken once for all that
/// gathers until the engine takes it.
#[derive(Debug)]
pub(crate) struct Completions {
    done: Mutex<Done>,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Done {
    list: Vec<Completion>,
    /// A worker has panicked: some completion will never come.
    broken: bool,
}

impl Completions {
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        Self {
            done: Mutex::default(),
            signal,
        }
    }

    /// Moves what is done to the end of `into`. `false`: a worker panicked.
    pub(crate) fn take(&self, into: &mut VecDeque<Completion>) -> bool {
        let mut done = lock(&self.done);
        into.extend(done.list.drain(..));
        !done.broken
    }

    fn add(&self, completions: impl IntoIterator<Item = Completion>) {
        lock(&self.done).list.extend(completions);
        self.signal.raise();
    }
}

/// The threads, or none.
pub(crate) struct Workers {
    pool: Arc<dyn Pool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads over this disk. With none,
    /// [`Workers::run`] does the work where it is called.
    ///
    /// # Errors
    /// The operating system's, if it has no more threads; none is left over.
    pub(crate) fn start<D: Disk>(
        disk: D,
        count: usize,
        completions: Arc<Completions>,
    ) -> io::Result<Self> {
        let crew = Arc::new(Crew {
            disk,
            queue: Mutex::default(),
            work: Condvar::new(),
            // Of several threads one keeps away from syncs.
            writers_max: (count - usize::from(count > 1)).max(1),
            completions,
        });
        let mut workers = Self {
            pool: crew.clone(),
            threads: Vec::with_capacity(count),
        };
        for index in 0..count {
            let crew = Arc::clone(&crew);
            let thread = thread::Builder::new().name(format!("peerhold-{index}"));
            // Dropping `workers` ends those that have started.
            workers.threads.push(thread.spawn(move || crew.work())?);
        }
        Ok(workers)
    }

    /// Whether there are threads.
    pub(crate) fn threaded(&self) -> bool {
        !self.threads.is_empty()
    }

    /// Gives the threads work, and empties the lists.
    pub(crate) fn submit(
        &self,
        jobs: &mut Vec<Job>,
        ops: &mut Vec<DiskOp>,
        errands: &mut Vec<Errand>,
    ) {
        if !(jobs.is_empty() && ops.is_empty() && errands.is_empty()) {
            self.pool.submit(jobs, ops, errands);
        }
    }

    /// Carries out disk operations here and now.
    pub(crate) fn run(&self, ops: &mut Vec<DiskOp>) -> Vec<DiskDone> {
        self.pool.run(ops)
    }
}

/// Every thread ends what it is doing and is joined; what nobody has started
/// is dropped. Afterwards the disk is dropped too.
impl Drop for Workers {
    fn drop(&mut self) {
        self.pool.stop();
        for thread in self.threads.drain(..) {
            // A panic has been reported by `Completions::take`.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

trait Pool: Send + Sync {
    fn submit(&self, jobs: &mut Vec<Job>, ops: &mut Vec<DiskOp>, errands: &mut Vec<Errand>);
    fn run(&self, ops: &mut Vec<DiskOp>) -> Vec<DiskDone>;
    fn stop(&self);
}

struct Crew<D: Disk> {
    disk: D,
    queue: Mutex<Queue<D::Prepared>>,
    work: Condvar,
    writers_max: usize,
    completions: Arc<Completions>,
}

struct Queue<P> {
    jobs: VecDeque<Job>,
    reads: VecDeque<DiskOp>,
    small: VecDeque<DiskOp>,
    large: VecDeque<DiskOp>,
    /// Errands that read, and those that write.
    quick: VecDeque<Errand>,
    slow: VecDeque<Errand>,
    /// Whose turn it is of `large` and `slow`.
    slow_next: bool,
    prepared: Vec<P>,
    committing: bool,
    /// Threads that may be waiting for a sync.
    writers: usize,
    /// Threads that wait for work.
    idle: usize,
    stop: bool,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            reads: VecDeque::new(),
            small: VecDeque::new(),
            large: VecDeque::new(),
            quick: VecDeque::new(),
            slow: VecDeque::new(),
            slow_next: false,
            prepared: Vec::new(),
            committing: false,
            writers: 0,
            idle: 0,
            stop: false,
        }
    }
}

enum Task<P> {
    Job(Job),
    Prepare(DiskOp),
    PrepareLarge(DiskOp),
    Quick(Errand),
    Slow(Errand),
    Commit(Vec<P>),
}

impl<P> Queue<P> {
    fn add(&mut self, op: DiskOp) {
        let (_, reads) = op.kind().key();
        if reads {
            self.reads.push_back(op);
        } else if op.kind().cost() <= SMALL_MAX {
            self.small.push_back(op);
        } else {
            self.large.push_back(op);
        }
    }

    /// What to do next, in the order of the module's documentation.
    fn next(&mut self, writers_max: usize) -> Option<Task<P>> {
        if let Some(job) = self.jobs.pop_front() {
            return Some(Task::Job(job));
        }
        if let Some(op) = self.reads.pop_front().or_else(|| self.small.pop_front()) {
            return Some(Task::Prepare(op));
        }
        if let Some(errand) = self.quick.pop_front() {
            return Some(Task::Quick(errand));
        }
        if self.writers >= writers_max {
            return None;
        }
        let task = if !self.committing && !self.prepared.is_empty() {
            self.committing = true;
            Task::Commit(mem::take(&mut self.prepared))
        } else {
            self.next_large()?
        };
        self.writers += 1;
        Some(task)
    }
}

impl<P> Queue<P> {
    /// A large write or an errand that writes, in turn if there are both.
    fn next_large(&mut self) -> Option<Task<P>> {
        let slow = |queue: &mut Self| queue.slow.pop_front().map(Task::Slow);
        let large = |queue: &mut Self| queue.large.pop_front().map(Task::PrepareLarge);
        self.slow_next = !self.slow_next;
        match self.slow_next {
            true => slow(self).or_else(|| large(self)),
            false => large(self).or_else(|| slow(self)),
        }
    }
}

impl<D: Disk> Crew<D> {
    fn work(&self) {
        let _alarm = Alarm(&self.completions);
        let mut queue = lock(&self.queue);
        while !queue.stop {
            let Some(task) = queue.next(self.writers_max) else {
                queue.idle += 1;
                queue = self
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            };
            drop(queue);
            queue = self.perform(task);
        }
    }

    /// Does it, hands on what came of it, and takes the queue again.
    fn perform(&self, task: Task<D::Prepared>) -> MutexGuard<'_, Queue<D::Prepared>> {
        match task {
            Task::Job(job) => {
                self.completions.add([Completion::Job(job.run())]);
                lock(&self.queue)
            }
            Task::Quick(errand) => {
                self.completions.add([Completion::Errand((errand.work)())]);
                lock(&self.queue)
            }
            Task::Slow(errand) => {
                self.completions.add([Completion::Errand((errand.work)())]);
                let mut queue = lock(&self.queue);
                queue.writers -= 1;
                queue
            }
            Task::Prepare(op) => self.prepare(op),
            Task::PrepareLarge(op) => {
                let mut queue = self.prepare(op);
                queue.writers -= 1;
                queue
            }
            Task::Commit(batch) => {
                let done = self.disk.commit(batch);
                self.completions.add(done.into_iter().map(Completion::Disk));
                let mut queue = lock(&self.queue);
                queue.committing = false;
                queue.writers -= 1;
                queue
            }
        }
    }

    fn prepare(&self, op: DiskOp) -> MutexGuard<'_, Queue<D::Prepared>> {
        let prepared = self.disk.prepare(op);
        match prepared {
            Ok(done) => {
                self.completions.add([Completion::Disk(done)]);
                lock(&self.queue)
            }
            Err(prepared) => {
                let mut queue = lock(&self.queue);
                queue.prepared.push(prepared);
                // This thread may not be allowed to commit, or go on with
                // something else: an idle one can.
                if !queue.committing && queue.idle > 0 && self.writers_max > 1 {
                    self.work.notify_one();
                }
                queue
            }
        }
    }
}

impl<D: Disk> Pool for Crew<D> {
    fn submit(&self, jobs: &mut Vec<Job>, ops: &mut Vec<DiskOp>, errands: &mut Vec<Errand>) {
        let count = jobs.len() + ops.len() + errands.len();
        let mut queue = lock(&self.queue);
        queue.jobs.extend(jobs.drain(..));
        ops.drain(..).for_each(|op| queue.add(op));
        for errand in errands.drain(..) {
            match errand.writes {
                true => queue.slow.push_back(errand),
                false => queue.quick.push_back(errand),
            }
        }
        let wake = count.min(queue.idle);
        drop(queue);
        (0..wake).for_each(|_| self.work.notify_one());
    }

    fn run(&self, ops: &mut Vec<DiskOp>) -> Vec<DiskDone> {
        let mut done = Vec::with_capacity(ops.len());
        let mut batch = Vec::new();
        for op in ops.drain(..) {
            match self.disk.prepare(op) {
                Ok(read) => done.push(read),
                Err(prepared) => batch.push(prepared),
            }
        }
        if !batch.is_empty() {
            done.extend(self.disk.commit(batch));
        }
        done
    }

    fn stop(&self) {
        lock(&self.queue).stop = true;
        self.work.notify_all();
    }
}

/// Tells the engine if its thread panics, as what it was doing will never be
/// completed.
struct Alarm<'a>(&'a Completions);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.done).broken = true;
            self.0.signal.raise();
        }
    }
}

#[cfg(test)]
mod tests;
