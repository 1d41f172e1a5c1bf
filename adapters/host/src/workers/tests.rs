use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::thread::Thread;

use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::{BlobId, NamespaceId};

use super::*;

/// A disk whose commits and large preparations wait until the test lets them
/// go on.
struct Gated {
    /// Tells the test how many operations a commit has, or 0 for a large
    /// preparation..
    entered: Mutex<Sender<usize>>,
    /// ..which goes on when the test says so.
    gate: Mutex<Receiver<()>>,
    /// Tells the test of small preparations.
    small: Mutex<Sender<()>>,
    alive: Arc<AtomicUsize>,
}

struct Test {
    small: Receiver<()>,
    entered: Receiver<usize>,
    gate: Sender<()>,
    alive: Arc<AtomicUsize>,
    completions: Arc<Completions>,
    done: VecDeque<Completion>,
}

impl Disk for Gated {
    type Prepared = DiskOp;

    fn prepare(&self, op: DiskOp) -> Result<DiskDone, DiskOp> {
        if op.kind().key().1 {
            return Ok(op.complete(Err(DiskError::NotFound)));
        }
        if op.kind().cost() > SMALL_MAX {
            self.wait(0);
        } else {
            lock(&self.small).send(()).unwrap();
        }
        Err(op)
    }

    fn commit(&self, batch: Vec<DiskOp>) -> Vec<DiskDone> {
        assert!(
            !batch.iter().any(|op| *op.kind() == DiskKind::Load),
            "a panic for the test's sake"
        );
        self.wait(batch.len());
        batch
            .into_iter()
            .map(|op| op.complete(Ok(DiskData::Done)))
            .collect()
    }
}

impl Gated {
    fn wait(&self, what: usize) {
        lock(&self.entered).send(what).unwrap();
        lock(&self.gate).recv().unwrap();
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Unparks the test's thread.
struct Here(Thread, AtomicUsize);

impl Wake for Here {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn start(threads: usize) -> (Workers, Test, Arc<Here>) {
    let here = Arc::new(Here(thread::current(), AtomicUsize::new(0)));
    let signal = Arc::new(Signal::default());
    signal.register(&Waker::from(Arc::clone(&here)));
    let completions = Arc::new(Completions::new(signal));
    let (entered_tx, entered) = channel();
    let (gate, gate_rx) = channel();
    let alive = Arc::new(AtomicUsize::new(1));
    let (small_tx, small) = channel();
    let disk = Gated {
        entered: Mutex::new(entered_tx),
        gate: Mutex::new(gate_rx),
        small: Mutex::new(small_tx),
        alive: Arc::clone(&alive),
    };
    let workers = Workers::start(disk, threads, Arc::clone(&completions)).unwrap();
    let test = Test {
        small,
        entered,
        gate,
        alive,
        completions,
        done: VecDeque::new(),
    };
    (workers, test, here)
}

impl Test {
    /// Waits until so many operations are done, reads among them.
    fn wait(&mut self, count: usize) {
        while self.done.len() < count {
            self.completions.signal.lower();
            assert!(self.completions.take(&mut self.done), "a worker panicked");
            if self.done.len() < count {
                thread::park();
            }
        }
        assert_eq!(self.done.len(), count);
        self.done.clear();
    }

    fn open(&self) {
        self.gate.send(()).unwrap();
    }
}

fn read() -> DiskOp {
    DiskOp::detached(DiskKind::GetBlob(BlobId([1; 32])))
}

fn small() -> DiskOp {
    DiskOp::detached(DiskKind::ForgetBlob(BlobId([1; 32])))
}

fn large() -> DiskOp {
    DiskOp::detached(DiskKind::PutMembers(vec![0; SMALL_MAX + 1].into()))
}

fn page() -> DiskOp {
    DiskOp::detached(DiskKind::ListNames {
        namespace: NamespaceId([1; 32]),
        after: None,
        max: 1000,
    })
}

fn submit(workers: &Workers, ops: impl Into<Vec<DiskOp>>) {
    workers.submit(&mut Vec::new(), &mut ops.into(), &mut Vec::new());
}

#[test]
fn reads_do_not_wait_for_a_commit() {
    let (workers, mut test, _here) = start(2);
    submit(&workers, [small()]);
    assert_eq!(test.entered.recv(), Ok(1));
    submit(&workers, [read(), read()]);
    test.wait(2);
    test.open();
    test.wait(1);
}

#[test]
fn what_arrives_during_a_commit_is_the_next_batch() {
    let (workers, mut test, _here) = start(2);
    submit(&workers, [small()]);
    assert_eq!(test.entered.recv(), Ok(1));
    assert!(test.small.recv().is_ok());
    submit(&workers, [small(), small(), small()]);
    (0..3).for_each(|_| test.small.recv().unwrap());
    // The other thread takes this when it is through with the third.
    submit(&workers, [read()]);
    test.wait(1);
    test.open();
    test.wait(1);
    assert_eq!(test.entered.recv(), Ok(3));
    test.open();
    test.wait(3);
}

#[test]
fn large_writes_leave_one_thread_free_for_reads() {
    let (workers, mut test, _here) = start(3);
    submit(&workers, [large(), large(), large(), large()]);
    assert_eq!((test.entered.recv(), test.entered.recv()), (Ok(0), Ok(0)));
    submit(&workers, [read()]);
    test.wait(1);
    assert!(
        test.entered.try_recv().is_err(),
        "the last thread waits for a sync"
    );
    // Every large one and every commit of them may now go on.
    (0..8).for_each(|_| test.open());
    test.wait(4);
}

#[test]
fn one_thread_does_everything() {
    let (workers, mut test, _here) = start(1);
    (0..8).for_each(|_| test.open());
    submit(&workers, [large(), small(), read()]);
    test.wait(3);
}

#[test]
fn no_thread_does_the_work_where_it_is_called() {
    let (workers, test, _here) = start(0);
    test.open();
    assert!(!workers.threaded());
    assert_eq!(workers.run(&mut vec![small(), read(), small()]).len(), 3);
    assert_eq!(test.entered.recv(), Ok(2));
}

#[test]
fn the_driver_is_woken_once_for_all_that_gathers() {
    let (workers, mut test, here) = start(2);
    test.open();
    submit(&workers, [small()]);
    assert_eq!(test.entered.recv(), Ok(1));
    submit(&workers, [read(), read(), read()]);
    // The engine has not looked since the test began.
    while lock(&test.completions.done).list.len() < 4 {
        thread::yield_now();
    }
    assert_eq!(here.1.load(Ordering::SeqCst), 1);
    test.wait(4);
}

#[test]
fn the_end_joins_the_threads_and_drops_the_disk() {
    let (workers, test, _here) = start(4);
    (0..4).for_each(|_| test.open());
    submit(&workers, [small(), read(), large()]);
    drop(workers);
    assert_eq!(test.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_is_reported() {
    let (workers, mut test, _here) = start(1);
    submit(&workers, [DiskOp::detached(DiskKind::Load)]);
    while test.completions.take(&mut test.done) {
        thread::park();
        test.completions.signal.lower();
    }
    drop(workers);
    assert_eq!(test.alive.load(Ordering::SeqCst), 0);
}

/// A disk whose pages take a while, and which notes when each began and ended.
struct Busy(Arc<Mutex<Vec<[Instant; 2]>>>);

impl Disk for Busy {
    type Prepared = DiskOp;

    fn prepare(&self, op: DiskOp) -> Result<DiskDone, DiskOp> {
        let begun = Instant::now();
        while begun.elapsed() < REST_MAX {
            thread::yield_now();
        }
        lock(&self.0).push([begun, Instant::now()]);
        Ok(op.complete(Err(DiskError::NotFound)))
    }

    fn commit(&self, _: Vec<DiskOp>) -> Vec<DiskDone> {
        Vec::new()
    }
}

#[test]
fn between_two_pages_a_core_is_left_to_others_for_as_long_as_a_page_takes() {
    let completions = Arc::new(Completions::new(Arc::new(Signal::default())));
    let pages = Arc::default();
    let workers = Workers::start(Busy(Arc::clone(&pages)), 4, completions).unwrap();
    submit(&workers, [page(), page(), page()]);
    while lock(&pages).len() < 3 {
        thread::yield_now();
    }
    drop(workers);
    let pages = lock(&pages);
    for next in pages.windows(2) {
        assert!(next[1][0] - next[0][1] >= REST_MAX);
    }
}

/// A disk of which ever more is asked to be read: who reads is in line again
/// before it has what it asked for, until a write is durable.
struct Endless {
    line: Arc<OnceLock<Arc<dyn Pool>>>,
    read: AtomicUsize,
    committed: Arc<AtomicBool>,
}

/// So many reads before a write are for ever.
const EVER: usize = 200_000;

impl Disk for Endless {
    type Prepared = DiskOp;

    fn prepare(&self, op: DiskOp) -> Result<DiskDone, DiskOp> {
        if !op.kind().key().1 {
            return Err(op);
        }
        if self.read.fetch_add(1, Ordering::SeqCst) < EVER && !self.committed.load(Ordering::SeqCst)
        {
            self.line
                .wait()
                .submit(&mut Vec::new(), &mut vec![read()], &mut Vec::new());
            // Another thread may be about to write.
            thread::yield_now();
        }
        Ok(op.complete(Err(DiskError::NotFound)))
    }

    fn commit(&self, batch: Vec<DiskOp>) -> Vec<DiskDone> {
        self.committed
            .store(self.read.load(Ordering::SeqCst) < EVER, Ordering::SeqCst);
        batch
            .into_iter()
            .map(|op| op.complete(Ok(DiskData::Done)))
            .collect()
    }
}

/// Whether a write is durable although the line of reads never ends.
fn is_written(threads: usize, write: DiskOp) -> bool {
    let completions = Arc::new(Completions::new(Arc::new(Signal::default())));
    let (line, committed) = (Arc::default(), Arc::default());
    let disk = Endless {
        line: Arc::clone(&line),
        read: AtomicUsize::new(0),
        committed: Arc::clone(&committed),
    };
    let workers = Workers::start(disk, threads, Arc::clone(&completions)).unwrap();
    // One for each thread, and one that is still in line then.
    submit(&workers, (0..=threads).map(|_| read()).collect::<Vec<_>>());
    submit(&workers, [write]);
    assert!(line.set(Arc::clone(&workers.pool)).is_ok());
    let (mut done, mut written) = (VecDeque::new(), false);
    while !written {
        assert!(completions.take(&mut done), "a worker panicked");
        written = done.drain(..).any(
            |done| matches!(done, Completion::Disk(done) if *done.result() == Ok(DiskData::Done)),
        );
        thread::yield_now();
    }
    committed.load(Ordering::SeqCst)
}

#[test]
fn who_asks_for_ever_more_keeps_no_write_from_the_disk() {
    for threads in [1, 4] {
        assert!(is_written(threads, small()), "with {threads} threads");
    }
}

#[test]
fn who_asks_for_ever_more_keeps_no_large_write_from_the_disk() {
    for threads in [1, 4] {
        assert!(is_written(threads, large()), "with {threads} threads");
    }
}

/// What one thread that may write takes, one letter each: `r`eads, `p`ages and
/// `q`uick errands, `s`mall and `L`arge writes, `E`rrands that write, and how many
/// writes each commit has. With every turn `comes` comes into the line.
fn turns(queue: &mut Queue<()>, most: usize, comes: &dyn Fn(&mut Queue<()>)) -> String {
    let mut turns = String::new();
    while turns.len() < most
        && let Some(task) = queue.next(1, 1)
    {
        comes(queue);
        turns.push(match task {
            Task::Job(_) => 'j',
            Task::Quick(_) => 'q',
            Task::Prepare(op) if op.kind().key().1 => 'r',
            Task::Prepare(_) => {
                queue.ready(());
                's'
            }
            Task::PrepareLarge(_) => {
                queue.long -= 1;
                queue.ready(());
                'L'
            }
            Task::ReadPage(_) => {
                (queue.long, queue.paging) = (0, 0);
                'p'
            }
            Task::Slow(_) => {
                queue.long -= 1;
                'E'
            }
            Task::Commit(batch) => {
                queue.long -= 1;
                queue.committing = false;
                char::from_digit(batch.len() as u32, 36).unwrap()
            }
        });
    }
    turns
}

fn errand(writes: bool) -> Errand {
    let work = Box::new(|| Filed::Told);
    Errand { writes, work }
}

#[test]
fn a_write_waits_for_the_reads_before_it_and_others_go_with_it() {
    let mut queue = Queue::default();
    queue.add(read());
    queue.add_errand(errand(false));
    for op in [small(), read(), small(), read()] {
        queue.add(op);
    }
    assert_eq!(turns(&mut queue, 99, &|_| {}), "rqss2rr");
}

#[test]
fn a_commit_waits_for_no_write_that_comes_after_its_first() {
    let mut queue = Queue::default();
    queue.add(small());
    let comes = |queue: &mut Queue<()>| queue.add(small());
    // With each go those that have come since the one before began.
    assert_eq!(turns(&mut queue, 12, &comes), "ss2sss3ssss4");
}

#[test]
fn large_writes_have_turns_with_what_is_in_line_and_with_commits() {
    let mut queue = Queue::default();
    for op in [read(), large(), large(), read()] {
        queue.add(op);
    }
    queue.add_errand(errand(true));
    let comes = |queue: &mut Queue<()>| queue.add(read());
    // Each once what was in line before has been read.
    let large = turns(&mut queue, 30, &comes);
    assert_eq!(large, "rErrL1rrrL1rrrrrrrrrrrrrrrrrrr");
}

#[test]
fn what_is_written_in_small_pieces_for_ever_keeps_no_large_write_from_the_disk() {
    let mut queue = Queue::default();
    for op in [small(), large(), large()] {
        queue.add(op);
    }
    queue.add_errand(errand(true));
    let comes = |queue: &mut Queue<()>| {
        queue.add(small());
        queue.add(read());
    };
    let turns = turns(&mut queue, 60, &comes);
    let count = |what: char| turns.chars().filter(|turn| *turn == what).count();
    assert_eq!((count('L'), count('E')), (2, 1), "{turns}");
    assert!(count('r') > 10, "{turns}");
}

#[test]
fn a_page_goes_before_what_came_later_once() {
    let mut queue = Queue::default();
    for op in [read(), page(), page(), page(), read(), small(), large()] {
        queue.add(op);
    }
    assert_eq!(turns(&mut queue, 99, &|_| {}), "rprs1Lp1p");
    // However many come, none of a kind keeps others from their turns for ever.
    let came = Cell::new(0);
    let comes = |queue: &mut Queue<()>| {
        came.set((came.get() + 1) % 4);
        queue.add([page, small, read, large][came.get()]());
    };
    comes(&mut queue);
    let turns = turns(&mut queue, 99, &comes);
    for what in ['p', 's', 'r', 'L'] {
        assert!(turns.matches(what).count() > 3, "{what}: {turns}");
    }
}

#[test]
fn pages_keep_one_thread_in_four() {
    let mut queue: Queue<()> = Queue::default();
    for op in [page(), page(), read()] {
        queue.add(op);
    }
    let took: Vec<_> = std::iter::from_fn(|| queue.next(3, 1)).collect();
    assert!(matches!(took[..], [Task::ReadPage(_), Task::Prepare(_)]));
    (queue.long, queue.paging) = (0, 0);
    assert!(matches!(queue.next(3, 1), Some(Task::ReadPage(_))));
}

#[test]
fn pages_have_turns_where_there_is_always_something_to_commit() {
    let mut queue = Queue::default();
    (0..3).for_each(|_| queue.add(page()));
    let mut turns = String::new();
    for _ in 0..6 {
        // Another thread has prepared something meanwhile.
        queue.ready(());
        turns += &self::turns(&mut queue, 1, &|_| {});
    }
    assert_eq!(turns, "1p2p2p");
}

#[test]
fn large_writes_have_turns_where_there_is_always_something_to_commit() {
    let mut queue = Queue::default();
    (0..3).for_each(|_| queue.add(large()));
    let mut turns = String::new();
    for _ in 0..6 {
        // Another thread has prepared something meanwhile.
        queue.ready(());
        turns += &self::turns(&mut queue, 1, &|_| {});
    }
    assert_eq!(turns, "1L3L3L");
}
