//! Who may store: what the node's own policy makes of what peers say.

use std::collections::BTreeMap;
use std::time::Duration;

use peerhold_core::members::{Member, State};
use peerhold_core::wire::message::{self, MembersUpdate, Refusal, Refused, kind};
use peerhold_core::{Config, ConfigError, Event, NodeId, Policy, Storing, Terms};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, active, config, member};
use crate::members::{known, own, update};

/// A configuration by which only these may store.
fn allowing(nodes: &[NodeId]) -> Config {
    let mut config = config(ME);
    config.policy = Policy::allow(nodes.iter().map(|node| (*node, Terms::default())));
    config
}

fn says(peer: &Peer, host: &mut Host, entries: &[(NodeId, Member)]) {
    peer.tell(host, kind::MEMBERS, &update(entries));
}

#[test]
fn a_node_that_is_not_allowed_is_in_no_map_whoever_says_so() {
    let mut host = Host::founded(allowing(&[ME, id(1), id(2)]), &[id(1), id(2)]);
    let friend = Peer::admitted(&mut host, id(1));
    let stranger = Peer::admitted(&mut host, id(3));
    let before = host.node.status().members;
    host.take_events();
    let lie = Member {
        counter: u64::MAX,
        ..member(State::Active)
    };
    for _ in 0..2 {
        says(&stranger, &mut host, &[(id(3), lie)]);
        says(&friend, &mut host, &[(id(3), lie)]);
    }
    assert_eq!(host.node.status().members, before);
    assert_eq!(host.take_events(), [], "nor has the map changed meanwhile");
    assert!(!host.has_closed(stranger.conn), "it stays a client");
}

#[test]
fn what_a_node_that_is_not_allowed_says_of_others_is_passed_over() {
    let listed = [ME, id(1), id(2), id(4)];
    let mut host = Host::founded(allowing(&listed), &[id(1), id(2)]);
    let before = host.node.status().members;
    let stranger = Peer::admitted(&mut host, id(3));
    let gone = Member {
        counter: u64::MAX,
        ..member(State::Gone)
    };
    let told = [
        (id(1), gone),
        (id(3), member(State::Active)),
        (id(4), member(State::Active)),
    ];
    says(&stranger, &mut host, &told);
    assert_eq!(host.node.status().members, before);
}

#[test]
fn weights_are_capped_and_zones_set_whatever_a_member_says() {
    let mut config = config(ME);
    let terms = |weight_max, zone| Terms { weight_max, zone };
    config.policy = Policy::allow([
        (ME, terms(None, Some(8))),
        (id(1), terms(Some(5), Some(9))),
        (id(2), terms(None, None)),
    ]);
    config.policy.weight_max = 20;
    config.weight = 1000;
    let mut host = Host::with_disk(config, Default::default());
    let mut peers = [1, 2].map(|at| Peer::admitted(&mut host, id(at)));
    let told = Member {
        weight: 100,
        zone: 3,
        ..member(State::Joining)
    };
    for (at, peer) in (1..).zip(&peers) {
        says(peer, &mut host, &[(id(at), told)]);
    }
    let counts = |node| known(&host, node).map(|member| (member.weight, member.zone));
    assert_eq!(counts(id(1)), Some((5, 9)));
    assert_eq!(counts(id(2)), Some((20, 3)));
    assert_eq!(counts(ME), Some((20, 8)), "its own too");
    let frames = peers[0].asked(&mut host, kind::MEMBERS);
    let last: MembersUpdate = message::decode(&frames.last().unwrap().body).unwrap();
    let said: Vec<_> = last
        .entries
        .iter()
        .map(|entry| (entry.node, entry.member))
        .collect();
    assert_eq!(
        said,
        host.node.status().members,
        "what it tells is what it counts"
    );
}

#[test]
fn a_node_that_its_own_list_does_not_name_is_a_client() {
    let mut host = Host::new(allowing(&[id(1), id(2), id(3)]));
    assert_eq!(own(&host).weight, 0);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.ask(&mut host, kind::LOOKUP, &crate::serving::lookup());
    let frames = peer.received(&mut host);
    let refused = frames.iter().find(|frame| frame.kind == kind::REFUSED);
    let refused: Refused = message::decode(&refused.unwrap().body).unwrap();
    assert_eq!(refused.reason, Refusal::NotStoring);
}

#[test]
fn nobody_who_is_not_allowed_helps_to_found_a_cluster_or_hinders_it() {
    let mut host = Host::new(allowing(&[ME, id(1), id(2)]));
    for at in [3, 4] {
        let stranger = Peer::admitted(&mut host, id(at));
        let mut told = update(&[(id(at), member(State::Joining))]);
        told.holding = true;
        stranger.tell(&mut host, kind::MEMBERS, &told);
    }
    let first = Peer::admitted(&mut host, id(1));
    says(&first, &mut host, &[(id(1), member(State::Joining))]);
    assert_eq!(own(&host).state, State::Joining);
    let second = Peer::admitted(&mut host, id(2));
    says(&second, &mut host, &[(id(2), member(State::Joining))]);
    assert_eq!(own(&host).state, State::Active);
}

#[test]
fn who_has_been_taken_from_the_list_is_out_of_the_kept_map_too() {
    let kept = active(&[ME, id(1), id(2)]);
    let mut host = Host::loading(allowing(&[ME, id(1)]), Some(kept));
    host.release();
    assert_eq!(known(&host, id(2)), None);
    assert_eq!(host.node.status().active(), 2);
}

#[test]
fn a_peer_that_places_by_other_members_for_a_minute_is_told_of_once() {
    let mut host = Host::founded(allowing(&[ME, id(1), id(2)]), &[id(1), id(2)]);
    let differs = |host: &mut Host| {
        let events = host.take_events().into_iter();
        let differs = events.filter(|event| *event == Event::MapDiffers { peer: id(1) });
        (differs.count(), host.node.status().peers[0].differs)
    };
    let peer = Peer::admitted(&mut host, id(1));
    let same = [ME, id(1), id(2)].map(|node| (node, member(State::Active)));
    let other = [&same[..], &[(id(3), member(State::Active))]].concat();
    says(&peer, &mut host, &same);
    let wait = |host: &mut Host, seconds: u64| {
        for _ in 0..seconds {
            host.pass(Duration::from_secs(1));
            // Signs of life.
            says(&peer, host, &other);
        }
    };
    assert_eq!(differs(&mut host), (0, None));
    says(&peer, &mut host, &other);
    let since = Some(host.now);
    wait(&mut host, 59);
    assert_eq!(differs(&mut host), (0, since));
    wait(&mut host, 1);
    assert_eq!(differs(&mut host), (1, since));
    wait(&mut host, 200);
    assert_eq!(differs(&mut host), (0, since));
    says(&peer, &mut host, &same);
    assert_eq!(differs(&mut host), (0, None));
    says(&peer, &mut host, &other);
    peer.reset(&mut host);
    host.pass(Duration::from_secs(100));
    let events = host.take_events();
    assert!(!events.contains(&Event::MapDiffers { peer: id(1) }));
}

#[test]
fn policies_that_cannot_work_are_refused() {
    let mut config = allowing(&[id(1), id(2), id(3)]);
    config.limits.members = 4;
    assert_eq!(config.check(), Ok(()));
    config.limits.members = 3;
    let (allowed, members) = (4, 3);
    let many = ConfigError::ManyAllowed { allowed, members };
    assert_eq!(config.check(), Err(many));
    config.policy = Policy {
        storing: Storing::Open,
        weight_max: 0,
    };
    assert_eq!(config.check(), Err(ConfigError::ZeroLimit("weight_max")));
}

/// Something that a liar does.
#[derive(Clone, Debug)]
enum Step {
    /// One of the liars tells of these nodes.
    Tell(usize, Vec<(NodeId, Told)>),
    /// Its session ends, and another begins.
    Again(usize),
    Pass(u8),
    /// The node is started anew from what it kept.
    Restart,
}

#[derive(Clone, Copy, Debug)]
struct Told(Member);

const NODES: [NodeId; 8] = [ME, id(1), id(2), id(3), id(4), id(5), id(8), id(9)];
/// One that may store and does, one that may not, one that may and has not
/// joined.
const LIARS: [NodeId; 3] = [id(1), id(9), id(5)];
/// Active members that never lie, beside the node itself: one that is away,
/// and one with a session.
const HONEST: [NodeId; 2] = [id(2), id(3)];

impl Arbitrary for Told {
    fn arbitrary(g: &mut Gen) -> Self {
        let states = [State::Joining, State::Active, State::Leaving, State::Gone];
        Self(Member {
            counter: *g.choose(&[0, 1, 2, u64::MAX - 1, u64::MAX]).unwrap(),
            state: *g.choose(&states).unwrap(),
            weight: *g.choose(&[0, 1, 7, u16::MAX]).unwrap(),
            zone: *g.choose(&[0, 1, u16::MAX]).unwrap(),
        })
    }
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 16 {
            0 => Self::Restart,
            1 => Self::Pass(u8::arbitrary(g) % 40),
            2..4 => Self::Again(usize::arbitrary(g) % LIARS.len()),
            _ => {
                let lies = 1 + usize::arbitrary(g) % 6;
                let lie = |_| (*g.choose(&NODES).unwrap(), Told::arbitrary(g));
                let lies = (0..lies).map(lie).collect();
                Self::Tell(usize::arbitrary(g) % LIARS.len(), lies)
            }
        }
    }
}

/// What the policy allows each: its greatest weight, its zone.
fn list() -> BTreeMap<NodeId, Terms> {
    let terms = |weight_max, zone| Terms { weight_max, zone };
    [
        (ME, terms(None, Some(4))),
        (id(1), terms(Some(3), Some(1))),
        (id(2), terms(None, Some(2))),
        (id(3), terms(None, Some(3))),
        (id(4), terms(Some(9), Some(2))),
        (id(5), terms(Some(0), None)),
    ]
    .into()
}

struct Run {
    host: Host,
    liars: Vec<Peer>,
}

impl Run {
    fn new(disk: crate::host::Disk) -> Self {
        let mut config = config(ME);
        config.policy = Policy::allow(list());
        config.policy.weight_max = 8;
        let mut host = Host::with_disk(config, disk);
        let honest = Peer::admitted(&mut host, id(3));
        says(&honest, &mut host, &[(id(3), member(State::Active))]);
        let liars = LIARS.map(|liar| Peer::admitted(&mut host, liar));
        let liars = liars.into();
        Self { host, liars }
    }

    fn step(&mut self, step: &Step) {
        let host = &mut self.host;
        match step {
            Step::Tell(at, lies) => {
                let lies: Vec<_> = lies.iter().map(|(node, told)| (*node, told.0)).collect();
                says(&self.liars[*at], host, &lies);
            }
            Step::Again(at) => {
                self.liars[*at].reset(host);
                self.liars[*at] = Peer::admitted(host, LIARS[*at]);
            }
            Step::Pass(seconds) => {
                host.pass(Duration::from_secs((*seconds).into()));
                for (at, liar) in self.liars.iter_mut().enumerate() {
                    if host.has_closed(liar.conn) {
                        liar.reset(host);
                        *liar = Peer::admitted(host, LIARS[at]);
                    }
                }
            }
            Step::Restart => *self = Self::new(std::mem::take(&mut host.disk)),
        }
    }

    fn check(&self) {
        let status = self.host.node.status();
        for (node, member) in &status.members {
            let terms = list().get(node).copied().expect("it may store");
            assert!(member.weight <= terms.weight_max.unwrap_or(8).min(8));
            assert!(terms.zone.is_none_or(|zone| zone == member.zone));
        }
        for node in HONEST.into_iter().chain([ME]) {
            let member = known(&self.host, node).expect("nobody takes it away");
            assert_eq!((member.state, member.weight), (State::Active, 1));
        }
    }
}

#[test]
fn whatever_lies_are_told_only_the_allowed_count_up_to_their_caps_and_none_is_taken_away() {
    fn holds(steps: Vec<Step>) -> bool {
        let disk = crate::host::Disk {
            members: Some(active(&[ME, id(1), id(2), id(3)])),
            ..Default::default()
        };
        let mut run = Run::new(disk);
        for step in &steps {
            run.step(step);
            run.check();
        }
        true
    }
    QuickCheck::new()
        .rng(Gen::new(60))
        .tests(300)
        .quickcheck(holds as fn(Vec<Step>) -> bool);
}
