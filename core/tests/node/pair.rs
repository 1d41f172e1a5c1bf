//! Two nodes and the stream between them, cut wherever a stream can be cut.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::input::CloseReason;
use peerhold_core::{Config, ConnId, Event, Input, NodeId, OpId, Outcome, Role};

use crate::fake_peer::id;
use crate::host::{Host, config, noise};

const A: NodeId = id(1);
const B: NodeId = id(2);

/// Two nodes that hold everything twice.
struct Pair {
    hosts: [Host; 2],
    /// The ends of the connection that stands.
    link: Option<[ConnId; 2]>,
    /// Events looked at.
    seen: [usize; 2],
    /// At most so many bytes are handed over at once.
    piece: usize,
    /// The connection breaks when so many more bytes have come through.
    breaks_after: Option<usize>,
    /// What each has sent.
    sent: [Vec<u8>; 2],
}

impl Pair {
    fn new(piece: usize, breaks_after: Option<usize>) -> Self {
        let two = |node: NodeId| Config {
            replicas: 2,
            ..config(node)
        };
        let mut first = two(A);
        first.bootstrap = [Into::into("b")].into();
        Self {
            hosts: [Host::founded(first, &[B]), Host::founded(two(B), &[A])],
            link: None,
            seen: [0; 2],
            piece,
            breaks_after,
            sent: Default::default(),
        }
    }

    /// Does what the nodes want of their driver until they want nothing.
    fn run(&mut self) {
        loop {
            let events = [0, 1].map(|at| self.events(at)).contains(&true);
            let bytes = [0, 1].map(|at| self.carry(at)).contains(&true);
            if !events && !bytes {
                return;
            }
        }
    }

    fn events(&mut self, at: usize) -> bool {
        self.hosts[at].run();
        let mut any = false;
        while let Some(event) = self.hosts[at].events.get(self.seen[at]) {
            self.seen[at] += 1;
            any = true;
            match *event {
                Event::Dial { conn, .. } => self.connect(conn),
                Event::Close { conn } if self.link.is_some_and(|ends| ends[at] == conn) => {
                    self.cut([CloseReason::Local, CloseReason::Eof], at);
                }
                _ => {}
            }
            self.hosts[at].run();
        }
        any
    }

    /// The first node dials the second.
    fn connect(&mut self, conn: ConnId) {
        let now = self.hosts[1].now;
        let other = self.hosts[1].node.accept(now).unwrap();
        self.link = Some([conn, other]);
        let (role, peer) = (Role::Dialer, B);
        self.hosts[0].handle(Input::Opened { conn, role, peer });
        let (conn, role, peer) = (other, Role::Listener, A);
        self.hosts[1].handle(Input::Opened { conn, role, peer });
    }

    fn cut(&mut self, [near, far]: [CloseReason; 2], at: usize) {
        let Some(ends) = self.link.take() else { return };
        for (of, reason) in [(at, near), (1 - at, far)] {
            let conn = ends[of];
            self.hosts[of].handle(Input::Closed { conn, reason });
        }
    }

    /// Carries over what one node sends.
    fn carry(&mut self, at: usize) -> bool {
        let mut any = false;
        while let Some(ends) = self.link {
            let piece = self.breaks_after.unwrap_or(self.piece).min(self.piece);
            let Some(data) = self.hosts[at].node.poll_transmit(ends[at], piece.max(1)) else {
                break;
            };
            any = true;
            self.sent[at].extend_from_slice(&data);
            if let Some(left) = &mut self.breaks_after {
                let Some(rest) = left.checked_sub(data.len()) else {
                    self.breaks_after = None;
                    self.cut([CloseReason::Reset; 2], at);
                    break;
                };
                *left = rest;
            }
            let conn = ends[1 - at];
            self.hosts[1 - at].handle(Input::Received { conn, data });
            self.hosts[1 - at].run();
        }
        any
    }

    /// Lets both run, and time pass, until `done`.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..1000 {
            self.run();
            if done(self) {
                return;
            }
            let now = self.hosts[0].now.saturating_add(Duration::from_millis(50));
            for host in &mut self.hosts {
                host.now = now;
                host.node.handle_timeout(now);
            }
        }
        panic!("it never comes to an end");
    }

    fn ended(&mut self, at: usize, op: OpId) -> Result<Outcome, peerhold_core::OpError> {
        self.until(|pair| pair.hosts[at].result(op).is_some());
        self.hosts[at].result(op).unwrap()
    }

    /// Puts at the first node, and reads at the second what then is there.
    fn exchange(&mut self, data: &[u8]) {
        let put = self.hosts[0].put("file", data);
        let stored = self.ended(0, put);
        assert!(matches!(stored, Ok(Outcome::Stored(_))), "{stored:?}");
        self.until(|pair| pair.hosts[0].events.contains(&Event::Settled { op: put }));
        let get = self.hosts[1].get("file");
        let mut read = Vec::new();
        self.until(|pair| {
            read.extend(pair.hosts[1].read(get));
            pair.hosts[1].result(get).is_some()
        });
        assert!(read == data, "{:?}", self.hosts[1].result(get));
        for host in &self.hosts {
            let status = host.node.status();
            assert_eq!((status.memory, status.operations), (0, 0));
        }
        let [one, other] = &self.hosts;
        assert_eq!(one.disk.blobs, other.disk.blobs);
        assert_eq!(one.disk.records, other.disk.records);
    }
}

/// How many bytes an exchange takes when nothing goes wrong.
fn length(data: &[u8]) -> usize {
    let mut pair = Pair::new(usize::MAX, None);
    pair.exchange(data);
    pair.sent.iter().map(Vec::len).sum()
}

#[test]
fn a_stream_that_breaks_at_any_byte_of_a_small_put_leaves_the_same_in_the_end() {
    let data = noise(40);
    for at in 0..length(&data) {
        Pair::new(usize::MAX, Some(at)).exchange(&data);
    }
}

#[test]
fn a_stream_that_breaks_in_a_put_of_chunks_leaves_the_same_in_the_end() {
    let data = noise(150_000);
    let all = length(&data);
    // Every byte of the beginning and the end, and some of the middle.
    let ends = (0..2500).chain(all - 1500..all).step_by(7);
    for at in ends.chain((0..all).step_by(1009)) {
        Pair::new(16_384, Some(at)).exchange(&data);
    }
}

#[test]
fn the_cutting_of_the_stream_changes_nothing_of_what_is_stored() {
    let data = noise(70_000);
    for piece in [1, 2, 9, 10, 11, 1000, 65_536, usize::MAX] {
        let mut pair = Pair::new(piece, None);
        pair.exchange(&data);
        assert_eq!(pair.hosts[1].disk.blobs.len(), 3);
        assert_eq!(pair.hosts[0].node.status().peers.len(), 1);
    }
}

#[test]
fn the_same_inputs_give_the_same_outputs_byte_for_byte() {
    let data = noise(150_000);
    let run = || {
        let mut pair = Pair::new(5000, Some(60_000));
        pair.exchange(&data);
        let [a, b] = pair.hosts;
        (pair.sent, a.trace, b.trace)
    };
    let (first, second) = (run(), run());
    assert!(first.0.iter().all(|sent| sent.len() > 1000));
    assert_eq!(first, second);
}

#[test]
fn a_read_that_is_given_up_leaves_nothing_behind_on_either_side() {
    let data = noise(600_000);
    for bytes in (0..200_000).step_by(9973) {
        let mut pair = Pair::new(16_384, None);
        pair.exchange(&data);
        pair.hosts[1].disk.blobs.clear();
        let mut left = bytes;
        let get = pair.hosts[1].get("file");
        let ends = pair.link.unwrap();
        // Carry so much by hand, then call it off.
        for at in [1, 0, 1, 0] {
            while let Some(data) = pair.hosts[at]
                .node
                .poll_transmit(ends[at], left.clamp(1, 4096))
            {
                left = left.saturating_sub(data.len());
                let conn = ends[1 - at];
                pair.hosts[1 - at].handle(Input::Received { conn, data });
                pair.hosts[1 - at].run();
                if left == 0 {
                    break;
                }
            }
        }
        let now = pair.hosts[1].now;
        pair.hosts[1].node.cancel(now, get);
        let _ = pair.ended(1, get);
        for host in &pair.hosts {
            assert_eq!(host.memory(), 0, "after {bytes}");
        }
        assert_eq!(pair.link, Some(ends), "the session stands");
        // It still serves.
        pair.hosts[1].disk.blobs = pair.hosts[0].disk.blobs.clone();
        let again = pair.hosts[0].put("other", b"more");
        assert!(pair.ended(0, again).is_ok());
    }
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut host = Host::new(config(A));
    host.pass(Duration::from_secs(20));
    let late = host.now;
    let conn = host.node.accept(late).unwrap();
    let early = peerhold_core::Instant::ZERO;
    let (role, peer) = (Role::Listener, B);
    host.node.handle(early, Input::Opened { conn, role, peer });
    let data = Bytes::from_static(&[0]);
    host.node.handle(early, Input::Received { conn, data });
    host.node.handle_timeout(early);
    let deadline = late.saturating_add(Duration::from_secs(10));
    assert_eq!(host.deadline(), Some(deadline));
    host.now = early;
    assert_eq!(host.deadline(), Some(deadline));
    host.node.handle_timeout(deadline);
    assert!(host.has_closed(conn));
}
