//! The simulated network: byte streams with a delay, a window and pieces of
//! any size.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use peerhold_core::ConnId;

/// One end of a stream: a node, by its place in the cluster, and the name that
/// the node gave the connection.
pub(crate) type End = (usize, ConnId);

/// Bytes that may be on their way in one direction.
const WINDOW: usize = 256 << 10;

#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Both directions of every open stream.
    streams: BTreeMap<End, Direction>,
}

/// Towards one end.
#[derive(Debug)]
struct Direction {
    from: End,
    /// Bytes that have arrived and are not read.
    arrived: VecDeque<Bytes>,
    /// Bytes sent and not read.
    in_flight: usize,
    /// The sender has closed; what is in flight still arrives.
    closing: bool,
}

impl Net {
    /// Joins two ends.
    pub(crate) fn join(&mut self, one: End, other: End) {
        for (to, from) in [(one, other), (other, one)] {
            let direction = Direction {
                from,
                arrived: VecDeque::new(),
                in_flight: 0,
                closing: false,
            };
            self.streams.insert(to, direction);
        }
    }

    pub(crate) fn is_open(&self, end: End) -> bool {
        self.streams.contains_key(&end)
    }

    /// The other end.
    pub(crate) fn peer(&self, end: End) -> Option<End> {
        self.streams.get(&end).map(|direction| direction.from)
    }

    /// How many bytes `end` may send now.
    pub(crate) fn room(&self, end: End) -> usize {
        let towards = self.peer(end).and_then(|peer| self.streams.get(&peer));
        towards.map_or(0, |direction| WINDOW.saturating_sub(direction.in_flight))
    }

    /// Counts bytes that `end` has sent.
    pub(crate) fn sent(&mut self, end: End, bytes: usize) {
        if let Some(direction) = self.peer(end).and_then(|peer| self.streams.get_mut(&peer)) {
            direction.in_flight += bytes;
        }
    }

    /// Bytes have come to `end`.
    pub(crate) fn arrive(&mut self, end: End, bytes: Bytes) {
        if let Some(direction) = self.streams.get_mut(&end) {
            direction.arrived.push_back(bytes);
        }
    }

    /// `end` reads at most `max` bytes of what has come.
    pub(crate) fn read(&mut self, end: End, max: usize) -> Option<Bytes> {
        let direction = self.streams.get_mut(&end).filter(|_| max > 0)?;
        let front = direction.arrived.front_mut()?;
        let piece = front.split_to(front.len().min(max));
        if front.is_empty() {
            direction.arrived.pop_front();
        }
        direction.in_flight -= piece.len();
        Some(piece)
    }

    /// Notes that the other end has closed.
    pub(crate) fn close(&mut self, end: End) {
        if let Some(direction) = self.streams.get_mut(&end) {
            direction.closing = true;
        }
    }

    /// Whether the other end has closed and everything before that was read.
    pub(crate) fn is_ended(&self, end: End) -> bool {
        self.streams
            .get(&end)
            .is_some_and(|direction| direction.closing && direction.in_flight == 0)
    }

    /// Forgets one end.
    pub(crate) fn forget(&mut self, end: End) {
        self.streams.remove(&end);
    }

    /// Every end that a node has.
    pub(crate) fn ends_of(&self, node: usize) -> Vec<End> {
        self.streams
            .keys()
            .filter(|(of, _)| *of == node)
            .copied()
            .collect()
    }
}
