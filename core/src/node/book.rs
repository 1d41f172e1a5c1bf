//! The peer book: which addresses are known, whose they are, and when each is
//! dialled next.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::bug::{self, Bug};
use crate::config::{Bootstrap, Config, Timing};
use crate::id::{ConnId, NodeId};
use crate::input::PeerAddr;
use crate::time::Instant;
use crate::wire::message::{self, ADDRESSES_MAX, PEERS_MAX, PeerEntry, PeersUpdate};

#[derive(Debug)]
pub(super) struct Book {
    known: BTreeMap<PeerAddr, Known>,
    dials: BTreeMap<ConnId, Dialled>,
    max: usize,
}

/// A connection that this node dialled.
#[derive(Debug)]
struct Dialled {
    addr: PeerAddr,
    /// Who must be there.
    expect: Option<NodeId>,
}

/// One address.
#[derive(Debug)]
struct Known {
    /// Who was there, or is said to be.
    node: Option<NodeId>,
    /// Given by configuration: never forgotten, whoever is there.
    bootstrap: bool,
    /// Who must be there, by configuration.
    pinned: Option<NodeId>,
    dialling: bool,
    failures: u32,
    next: Instant,
}

impl Book {
    pub(super) fn new(bootstrap: &[Bootstrap], max: usize) -> Self {
        let known = bootstrap.iter().map(|bootstrap| {
            let known = Known {
                node: bootstrap.expect,
                bootstrap: true,
                pinned: bootstrap.expect,
                dialling: false,
                failures: 0,
                next: Instant::ZERO,
            };
            (bootstrap.addr.clone(), known)
        });
        Self {
            known: known.collect(),
            dials: BTreeMap::new(),
            max,
        }
    }

    /// Takes in an address that a peer told. True if it is news.
    pub(super) fn learn(&mut self, node: NodeId, addr: PeerAddr, now: Instant) -> bool {
        if let Some(known) = self.known.get_mut(&addr) {
            // Who is at a configured address is found out by dialling it: a
            // peer that says so could keep this node from ever doing that.
            if !known.bootstrap {
                known.node.get_or_insert(node);
            }
            return false;
        }
        if self.known.len() >= self.max && !self.drop_worst() {
            return false;
        }
        let known = Known {
            node: Some(node),
            bootstrap: false,
            pinned: None,
            dialling: false,
            failures: 0,
            next: now,
        };
        self.known.insert(addr, known);
        true
    }

    /// Makes room by forgetting the learned address that has failed most.
    fn drop_worst(&mut self) -> bool {
        let learned = self
            .known
            .iter()
            .filter(|(_, known)| !known.bootstrap && !known.dialling && known.failures > 0);
        let worst = learned
            .max_by_key(|(_, known)| known.failures)
            .map(|(addr, _)| addr.clone());
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }

    /// The next address to dial now, of those that `wanted` asks for: by who is
    /// there, if that is known, and whether the address was configured.
    pub(super) fn due(
        &self,
        now: Instant,
        wanted: impl Fn(Option<NodeId>, bool) -> bool,
    ) -> Option<PeerAddr> {
        self.free(wanted)
            .find(|(_, known)| known.next <= now)
            .map(|(addr, _)| addr.clone())
    }

    /// When the next address is due.
    pub(super) fn next(&self, wanted: impl Fn(Option<NodeId>, bool) -> bool) -> Option<Instant> {
        self.free(wanted).map(|(_, known)| known.next).min()
    }

    /// Addresses that may be dialled when their time comes.
    fn free(
        &self,
        wanted: impl Fn(Option<NodeId>, bool) -> bool,
    ) -> impl Iterator<Item = (&PeerAddr, &Known)> {
        let dialling = self.known.values().filter(|known| known.dialling);
        let dialled: BTreeSet<NodeId> = dialling.filter_map(|known| known.node).collect();
        self.known.iter().filter(move |(_, known)| {
            // One address of a node at a time: its sessions would end each other.
            let idle = known.node.is_none_or(|node| !dialled.contains(&node));
            !known.dialling && idle && wanted(known.node, known.bootstrap)
        })
    }

    /// Notes that `addr` is being dialled as `conn`, and says who must be
    /// there.
    pub(super) fn dial(&mut self, addr: &PeerAddr, conn: ConnId) -> Option<NodeId> {
        let known = self.known.get_mut(addr);
        let expect = known.and_then(|known| {
            known.dialling = true;
            // Behind a configured address there may be another node tomorrow,
            // unless it was configured too who must be there.
            known.node.filter(|_| !known.bootstrap).or(known.pinned)
        });
        let addr = addr.clone();
        self.dials.insert(conn, Dialled { addr, expect });
        expect
    }

    /// Who must be at the other end of `conn`, if that is known.
    pub(super) fn expected(&self, conn: ConnId) -> Option<NodeId> {
        self.dials.get(&conn)?.expect
    }

    /// The address of a connection that this node dialled.
    pub(super) fn addr(&self, conn: ConnId) -> Option<&PeerAddr> {
        self.dials.get(&conn).map(|dialled| &dialled.addr)
    }

    /// Notes who was admitted at the address behind `conn`. True if that is
    /// news.
    pub(super) fn admitted(&mut self, conn: ConnId, node: NodeId) -> bool {
        let dialled = self.dials.get(&conn);
        let Some(known) = dialled.and_then(|dialled| self.known.get_mut(&dialled.addr)) else {
            return false;
        };
        known.failures = 0;
        known.node.replace(node) != Some(node)
    }

    /// Notes who is behind `conn`, somebody who is not to be talked to: this
    /// node itself, or a denied one.
    pub(super) fn found(&mut self, conn: ConnId, node: NodeId) {
        if let Some(known) = self
            .dials
            .get(&conn)
            .and_then(|dialled| self.known.get_mut(&dialled.addr))
        {
            known.node = known.pinned.or(Some(node));
        }
    }

    /// Notes that a dialled connection failed or ended: the address is due
    /// again after a wait that doubles with each failure, less up to half of
    /// it at random, so that nodes do not dial in step.
    pub(super) fn ended(
        &mut self,
        conn: ConnId,
        failed: bool,
        now: Instant,
        random: u32,
        timing: &Timing,
    ) {
        let Some(known) = self
            .dials
            .remove(&conn)
            .and_then(|dialled| self.known.get_mut(&dialled.addr))
        else {
            return;
        };
        known.dialling = bug::on(Bug::NotRedialled);
        known.failures = if failed {
            known.failures.saturating_add(1)
        } else {
            0
        };
        let doubled = timing
            .dial_min
            .saturating_mul(1 << known.failures.saturating_sub(1).min(20));
        let wait = doubled.min(timing.dial_max);
        let jitter = (wait / 2).as_nanos() * u128::from(random) / u128::from(u32::MAX);
        let wait = wait.saturating_sub(Duration::from_nanos(
            u64::try_from(jitter).unwrap_or(u64::MAX),
        ));
        known.next = now.saturating_add(wait);
    }

    /// Makes the addresses of `node` due soon, as its session has ended or it
    /// may have one again.
    pub(super) fn lost(&mut self, node: NodeId, now: Instant, timing: &Timing) {
        let theirs = self
            .known
            .values_mut()
            .filter(|known| known.node == Some(node) && !known.dialling);
        theirs.for_each(|known| known.next = now.saturating_add(timing.dial_min));
    }

    /// What this node tells its peers: its own addresses, then those of others.
    pub(super) fn update(&self, config: &Config) -> Bytes {
        let mut by_node: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
        for (addr, known) in &self.known {
            let Some(node) = known.node.filter(|node| *node != config.node) else {
                continue;
            };
            let addresses = by_node.entry(node).or_default();
            if addresses.len() < ADDRESSES_MAX && addr.as_str().len() <= PeerAddr::MAX {
                addresses.push(addr.as_str().into());
            }
        }
        let own = config
            .advertise
            .iter()
            .take(ADDRESSES_MAX)
            .map(|addr| addr.as_str().into());
        let own = PeerEntry {
            node: config.node,
            addresses: own.collect(),
        };
        let others = by_node
            .into_iter()
            .map(|(node, addresses)| PeerEntry { node, addresses });
        let mut peers: Vec<PeerEntry> = core::iter::once(own)
            .chain(others)
            .take(PEERS_MAX)
            .collect();
        let update = |peers: &Vec<PeerEntry>| {
            message::encode(&PeersUpdate {
                peers: peers.clone(),
            })
        };
        let mut bytes = update(&peers);
        // Long addresses of many peers may exceed a frame: the last go untold.
        while bytes.len() > crate::wire::frame::BODY_MAX as usize {
            peers.truncate(peers.len() / 2);
            bytes = update(&peers);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Mint;

    const A: NodeId = NodeId([1; 32]);

    fn timing() -> Timing {
        Timing {
            dial_min: Duration::from_secs(1),
            dial_max: Duration::from_secs(8),
            ..Timing::default()
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO.saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn waits_between_dials_double_up_to_the_limit() {
        let (mut book, mut mint) = (Book::new(&["a".into()], 10), Mint::new());
        for wait in [1, 2, 4, 8, 8] {
            let addr = book.due(at(100), |_, _| true).unwrap();
            let conn = ConnId::from_mint(&mut mint);
            assert_eq!(book.dial(&addr, conn), None);
            assert_eq!(book.next(|_, _| true), None);
            book.ended(conn, true, at(50), 0, &timing());
            assert_eq!(book.next(|_, _| true), Some(at(50 + wait)));
        }
    }

    #[test]
    fn jitter_takes_at_most_half_of_a_wait() {
        let (mut book, mut mint) = (Book::new(&["a".into()], 10), Mint::new());
        let conn = ConnId::from_mint(&mut mint);
        book.dial(&"a".into(), conn);
        book.ended(conn, true, at(0), u32::MAX, &timing());
        assert_eq!(
            book.next(|_, _| true),
            Some(Instant::from_nanos(500_000_000))
        );
    }

    #[test]
    fn learned_addresses_name_whom_to_expect_and_configured_ones_do_not() {
        let (mut book, mut mint) = (Book::new(&["a".into()], 10), Mint::new());
        assert!(book.learn(A, "b".into(), at(0)));
        assert!(!book.learn(A, "a".into(), at(0)));
        assert_eq!(book.dial(&"a".into(), ConnId::from_mint(&mut mint)), None);
        assert_eq!(
            book.dial(&"b".into(), ConnId::from_mint(&mut mint)),
            Some(A)
        );
    }

    #[test]
    fn a_pinned_address_is_dialled_for_one_node_whoever_is_said_to_be_there() {
        let (b, pinned) = (NodeId([2; 32]), Bootstrap::pinned("a", A));
        let (mut book, mut mint) = (Book::new(&[pinned], 10), Mint::new());
        assert!(!book.learn(b, "a".into(), at(0)));
        for _ in 0..2 {
            let conn = ConnId::from_mint(&mut mint);
            assert_eq!(book.dial(&"a".into(), conn), Some(A));
            assert_eq!(book.expected(conn), Some(A));
            book.found(conn, b);
            book.ended(conn, true, at(0), 0, &timing());
        }
    }

    #[test]
    fn a_full_book_forgets_what_failed_and_never_what_was_configured() {
        let (mut book, mut mint) = (Book::new(&["a".into()], 2), Mint::new());
        assert!(book.learn(A, "b".into(), at(0)));
        assert!(!book.learn(A, "c".into(), at(0)));
        let conn = ConnId::from_mint(&mut mint);
        book.dial(&"b".into(), conn);
        book.ended(conn, true, at(0), 0, &timing());
        assert!(book.learn(A, "c".into(), at(0)));
        assert!(book.known.contains_key(&"a".into()));
        assert!(!book.known.contains_key(&"b".into()));
    }
}
