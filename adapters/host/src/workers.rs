//! Threads for what would hold up the thread that turns the engine: large
//! jobs and everything that may wait for a disk.
//!
//! All threads share one queue. A thread takes a job first: it is short, never
//! waits, and feeds what sockets and disk are to do next; the core has only a
//! bounded number in flight, so that disk work behind jobs is not starved. Then
//! everything has its turn, so that no supply of one kind, however steady,
//! keeps another from the disk:
//!
//! 1. Reads, small writes' preparations and errands that only read do not wait
//!    for the disk to have written anything. They stand in one line and are
//!    taken as they have come.
//! 2. The commit of what has been prepared comes next as soon as anything has:
//!    a write waits for no more reads than were in line before it. With it go
//!    the small writes that are in line when its first write has been prepared,
//!    wherever they stand there, and whatever else is prepared when it begins.
//!    One thread at a time commits; what others prepare meanwhile is the next
//!    batch.
//! 3. A large write's preparation, which writes and syncs a file, or an errand
//!    that writes, the two in turn, comes when all is taken that was in line
//!    when the one before it began, or when it came itself if it had none to
//!    wait for. Where a commit is due as well, they take turns.
//! 4. A page of a listing, which takes as long as many other reads, comes when
//!    all is taken that came before it, or was in line when the page before it
//!    began. With large writes it takes turns. Where a commit is due it waits,
//!    unless only one thread may do either: then they take turns as well. One
//!    thread in four reads pages, or one of fewer. Where there are others, it
//!    then rests for as long as the page took: whoever asks for ever more pages
//!    has half a core of them, and who asks for one after the other notices
//!    nothing.
//!
//! Where there is more than one thread, one of them never takes 2, 3 and 4, so
//! that no job and no other read waits behind a sync or a page.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
/// The longest rest: a page that takes longer has waited for the disk.
const REST_MAX: Duration = Duration::from_millis(5);

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
            // Of several threads one keeps away from what takes long.
            long_max: (count - usize::from(count > 1)).max(1),
            pages_max: (count / 4).max(1),
            rests: count > 1,
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
    long_max: usize,
    pages_max: usize,
    /// A thread that has read a page rests.
    rests: bool,
    completions: Arc<Completions>,
}

struct Queue<P> {
    jobs: VecDeque<Job>,
    /// What only reads, by when it came..
    reads: VecDeque<(Place, Task<P>)>,
    /// ..and in one line with it, what only needs to be prepared.
    small: VecDeque<(Place, DiskOp)>,
    /// The place in line of what comes next.
    end: Place,
    /// Large writes, and errands that write.
    large: VecDeque<DiskOp>,
    slow: VecDeque<Errand>,
    /// Whose turn it is of `large` and `slow`..
    slow_next: bool,
    /// ..which comes when all is taken that stands before this in line.
    large_at: Place,
    /// The commit has had its turn since the last of them.
    large_next: bool,
    /// Pages, by when they came. The next one's turn comes when all is taken
    /// that stands before this in line..
    pages: VecDeque<(Place, DiskOp)>,
    page_at: Place,
    /// ..and before that of a large write, if one has been taken since the last..
    page_next: bool,
    /// ..or of a commit, where these keep the only thread for what takes long.
    committed: bool,
    /// Threads that read pages.
    paging: usize,
    prepared: Vec<P>,
    /// How many of `small` the next commit still waits for.
    joining: usize,
    committing: bool,
    /// Threads that may be waiting for a sync, or read a page.
    long: usize,
    /// Threads that wait for work.
    idle: usize,
    stop: bool,
}

/// A place in line: how many have come before.
type Place = u64;

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            reads: VecDeque::new(),
            small: VecDeque::new(),
            end: 0,
            large: VecDeque::new(),
            slow: VecDeque::new(),
            slow_next: false,
            large_at: 0,
            large_next: false,
            pages: VecDeque::new(),
            page_at: 0,
            page_next: false,
            committed: false,
            paging: 0,
            prepared: Vec::new(),
            joining: 0,
            committing: false,
            long: 0,
            idle: 0,
            stop: false,
        }
    }
}

enum Task<P> {
    Job(Job),
    Prepare(DiskOp),
    PrepareLarge(DiskOp),
    ReadPage(DiskOp),
    Quick(Errand),
    Slow(Errand),
    Commit(Vec<P>),
}

impl<P> Queue<P> {
    fn add(&mut self, op: DiskOp) {
        let (_, reads) = op.kind().key();
        if op.kind().is_page() {
            let place = self.come();
            self.pages.push_back((place, op));
        } else if reads {
            let place = self.come();
            self.reads.push_back((place, Task::Prepare(op)));
        } else if op.kind().cost() <= SMALL_MAX {
            let place = self.come();
            self.small.push_back((place, op));
        } else {
            self.come_large();
            self.large.push_back(op);
        }
    }

    fn add_errand(&mut self, errand: Errand) {
        if errand.writes {
            self.come_large();
            self.slow.push_back(errand);
        } else {
            let place = self.come();
            self.reads.push_back((place, Task::Quick(errand)));
        }
    }

    /// The place of what has just come.
    fn come(&mut self) -> Place {
        let place = self.end;
        self.end += 1;
        place
    }

    fn come_large(&mut self) {
        if self.large.is_empty() && self.slow.is_empty() {
            self.large_at = self.end;
        }
    }

    /// A write is ready to be committed.
    fn ready(&mut self, prepared: P) {
        if self.prepared.is_empty() {
            self.joining = self.small.len();
        }
        self.prepared.push(prepared);
    }

    /// What to do next, in the order of the module's documentation.
    fn next(&mut self, long_max: usize, pages_max: usize) -> Option<Task<P>> {
        if let Some(job) = self.jobs.pop_front() {
            return Some(Task::Job(job));
        }
        if self.long >= long_max {
            return self.next_in_line();
        }
        let commit = !self.committing && !self.prepared.is_empty();
        let page = self.paging < pages_max && self.is_page_due();
        let large = (self.large_next || !commit) && self.is_large_due();
        let task = if large && !(page && self.page_next) {
            self.next_large()?
        } else if commit && self.joining > 0 && !self.small.is_empty() {
            return self.next_small();
        } else if commit && !(page && self.committed && long_max == 1) {
            self.committing = true;
            (self.large_next, self.committed) = (true, true);
            Task::Commit(mem::take(&mut self.prepared))
        } else if page {
            self.next_page()?
        } else {
            return self.next_in_line();
        };
        self.long += 1;
        Some(task)
    }

    /// Where the first in line stands.
    fn front(&self) -> Option<Place> {
        let read = self.reads.front().map(|(place, _)| *place);
        let small = self.small.front().map(|(place, _)| *place);
        read.into_iter().chain(small).min()
    }

    fn next_in_line(&mut self) -> Option<Task<P>> {
        let front = self.front()?;
        if self.reads.front().is_some_and(|(place, _)| *place == front) {
            return self.reads.pop_front().map(|(_, task)| task);
        }
        self.next_small()
    }

    fn next_small(&mut self) -> Option<Task<P>> {
        self.joining = self.joining.saturating_sub(1);
        self.small.pop_front().map(|(_, op)| Task::Prepare(op))
    }

    fn is_large_due(&self) -> bool {
        let waits = !(self.large.is_empty() && self.slow.is_empty());
        waits && self.front().is_none_or(|front| front >= self.large_at)
    }

    fn is_page_due(&self) -> bool {
        let Some((place, _)) = self.pages.front() else {
            return false;
        };
        let after = self.page_at.max(*place);
        self.front().is_none_or(|front| front >= after)
    }

    fn next_page(&mut self) -> Option<Task<P>> {
        let (_, op) = self.pages.pop_front()?;
        self.page_at = self.end;
        (self.page_next, self.committed) = (false, false);
        self.paging += 1;
        Some(Task::ReadPage(op))
    }

    /// A large write or an errand that writes, in turn if there are both.
    fn next_large(&mut self) -> Option<Task<P>> {
        let slow = |queue: &mut Self| queue.slow.pop_front().map(Task::Slow);
        let large = |queue: &mut Self| queue.large.pop_front().map(Task::PrepareLarge);
        self.slow_next = !self.slow_next;
        self.large_next = false;
        self.page_next = true;
        self.large_at = self.end;
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
            let Some(task) = queue.next(self.long_max, self.pages_max) else {
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
                queue.long -= 1;
                queue
            }
            Task::Prepare(op) => self.prepare(op),
            Task::PrepareLarge(op) => {
                let mut queue = self.prepare(op);
                queue.long -= 1;
                queue
            }
            Task::ReadPage(op) => {
                let begun = Instant::now();
                let mut queue = self.prepare(op);
                queue.long -= 1;
                if self.rests {
                    // What this thread kept from the others, one of them may do now.
                    if queue.idle > 0 {
                        self.work.notify_one();
                    }
                    drop(queue);
                    thread::sleep(begun.elapsed().min(REST_MAX));
                    queue = lock(&self.queue);
                }
                queue.paging -= 1;
                queue
            }
            Task::Commit(batch) => {
                let done = self.disk.commit(batch);
                self.completions.add(done.into_iter().map(Completion::Disk));
                let mut queue = lock(&self.queue);
                queue.committing = false;
                queue.long -= 1;
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
                queue.ready(prepared);
                // This thread may not be allowed to commit, or go on with
                // something else: an idle one can.
                if !queue.committing && queue.idle > 0 && self.long_max > 1 {
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
            queue.add_errand(errand);
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
