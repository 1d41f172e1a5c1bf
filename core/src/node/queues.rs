//! What leaves the node and comes back: disk operations and jobs, each with
//! what waits for it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::ops::Bound;

use crate::bug::{self, Bug};
use crate::disk::{DiskData, DiskDone, DiskError, DiskKey, DiskKind, DiskOp, Ticket};
use crate::id::{ConnId, Mint};
use crate::job::{Job, JobDone, Made, Work};

/// Whose an operation is: a connection's, whose peer has asked for it, or the
/// node's own.
pub(super) type Owner = Option<ConnId>;

/// Disk operations: ordered per key, bounded in flight, of each owner in turn.
#[derive(Debug)]
pub(super) struct DiskQueue<T> {
    in_flight_max: usize,
    keys: BTreeMap<DiskKey, KeyState<T>>,
    /// By owner. However much one has asked for, the others have their turns.
    runnable: BTreeMap<Owner, VecDeque<(DiskKind, T)>>,
    /// Whose turn it was last.
    turn: Owner,
    /// How many wait for their key.
    waiting: usize,
    in_flight: BTreeMap<NonZeroU64, (T, DiskKey, bool, Owner)>,
    /// How many of each owner's are not done yet.
    counts: BTreeMap<Owner, usize>,
}

/// Who uses a key. The core never has two operations on one key in flight
/// unless both only read.
#[derive(Debug)]
struct KeyState<T> {
    readers: u32,
    writing: bool,
    waiting: VecDeque<(DiskKind, T, Owner)>,
}

impl<T> DiskQueue<T> {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            keys: BTreeMap::new(),
            runnable: BTreeMap::new(),
            turn: None,
            waiting: 0,
            in_flight: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn submit(&mut self, kind: DiskKind, waiter: T, owner: Owner) {
        let (key, _) = kind.key();
        *self.counts.entry(owner).or_default() += 1;
        let state = self.keys.entry(key).or_insert_with(|| KeyState {
            readers: 0,
            writing: false,
            waiting: VecDeque::new(),
        });
        state.waiting.push_back((kind, waiter, owner));
        self.waiting += 1;
        self.start(key);
    }

    /// Makes runnable what `key` no longer holds back.
    fn start(&mut self, key: DiskKey) {
        let Some(state) = self.keys.get_mut(&key) else {
            return;
        };
        while let Some((kind, ..)) = state.waiting.front() {
            let (_, reads) = kind.key();
            if state.writing || (!reads && state.readers > 0) {
                break;
            }
            state.readers += u32::from(reads);
            state.writing = !reads;
            if let Some((kind, waiter, owner)) = state.waiting.pop_front() {
                let runnable = self.runnable.entry(owner).or_default();
                runnable.push_back((kind, waiter));
            }
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
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let next = self.runnable.range(after).next();
        let (&owner, _) = next.or_else(|| self.runnable.first_key_value())?;
        let of_owner = self.runnable.get_mut(&owner)?;
        let next = of_owner.pop_front();
        if of_owner.is_empty() {
            self.runnable.remove(&owner);
        }
        self.turn = owner;
        let (kind, waiter) = next?;
        let (key, reads) = kind.key();
        let ticket = bug::or(Bug::TicketReused, NonZeroU64::MIN, mint.next());
        self.in_flight.insert(ticket, (waiter, key, reads, owner));
        Some(DiskOp::new(Ticket(ticket), kind))
    }

    /// Who waited, and for what. `None` for a completion of another node's.
    pub(super) fn complete(
        &mut self,
        done: DiskDone,
    ) -> Option<(T, DiskKey, Result<DiskData, DiskError>)> {
        let (waiter, key, reads, owner) = self.in_flight.remove(&done.ticket.0)?;
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
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

    /// What an owner has asked to read, and is not being read yet, is not wanted
    /// any more. What it has given to write still is.
    pub(super) fn forget(&mut self, owner: Owner) {
        let Some(count) = self.counts.get_mut(&owner) else {
            return;
        };
        let unwanted = |kind: &DiskKind| kind.key().1;
        let mut freed = Vec::new();
        if let Some(mut of_owner) = self.runnable.remove(&owner) {
            of_owner.retain(|(kind, _)| {
                let drop = unwanted(kind);
                freed.extend(drop.then(|| kind.key().0));
                !drop
            });
            if !of_owner.is_empty() {
                self.runnable.insert(owner, of_owner);
            }
        }
        let mut dropped = freed.len();
        for state in self.keys.values_mut() {
            let before = state.waiting.len();
            state
                .waiting
                .retain(|(kind, _, of)| *of != owner || !unwanted(kind));
            let fewer = before - state.waiting.len();
            self.waiting -= fewer;
            dropped += fewer;
        }
        *count -= dropped;
        if *count == 0 {
            self.counts.remove(&owner);
        }
        for key in freed {
            if let Some(state) = self.keys.get_mut(&key) {
                state.readers -= 1;
            }
            self.start(key);
        }
    }

    /// Whether [`DiskQueue::poll`] would give something.
    pub(super) fn has_output(&self) -> bool {
        !self.runnable.is_empty() && self.in_flight.len() < self.in_flight_max
    }

    /// Operations of an owner's that are not done yet.
    pub(super) fn len_of(&self, owner: Owner) -> usize {
        self.counts.get(&owner).copied().unwrap_or(0)
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
            queue.submit(kind, name, None);
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
    fn who_asks_for_much_keeps_nobody_from_their_turn() {
        let (mut queue, mut mint) = (DiskQueue::new(100), Mint::new());
        let [greedy, other] = [(); 2].map(|()| Some(ConnId::from_mint(&mut mint)));
        (0..10).for_each(|at| queue.submit(get(at), greedy, greedy));
        queue.submit(get(20), None, None);
        queue.submit(get(21), other, other);
        queue.submit(get(22), other, other);
        let mut turns = Vec::new();
        while let Some(op) = queue.poll(&mut mint) {
            turns.extend(
                queue
                    .complete(op.complete(Err(DiskError::NotFound)))
                    .map(|(owner, ..)| owner),
            );
        }
        assert_eq!(turns[..5], [greedy, other, None, greedy, other]);
        assert_eq!((turns.len(), queue.len_of(greedy)), (13, 0));
    }

    #[test]
    fn what_who_has_gone_only_wanted_to_read_is_not_read() {
        let (mut queue, mut mint) = (DiskQueue::new(100), Mint::new());
        let [gone, other] = [(); 2].map(|()| Some(ConnId::from_mint(&mut mint)));
        queue.submit(get(1), 'a', gone);
        let first = queue.poll(&mut mint).unwrap();
        // One that could be read, one that is to be written, one that waits for
        // it, and one of somebody else's behind all of them.
        for (kind, name, owner) in [
            (get(2), 'b', gone),
            (forget(3), 'c', gone),
            (get(3), 'd', gone),
            (forget(2), 'e', other),
        ] {
            queue.submit(kind, name, owner);
        }
        queue.forget(gone);
        assert_eq!(queue.len_of(gone), 2);
        let done = |op: DiskOp| op.complete(Ok(DiskData::Done));
        let mut names = alloc::vec![queue.complete(done(first)).unwrap().0];
        while let Some(op) = queue.poll(&mut mint) {
            names.push(queue.complete(done(op)).unwrap().0);
        }
        names.sort_unstable();
        assert_eq!(names, ['a', 'c', 'e']);
        assert_eq!((queue.len_of(gone), queue.len_of(other)), (0, 0));
        assert!(queue.keys.is_empty() && queue.waiting == 0);
    }

    #[test]
    fn no_more_are_in_flight_than_the_limit() {
        let (mut queue, mut mint) = (DiskQueue::new(1), Mint::new());
        queue.submit(get(1), (), None);
        queue.submit(get(2), (), None);
        let op = queue.poll(&mut mint).unwrap();
        assert!(!queue.has_output());
        queue.complete(op.complete(Err(DiskError::NotFound)));
        assert!(queue.has_output());
        assert_eq!(queue.len_of(None), 1);
    }

    #[test]
    fn operations_that_wait_for_their_key_count() {
        let (mut queue, mut mint) = (DiskQueue::new(10), Mint::new());
        (0..5).for_each(|_| queue.submit(forget(1), (), None));
        assert_eq!(queue.len_of(None), 5);
        for left in (0..5).rev() {
            let op = queue.poll(&mut mint).unwrap();
            queue.complete(op.complete(Ok(DiskData::Done)));
            assert_eq!(queue.len_of(None), left);
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
