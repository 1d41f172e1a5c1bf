use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};
use std::thread::Thread;

use peerhold_core::BlobId;
use peerhold_core::disk::{DiskData, DiskError, DiskKind};

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
