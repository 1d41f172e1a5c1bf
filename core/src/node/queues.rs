//! What leaves the node and comes back: disk operations and jobs, each with
//! what waits for it.

use alloc::collections::{BTreeMap, VecDeque};
use core::num::NonZeroU64;

use crate::bug::{self, Bug};
use crate::disk::{DiskData, DiskDone, DiskError, DiskKey, DiskKind, DiskOp, Ticket};
use crate::id::Mint;
use crate::job::{Job, JobDone, Made, Work};

/// Disk operations: ordered per key, bounded in flight.
#[derive(Debug)]
pub(super) struct DiskQueue<T> {
    in_flight_max: usize,
    keys: BTreeMap<DiskKey, KeyState<T>>,
    runnable: VecDeque<(DiskKind, T)>,
    /// How many wait for their key.
    waiting: usize,
    in_flight: BTreeMap<NonZeroU64, (T, DiskKey, bool)>,
}

/// Who uses a key. The core never has two operations on one key in flight
/// unless both only read.
#[derive(Debug)]
struct KeyState<T> {
    readers: u32,
    writing: bool,
    waiting: VecDeque<(DiskKind, T)>,
}

impl<T> DiskQueue<T> {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            keys: BTreeMap::new(),
            runnable: VecDeque::new(),
            waiting: 0,
            in_flight: BTreeMap::new(),
        }
    }

    pub(super) fn submit(&mut self, kind: DiskKind, waiter: T) {
        let (key, _) = kind.key();
        let state = self.keys.entry(key).or_insert_with(|| KeyState {
            readers: 0,
            writing: false,
            waiting: VecDeque::new(),
        });
        state.waiting.push_back((kind, waiter));
        self.waiting += 1;
        self.start(key);
    }

    /// Makes runnable what `key` no longer holds back.
    fn start(&mut self, key: DiskKey) {
        let Some(state) = self.keys.get_mut(&key) else {
            return;
        };
        while let Some((kind, _)) = state.waiting.front() {
            let (_, reads) = kind.key();
            if state.writing || (!reads && state.readers > 0) {
                break;
            }
            state.readers += u32::from(reads);
            state.writing = !reads;
            self.runnable.extend(state.waiting.pop_front());
            self.waiting -= 1;
        }
        if state.readers == 0 && !state.writing && state.waiting.is_empty() {
            self.keys.remove(&key);
        }
    }

    pub(super) fn poll(&mut self, mint: &mut Mint) -> Option<DiskOp> {
        if self.in_flight.len() >= self.in_flight_max {
            return None;
        }
        let (kind, waiter) = self.runnable.pop_front()?;
        let (key, reads) = kind.key();
        let ticket = bug::or(Bug::TicketReused, NonZeroU64::MIN, mint.next());
        self.in_flight.insert(ticket, (waiter, key, reads));
        Some(DiskOp::new(Ticket(ticket), kind))
    }

    /// Who waited, and for what. `None` for a completion of another node's.
    pub(super) fn complete(
        &mut self,
        done: DiskDone,
    ) -> Option<(T, DiskKey, Result<DiskData, DiskError>)> {
        let (waiter, key, reads) = self.in_flight.remove(&done.ticket.0)?;
        if let Some(state) = self.keys.get_mut(&key) {
            if reads {
                state.readers -= 1;
            } else {
                state.writing = false;
            }
        }
        self.start(key);
        Some((waiter, key, done.result))
    }

    /// Whether [`DiskQueue::poll`] would give something.
    pub(super) fn has_output(&self) -> bool {
        !self.runnable.is_empty() && self.in_flight.len() < self.in_flight_max
    }

    /// Operations that are not done yet.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len() + self.runnable.len() + self.waiting
    }
}

/// Jobs, in order.
#[derive(Debug)]
pub(super) struct JobQueue<T> {
    ready: VecDeque<Job>,
    waiting: BTreeMap<NonZeroU64, T>,
}

impl<T> JobQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn submit(&mut self, mint: &mut Mint, work: Work, waiter: T) {
        let ticket = mint.next();
        self.waiting.insert(ticket, waiter);
        self.ready.push_back(Job::new(Ticket(ticket), work));
    }

    pub(super) fn poll(&mut self) -> Option<Job> {
        self.ready.pop_front()
    }

    pub(super) fn complete(&mut self, done: JobDone) -> Option<(T, Made)> {
        let longest = *self.waiting.keys().next()?;
        let ticket = bug::or(Bug::JobMisdelivered, longest, done.ticket.0);
        let waiter = self.waiting.remove(&ticket)?;
        Some((waiter, done.made))
    }

    pub(super) fn has_output(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Jobs that are not done yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// A number of bytes that may be in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    used: usize,
    max: usize,
}

impl Budget {
    pub(super) const fn new(max: usize) -> Self {
        Self { used: 0, max }
    }

    /// Whether `bytes` are free.
    pub(super) const fn fits(&self, bytes: usize) -> bool {
        bytes <= self.max - self.used
    }

    /// Takes `bytes` if they are free.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.used += bytes;
        }
        fits
    }

    pub(super) fn give(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "more given back than was taken");
        self.used = self.used.saturating_sub(bytes);
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlobId;

    fn get(byte: u8) -> DiskKind {
        DiskKind::GetBlob(BlobId([byte; 32]))
    }

    fn forget(byte: u8) -> DiskKind {
        DiskKind::ForgetBlob(BlobId([byte; 32]))
    }

    #[test]
    fn operations_on_one_key_meet_only_if_both_read() {
        let (mut queue, mut mint) = (DiskQueue::new(10), Mint::new());
        for (kind, name) in [
            (get(1), 'a'),
            (get(1), 'b'),
            (forget(1), 'c'),
            (get(1), 'd'),
            (get(2), 'e'),
        ] {
            queue.submit(kind, name);
        }
        let first = [
            queue.poll(&mut mint).unwrap(),
            queue.poll(&mut mint).unwrap(),
        ];
        let other = queue.poll(&mut mint).unwrap();
        assert_eq!(*other.kind(), get(2));
        assert!(queue.poll(&mut mint).is_none());
        for op in first {
            queue.complete(op.complete(Err(DiskError::NotFound)));
        }
        let write = queue.poll(&mut mint).unwrap();
        assert_eq!(*write.kind(), forget(1));
        assert!(queue.poll(&mut mint).is_none());
        assert_eq!(
            queue
                .complete(write.complete(Ok(DiskData::Done)))
                .unwrap()
                .0,
            'c'
        );
        assert_eq!(*queue.poll(&mut mint).unwrap().kind(), get(1));
    }

    #[test]
    fn no_more_are_in_flight_than_the_limit() {
        let (mut queue, mut mint) = (DiskQueue::new(1), Mint::new());
        queue.submit(get(1), ());
        queue.submit(get(2), ());
        let op = queue.poll(&mut mint).unwrap();
        assert!(!queue.has_output());
        queue.complete(op.complete(Err(DiskError::NotFound)));
        assert!(queue.has_output());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn operations_that_wait_for_their_key_count() {
        let (mut queue, mut mint) = (DiskQueue::new(10), Mint::new());
        (0..5).for_each(|_| queue.submit(forget(1), ()));
        assert_eq!(queue.len(), 5);
        for left in (0..5).rev() {
            let op = queue.poll(&mut mint).unwrap();
            queue.complete(op.complete(Ok(DiskData::Done)));
            assert_eq!(queue.len(), left);
        }
    }

    #[test]
    fn a_completion_from_elsewhere_is_ignored() {
        let mut queue: DiskQueue<()> = DiskQueue::new(1);
        assert!(
            queue
                .complete(DiskOp::detached(get(1)).complete(Ok(DiskData::Done)))
                .is_none()
        );
    }

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let mut budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        budget.give(6);
        assert!(budget.take(10));
    }
}
