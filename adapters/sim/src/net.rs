//! The simulated network: byte streams with a delay, a window and pieces of
//! any size, over links that can be held up.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use peerhold_core::{CloseReason, ConnId, Instant};

/// One end of a stream: a machine by its place in the cluster, which of its
/// lives, and the name that its node gave the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) at: usize,
    pub(crate) life: u64,
    pub(crate) conn: ConnId,
}

/// Bytes that may be on their way in one direction.
const WINDOW: usize = 256 << 10;

/// What travels in one piece.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Bytes(Bytes),
    /// Nothing follows.
    End(CloseReason),
}

#[derive(Debug)]
pub(crate) struct Net {
    /// Both directions of every open stream, by where they lead to.
    streams: BTreeMap<End, Direction>,
    /// Until when nothing passes from one machine to another.
    clogs: Vec<Instant>,
    machines: usize,
}

/// Towards one end.
#[derive(Debug)]
struct Direction {
    from: End,
    /// On its way, with when it arrives.
    flight: VecDeque<(Instant, Parcel)>,
    /// For when a delivery is on the agenda.
    wake: Option<Instant>,
    /// Bytes that have arrived and are not read.
    arrived: VecDeque<Bytes>,
    /// Bytes sent and not read.
    in_flight: usize,
    /// Everything has arrived, and how it ended.
    ended: Option<CloseReason>,
    /// After so many more bytes the connection breaks.
    cut_after: Option<usize>,
}

/// What became of a parcel on its way.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It has arrived.
    Parcel(Parcel),
    /// Part of it has arrived, and there the connection breaks.
    Cut,
    /// It arrives later.
    Later(Instant),
    /// Nothing is on its way.
    Nothing,
}

impl Net {
    pub(crate) fn new(machines: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            clogs: vec![Instant::ZERO; machines * machines],
            machines,
        }
    }

    /// Joins two ends.
    pub(crate) fn join(&mut self, one: End, other: End) {
        for (to, from) in [(one, other), (other, one)] {
            let direction = Direction {
                from,
                flight: VecDeque::new(),
                wake: None,
                arrived: VecDeque::new(),
                in_flight: 0,
                ended: None,
                cut_after: None,
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

    /// Sends something towards `to`, which arrives at `at` or behind what is on
    /// its way. When a delivery is to be on the agenda, if none is.
    pub(crate) fn send(&mut self, to: End, at: Instant, parcel: Parcel) -> Option<Instant> {
        let direction = self.streams.get_mut(&to)?;
        let last = direction.flight.back().map(|(at, _)| *at);
        let at = last.map_or(at, |last| last.max(at));
        if let Parcel::Bytes(bytes) = &parcel {
            direction.in_flight += bytes.len();
        }
        direction.flight.push_back((at, parcel));
        direction.wake.is_none().then(|| {
            direction.wake = Some(at);
            at
        })
    }

    /// The next parcel for `end` that has arrived by `now`.
    pub(crate) fn arrive(&mut self, end: End, now: Instant, most: usize) -> Arrival {
        let clog = self
            .peer(end)
            .map_or(Instant::ZERO, |from| self.clog(from.at, end.at));
        let Some(direction) = self.streams.get_mut(&end) else {
            return Arrival::Nothing;
        };
        let Some((at, _)) = direction.flight.front() else {
            return Arrival::Nothing;
        };
        let at = clog.max(*at);
        if at > now {
            direction.wake = Some(at);
            return Arrival::Later(at);
        }
        let Some((_, parcel)) = direction.flight.pop_front() else {
            return Arrival::Nothing;
        };
        let Parcel::Bytes(mut bytes) = parcel else {
            return Arrival::Parcel(parcel);
        };
        if bytes.len() > most {
            let rest = bytes.split_off(most);
            direction.flight.push_front((at, Parcel::Bytes(rest)));
        }
        if let Some(left) = &mut direction.cut_after {
            if *left <= bytes.len() {
                bytes.truncate(*left);
                direction.arrived.push_back(bytes);
                return Arrival::Cut;
            }
            *left -= bytes.len();
        }
        direction.arrived.push_back(bytes.clone());
        Arrival::Parcel(Parcel::Bytes(bytes))
    }

    /// Whether a delivery to `end` that is on the agenda for now counts: it has
    /// been put off otherwise. It is on the agenda no more.
    pub(crate) fn take_wake(&mut self, end: End, now: Instant) -> bool {
        let wake = self
            .streams
            .get_mut(&end)
            .map(|direction| &mut direction.wake);
        wake.is_some_and(|wake| wake.take_if(|at| *at <= now).is_some())
    }

    /// That a delivery to `end` is on the agenda for `at`.
    pub(crate) fn set_wake(&mut self, end: End, at: Instant) {
        if let Some(direction) = self.streams.get_mut(&end) {
            direction.wake = Some(at);
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
        direction.in_flight = direction.in_flight.saturating_sub(piece.len());
        Some(piece)
    }

    /// Notes that nothing more comes to `end`.
    pub(crate) fn close(&mut self, end: End, reason: CloseReason) {
        if let Some(direction) = self.streams.get_mut(&end) {
            direction.ended = Some(reason);
            if reason == CloseReason::Reset {
                direction.flight.clear();
            }
        }
    }

    /// How the stream to `end` has ended, once everything before was read.
    pub(crate) fn ended(&self, end: End) -> Option<CloseReason> {
        let direction = self.streams.get(&end)?;
        direction
            .ended
            .filter(|_| direction.arrived.is_empty() && direction.flight.is_empty())
    }

    /// Breaks the stream to `end` after so many more bytes.
    pub(crate) fn cut_after(&mut self, end: End, bytes: usize) {
        if let Some(direction) = self.streams.get_mut(&end) {
            direction.cut_after = Some(bytes);
        }
    }

    /// No stream breaks any more by itself.
    pub(crate) fn mend(&mut self) {
        let streams = self.streams.values_mut();
        streams.for_each(|direction| direction.cut_after = None);
    }

    /// Forgets one end.
    pub(crate) fn forget(&mut self, end: End) {
        self.streams.remove(&end);
    }

    /// Every end that a machine has.
    pub(crate) fn ends_of(&self, machine: usize) -> Vec<End> {
        let ends = self.streams.keys().filter(|end| end.at == machine);
        ends.copied().collect()
    }

    /// Every end of a stream between two machines, on the side of `at`.
    pub(crate) fn ends_between(&self, at: usize, other: usize) -> Vec<End> {
        let ends = self.streams.iter();
        ends.filter(|(end, direction)| end.at == at && direction.from.at == other)
            .map(|(end, _)| *end)
            .collect()
    }

    /// Until when nothing passes from one machine to another.
    pub(crate) fn clog(&self, from: usize, to: usize) -> Instant {
        let at = from * self.machines + to;
        self.clogs.get(at).copied().unwrap_or(Instant::ZERO)
    }

    /// Lets nothing pass until then. Longer ones that are there stay.
    pub(crate) fn set_clog(&mut self, from: usize, to: usize, until: Instant) {
        if let Some(clog) = self.clogs.get_mut(from * self.machines + to) {
            *clog = until.max(*clog);
        }
    }

    /// Lets everything pass again. The ends that something is on its way to.
    pub(crate) fn unclog(&mut self, from: usize, to: usize, now: Instant) -> Vec<End> {
        if let Some(clog) = self.clogs.get_mut(from * self.machines + to) {
            *clog = now.min(*clog);
        }
        let waiting = self.streams.iter_mut().filter(|(end, direction)| {
            end.at == to && direction.from.at == from && !direction.flight.is_empty()
        });
        let woken = waiting.map(|(end, direction)| {
            direction.wake = Some(now);
            *end
        });
        woken.collect()
    }
}
