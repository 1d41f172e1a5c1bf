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
    /// What may begin: pages of listings, each of which takes as long as many
    /// look-ups, and everything else. Pages have a part of the places in flight
    /// at most, so that there is always one for the others.
    pages: Lane<T>,
    others: Lane<T>,
    pages_max: usize,
    pages_in_flight: usize,
    /// It was a page's turn last.
    was_page: bool,
    /// How many wait for their key.
    waiting: usize,
    in_flight: BTreeMap<NonZeroU64, InFlight<T>>,
    /// How many of each owner's are not done yet.
    counts: BTreeMap<Owner, usize>,
}

/// Operations that may begin, of each owner in turn: however much one has
/// asked for, the others have their turns.
#[derive(Debug)]
struct Lane<T> {
    by_owner: BTreeMap<Owner, VecDeque<(DiskKind, T)>>,
    /// Whose turn it was last.
    turn: Owner,
}

#[derive(Debug)]
struct InFlight<T> {
    waiter: T,
    key: DiskKey,
    reads: bool,
    page: bool,
    owner: Owner,
}

/// Who uses a key. The core never has two operations on one key in flight
/// unless both only read.
#[derive(Debug)]
struct KeyState<T> {
    readers: u32,
    writing: bool,
    waiting: VecDeque<(DiskKind, T, Owner)>,
}

impl<T> Lane<T> {
    const fn new() -> Self {
        Self {
            by_owner: BTreeMap::new(),
            turn: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }

    fn push(&mut self, kind: DiskKind, waiter: T, owner: Owner) {
        let of_owner = self.by_owner.entry(owner).or_default();
        of_owner.push_back((kind, waiter));
    }

    /// Whose turn it is.
    fn next(&self) -> Option<(Owner, &VecDeque<(DiskKind, T)>)> {
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let next = self.by_owner.range(after).next();
        let (owner, of_owner) = next.or_else(|| self.by_owner.first_key_value())?;
        Some((*owner, of_owner))
    }

    fn peek(&self) -> Option<&T> {
        let (_, of_owner) = self.next()?;
        of_owner.front().map(|(_, waiter)| waiter)
    }

    fn pop(&mut self) -> Option<(DiskKind, T, Owner)> {
        let (owner, _) = self.next()?;
        self.turn = owner;
        let of_owner = self.by_owner.get_mut(&owner)?;
        let next = of_owner.pop_front();
        if of_owner.is_empty() {
            self.by_owner.remove(&owner);
        }
        next.map(|(kind, waiter)| (kind, waiter, owner))
    }

    /// Drops an owner's reads; their keys are added to `freed`.
    fn forget_reads(&mut self, owner: Owner, freed: &mut Vec<DiskKey>) {
        let Some(of_owner) = self.by_owner.get_mut(&owner) else {
            return;
        };
        of_owner.retain(|(kind, _)| {
            let (key, reads) = kind.key();
            freed.extend(reads.then_some(key));
            !reads
        });
        if of_owner.is_empty() {
            self.by_owner.remove(&owner);
        }
    }
}

impl<T> DiskQueue<T> {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            keys: BTreeMap::new(),
            pages: Lane::new(),
            others: Lane::new(),
            pages_max: (in_flight_max / 4).max(1),
            pages_in_flight: 0,
            was_page: false,
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
                let lane = match kind.is_page() {
                    true => &mut self.pages,
                    false => &mut self.others,
                };
                lane.push(kind, waiter, owner);
            }
            self.waiting -= 1;
        }
        if state.readers == 0 && !state.writing && state.waiting.is_empty() {
            self.keys.remove(&key);
        }
    }

    /// Whether what begins next is a page; `None` if nothing may.
    fn is_page_next(&self) -> Option<bool> {
        if self.in_flight.len() >= self.in_flight_max {
            return None;
        }
        let page = self.pages_in_flight < self.pages_max && !self.pages.is_empty();
        match (page, !self.others.is_empty()) {
            (true, true) => Some(!self.was_page),
            (false, false) => None,
            (page, _) => Some(page),
        }
    }

    pub(super) fn poll(&mut self, mint: &mut Mint) -> Option<DiskOp> {
        let page = self.is_page_next()?;
        let lane = match page {
            true => &mut self.pages,
            false => &mut self.others,
        };
        let (kind, waiter, owner) = lane.pop()?;
        self.was_page = page;
        self.pages_in_flight += usize::from(page);
        let (key, reads) = kind.key();
        let ticket = bug::or(Bug::TicketReused, NonZeroU64::MIN, mint.next());
        let in_flight = InFlight {
            waiter,
            key,
            reads,
            page,
            owner,
        };
        self.in_flight.insert(ticket, in_flight);
        Some(DiskOp::new(Ticket(ticket), kind))
    }

    /// Who waits for the page that [`DiskQueue::poll`] would give.
    pub(super) fn next_page(&self) -> Option<&T> {
        self.is_page_next()?.then(|| self.pages.peek())?
    }

    /// Takes back that page, which nobody wants any more.
    pub(super) fn drop_page(&mut self) -> Option<T> {
        let (kind, waiter, owner) = self.pages.pop()?;
        self.count_less(owner, 1);
        self.let_go(kind.key());
        Some(waiter)
    }

    /// Who waited, and for what. `None` for a completion of another node's.
    pub(super) fn complete(
        &mut self,
        done: DiskDone,
    ) -> Option<(T, DiskKey, Result<DiskData, DiskError>)> {
        let was = self.in_flight.remove(&done.ticket.0)?;
        self.pages_in_flight -= usize::from(was.page);
        self.count_less(was.owner, 1);
        self.let_go((was.key, was.reads));
        Some((was.waiter, was.key, done.result))
    }

    /// So many operations of an owner's are over.
    fn count_less(&mut self, owner: Owner, over: usize) {
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= over;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }

    /// An operation no longer uses its key.
    fn let_go(&mut self, (key, reads): (DiskKey, bool)) {
        if let Some(state) = self.keys.get_mut(&key) {
            if reads {
                state.readers -= 1;
            } else {
                state.writing = false;
            }
        }
        self.start(key);
    }

    /// What an owner has asked to read, and is not being read yet, is not wanted
    /// any more. What it has given to write still is.
    pub(super) fn forget(&mut self, owner: Owner) {
        if !self.counts.contains_key(&owner) {
            return;
        }
        let mut freed = Vec::new();
        for lane in [&mut self.pages, &mut self.others] {
            lane.forget_reads(owner, &mut freed);
        }
        let mut dropped = freed.len();
        for state in self.keys.values_mut() {
            let before = state.waiting.len();
            state
                .waiting
                .retain(|(kind, _, of)| *of != owner || !kind.key().1);
            let fewer = before - state.waiting.len();
            self.waiting -= fewer;
            dropped += fewer;
        }
        self.count_less(owner, dropped);
        for key in freed {
            self.let_go((key, true));
        }
    }

    /// Whether [`DiskQueue::poll`] would give something.
    pub(super) fn has_output(&self) -> bool {
        self.is_page_next().is_some()
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
    use bytes::Bytes;

    use super::*;
    use crate::disk::{RecordKey, StoredRecord};
    use crate::id::{BlobId, NameTag, NamespaceId};
    use crate::version::Version;

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

    fn page(byte: u8) -> DiskKind {
        DiskKind::ListNames {
            namespace: NamespaceId([byte; 32]),
            after: None,
            max: 1000,
        }
    }

    /// What is polled until nothing more is: pages or not.
    fn polled(queue: &mut DiskQueue<char>, mint: &mut Mint) -> Vec<(bool, DiskOp)> {
        core::iter::from_fn(|| queue.poll(mint))
            .map(|op| (op.kind().is_page(), op))
            .collect()
    }

    #[test]
    fn pages_have_a_quarter_of_the_places_and_others_find_theirs() {
        for (in_flight_max, pages_max) in [(8, 2), (3, 1)] {
            let (mut queue, mut mint) = (DiskQueue::new(in_flight_max), Mint::new());
            (0..20).for_each(|at| queue.submit(page(at), 'p', None));
            let pages = polled(&mut queue, &mut mint);
            assert_eq!(pages.len(), pages_max);
            assert!(!queue.has_output() && queue.next_page().is_none());
            (0..20).for_each(|at| queue.submit(get(at), 'g', None));
            assert!(queue.has_output());
            let others = polled(&mut queue, &mut mint);
            assert_eq!(others.len(), in_flight_max - pages_max);
            assert!(others.iter().all(|(page, _)| !page));
            // A page's place is the next one's.
            for (_, op) in pages {
                queue.complete(op.complete(Ok(DiskData::Done)));
            }
            let next = polled(&mut queue, &mut mint);
            let pages = next.iter().filter(|(page, _)| *page).count();
            assert!((1..=pages_max).contains(&pages), "{pages}");
        }
    }

    #[test]
    fn where_there_is_one_place_pages_and_others_take_turns() {
        let (mut queue, mut mint) = (DiskQueue::new(1), Mint::new());
        for at in 0..3 {
            queue.submit(get(at), 'g', None);
            queue.submit(page(at), 'p', None);
        }
        let mut turns = Vec::new();
        while let Some(op) = queue.poll(&mut mint) {
            turns.extend(queue.complete(op.complete(Ok(DiskData::Done))));
        }
        let turns: Vec<char> = turns.into_iter().map(|(waiter, ..)| waiter).collect();
        assert_eq!(turns, ['p', 'g', 'p', 'g', 'p', 'g']);
    }

    #[test]
    fn of_pages_too_each_owner_has_its_turn() {
        let (mut queue, mut mint) = (DiskQueue::new(4), Mint::new());
        let [greedy, other] = [(); 2].map(|()| Some(ConnId::from_mint(&mut mint)));
        (0..9).for_each(|at| queue.submit(page(at), greedy, greedy));
        queue.submit(page(20), other, other);
        let mut turns = Vec::new();
        while let Some(op) = queue.poll(&mut mint) {
            turns.extend(queue.complete(op.complete(Ok(DiskData::Done))));
        }
        let turns: Vec<_> = turns.into_iter().map(|(owner, ..)| owner).collect();
        assert_eq!(turns[..3], [greedy, other, greedy]);
        assert_eq!(turns.len(), 10);
    }

    #[test]
    fn a_page_that_nobody_wants_is_dropped_when_its_turn_comes() {
        let (mut queue, mut mint) = (DiskQueue::new(4), Mint::new());
        let [full, other] = [(); 2].map(|()| Some(ConnId::from_mint(&mut mint)));
        let key = RecordKey {
            namespace: NamespaceId([1; 32]),
            tag: NameTag([2; 32]),
        };
        let history = DiskKind::ListVersions {
            key,
            below: None,
            max: 1000,
        };
        queue.submit(history, 'f', full);
        queue.submit(page(2), 'o', other);
        let write = StoredRecord {
            key,
            version: Version::ZERO,
            head_hash: [0; 32],
            head: Bytes::new(),
            meta: Bytes::new(),
            content: Bytes::new(),
        };
        queue.submit(DiskKind::PutRecord(write), 'w', other);
        assert_eq!(queue.next_page(), Some(&'f'));
        assert_eq!(queue.drop_page(), Some('f'));
        assert_eq!((queue.len_of(full), queue.next_page()), (0, Some(&'o')));
        // What waited for its key waits no longer.
        let left = polled(&mut queue, &mut mint);
        let pages: Vec<bool> = left.iter().map(|(page, _)| *page).collect();
        assert_eq!(pages, [true, false]);
        for (_, op) in left {
            queue.complete(op.complete(Ok(DiskData::Done)));
        }
        assert!(queue.keys.is_empty() && queue.counts.is_empty());
        assert!(queue.drop_page().is_none());
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
