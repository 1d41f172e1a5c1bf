//! What will happen, and when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use peerhold_core::disk::DiskDone;
use peerhold_core::{DiskOp, Instant, JobDone};

use crate::net::End;

/// Something that will happen to a machine.
#[derive(Debug)]
pub(crate) enum Due {
    /// A deadline of its node's.
    Timeout(usize, u64),
    /// Another look at its wall clock.
    Wall(usize, u64),
    /// Bytes, or an end, come to one end of a stream.
    Deliver(End),
    /// A dial comes to its address, the so-manieth time.
    Connect {
        from: End,
        to: Option<usize>,
        tries: u32,
    },
    /// A connection that is to be closed has had time to send what it has.
    Linger(End),
    /// A worker takes up a disk operation.
    Prepare(usize, u64, Box<DiskOp>),
    /// What was prepared is committed.
    Commit(usize, u64),
    /// Disk operations are done, by a commit or without one.
    DiskDone(usize, u64, Vec<DiskDone>, Done),
    JobDone(usize, u64, Box<JobDone>),
    /// Its power is back.
    Start(usize, u64),
    /// Its disk does again what it is told.
    Lift(usize, Instant),
    /// One of a storm of connections says more, or ends.
    Ghost(End, u32),
}

/// What made disk operations done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Read,
    Commit,
}

impl Due {
    /// Whom it happens to.
    pub(crate) fn machine(&self) -> usize {
        match self {
            Self::Deliver(end) | Self::Linger(end) | Self::Ghost(end, _) => end.at,
            Self::Connect { from, .. } => from.at,
            Self::Timeout(at, _)
            | Self::Wall(at, _)
            | Self::Prepare(at, ..)
            | Self::Commit(at, _)
            | Self::DiskDone(at, ..)
            | Self::JobDone(at, ..)
            | Self::Start(at, _)
            | Self::Lift(at, _) => *at,
        }
    }

    /// A number for what it is.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Timeout(..) => 0,
            Self::Wall(..) => 1,
            Self::Deliver(_) => 2,
            Self::Connect { .. } => 3,
            Self::Linger(_) => 4,
            Self::Prepare(..) => 5,
            Self::Commit(..) => 6,
            Self::DiskDone(..) => 7,
            Self::JobDone(..) => 8,
            Self::Start(..) => 9,
            Self::Ghost(..) => 10,
            Self::Lift(..) => 11,
        }
    }
}

/// A queue by time; of what is due at once, what was put there first comes
/// first.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    due: Due,
}

impl Agenda {
    pub(crate) fn push(&mut self, at: Instant, due: Due) {
        self.next += 1;
        let number = self.next;
        self.heap.push(Entry { at, number, due });
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, Due)> {
        self.heap.pop().map(|entry| (entry.at, entry.due))
    }

    pub(crate) fn peek(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }
}

/// The greatest of the heap is the earliest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}
