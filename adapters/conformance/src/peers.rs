//! What peers and the way to them do, and what becomes of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::peerhold_core::{PeerAddr, PeerFault, Role};
use peerhold_host::peerhold_tls::ChannelError as Tls;
use peerhold_host::{ChannelError, HostConfig, Notice};

use crate::abusers::{Insider, drain, list_requests, long_frame};
use crate::between::{Between, Side};
use crate::ends::left;
use crate::lab::{Lab, Member, bytes, cluster_key, stop_all, two, writer};

/// For what has to happen some time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What nodes without secure channels begin with: these bytes and their id.
const GREETING: [u8; 40] =
    *b"PEERHOL1\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09";

/// The next channel that does not come about.
fn no_channel(member: &Member, notices: &mut impl Iterator<Item = Notice>) -> (Role, ChannelError) {
    member.told(notices, |notice| match notice {
        Notice::Channel { role, error } => Some((role, error)),
        _ => None,
    })
}

/// All that a peer is told that sends this, and then nothing more.
fn told(addr: SocketAddr, data: &[u8], ends: bool) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.write_all(data).unwrap();
    if ends {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    answer
}

/// A socket on which nothing comes.
pub fn a_peer_that_connects_and_says_nothing_is_closed_by_its_deadline(lab: &Lab) {
    let member = lab.start(|config| config.open_timeout = Duration::from_millis(100));
    let mut notices = member.notices();
    assert_eq!(told(member.addr(), b"", false), b"");
    let expected = (Role::Listener, ChannelError::Timeout);
    assert_eq!(no_channel(&member, &mut notices), expected);
    member.stop();
}

/// A hello of which byte after byte comes, and never the last.
pub fn a_handshake_that_dribbles_is_ended_by_its_deadline(lab: &Lab) {
    let member = lab.start(|config| config.open_timeout = Duration::from_millis(100));
    let mut notices = member.notices();
    let mut socket = TcpStream::connect(member.addr()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let mut hello = vec![0; 500];
    hello[..9].copy_from_slice(&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]);
    let ended = hello.iter().any(|byte| {
        let sent = socket.write_all(&[*byte]);
        let more = socket.read(&mut [0]).map_err(|error| error.kind());
        let waits = matches!(more, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut));
        sent.is_err() || !waits
    });
    assert!(ended, "every byte has moved the deadline");
    let expected = (Role::Listener, ChannelError::Timeout);
    assert_eq!(no_channel(&member, &mut notices), expected);
    member.stop();
}

/// A channel that opens, and on which nothing comes.
pub fn a_peer_that_is_silent_behind_its_channel_is_closed_by_its_deadline(lab: &Lab) {
    let member = lab.start(|config| {
        config.insecure = true;
        config.node.timing.admission = Duration::from_millis(100);
    });
    let mut notices = member.notices();
    let said = told(member.addr(), &GREETING, false);
    assert!(said.len() > GREETING.len(), "{said:?}");
    let fault = member.told(&mut notices, |notice| match notice {
        Notice::Refused { fault, .. } => Some(fault),
        _ => None,
    });
    assert_eq!(fault, Some(PeerFault::AdmissionTimeout));
    member.stop();
}

/// Something else than a peer.
pub fn whoever_speaks_something_else_gets_an_alert_and_the_end(lab: &Lab) {
    let member = lab.start(|config| config.close_timeout = Duration::from_secs(600));
    let mut notices = member.notices();
    let mut request = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    // It is told the end, though it keeps its own side open..
    let polite = told(member.addr(), &request, false);
    // ..and however much more it sends.
    request.resize(16 << 20, b' ');
    let flooding = told(member.addr(), &request, true);
    for answer in [polite, flooding] {
        // An alert (21): fatal (2), decode error (50).
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50]);
        let expected = (Role::Listener, ChannelError::Secure(Tls::NotTls));
        assert_eq!(no_channel(&member, &mut notices), expected);
    }
    member.stop();
}

/// The hello of a program that knows TLS up to 1.2.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[0x5a; 32]);
    // No session, ECDHE with ECDSA and AES-GCM, no compression; P-256, and
    // signatures by it.
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]);
    hello.extend_from_slice(&[0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3]);
    let len = u8::try_from(hello.len()).unwrap();
    [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &hello].concat()
}

/// An older TLS than the one that is spoken.
pub fn whoever_speaks_an_older_tls_is_refused_and_told_of(lab: &Lab) {
    let member = lab.start(|_| {});
    let mut notices = member.notices();
    // An alert (21): fatal (2), protocol version (70).
    let answer = told(member.addr(), &old_hello(), false);
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    let expected = (Role::Listener, ChannelError::Secure(Tls::Version));
    assert_eq!(no_channel(&member, &mut notices), expected);
    member.stop();
}

/// Somebody between two nodes has recorded how one has met the other.
pub fn a_recorded_handshake_played_again_is_refused_and_told_of(lab: &Lab) {
    let (between, [listener, dialler]) = apart(lab, |_| {});
    dialler.meet(2, 1);
    listener.meet(2, 1);
    let said = between.said();
    assert!(said.len() > 1600, "a hello and a proof: {said:?}");
    let mut notices = listener.notices();
    // It is told a hello of the listener's own (22), and by that the proof is
    // another's.
    let answer = told(listener.addr(), &said, false);
    assert_eq!(answer[0], 22);
    let expected = (Role::Listener, ChannelError::Secure(Tls::Damaged));
    assert_eq!(no_channel(&listener, &mut notices), expected);
    assert_eq!(listener.blocking().peers().unwrap().len(), 1);
    stop_all([dialler, listener]);
}

/// A socket with unread bytes that is closed takes back what it has sent.
pub fn a_peer_that_is_sent_away_while_it_sends_gets_all_that_was_sent_to_it(lab: &Lab) {
    let member = lab.start(|config| {
        config.insecure = true;
        config.close_timeout = Duration::from_secs(60);
    });
    // Nothing that a peer would say, and more than sockets hold.
    let said = [&GREETING[..], &[0xFF; 16 << 20]].concat();
    let answer = told(member.addr(), &said, true);
    assert!(answer.starts_with(&GREETING[..8]), "{answer:?}");
    member.stop();
}

/// One side has secure channels and the other has not.
pub fn a_plaintext_peer_is_refused_and_told_of_by_both(lab: &Lab) {
    let secure = lab.start(|_| {});
    let mut at_secure = secure.notices();
    let plain = lab.start(|config| {
        config.insecure = true;
        config.listen.clear();
        config.node.bootstrap = vec![secure.bootstrap()];
    });
    let mut at_plain = plain.notices();
    assert_eq!(
        no_channel(&secure, &mut at_secure),
        (Role::Listener, ChannelError::Secure(Tls::NotTls))
    );
    assert_eq!(
        no_channel(&plain, &mut at_plain),
        (Role::Dialer, ChannelError::Magic)
    );
    assert_eq!(secure.blocking().peers().unwrap().len(), 0);
    stop_all([plain, secure]);
}

/// Addresses that cannot be dialled are told of, and harm nobody.
pub fn addresses_that_cannot_be_dialled_are_told_of(lab: &Lab) {
    let undialled = |addr: &str, insecure| {
        let member = lab.start(|config| {
            config.insecure = insecure;
            config.node.bootstrap = vec![addr.into()];
        });
        let mut notices = member.notices();
        let told = member.told(&mut notices, |notice| match notice {
            Notice::Address { addr, .. } => Some(addr),
            _ => None,
        });
        assert_eq!(told, PeerAddr::from(addr));
        member.stop();
    };
    // The name of a host.
    undialled("localhost:4100", false);
    // Another machine, without a secure channel.
    undialled("192.0.2.1:4100", true);
}

/// Of those who come and are not admitted there are half as many as a node has
/// connections, and whoever comes then is heard.
pub fn whoever_comes_takes_the_place_of_who_says_nothing(lab: &Lab) {
    let member = lab.start(|config| {
        config.node.limits.connections = 4;
        config.open_timeout = Duration::from_secs(600);
        config.node.timing.admission = Duration::from_secs(600);
    });
    let mut notices = member.notices();
    let silent: Vec<TcpStream> = (0..4)
        .map(|_| TcpStream::connect(member.addr()).unwrap())
        .collect();
    let mut ended = silent.iter().take(2);
    assert!(ended.all(|mut socket| matches!(socket.read(&mut [0]), Ok(0) | Err(_))));
    member.told(&mut notices, |notice| {
        matches!(notice, Notice::Crowded).then_some(())
    });
    let answer = told(member.addr(), b"GET / HTTP/1.1\r\n\r\n", false);
    assert!(!answer.is_empty(), "it is heard");
    member.stop();
}

/// An address at which nobody answers is dialled again and again, and nothing
/// but time says when.
pub fn a_deadline_wakes_a_node_to_which_nothing_else_happens(lab: &Lab) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let member = lab.start(|config| {
        config.listen.clear();
        config.node.bootstrap = vec![addr.to_string().into()];
    });
    for _ in 0..8 {
        drop(listener.accept().unwrap());
    }
    member.stop();
}

/// A node that dials another one by a place between, which is the only way to
/// it.
pub(crate) fn apart(lab: &Lab, change: impl Fn(&mut HostConfig)) -> (Between, [Member; 2]) {
    let between = Between::new();
    let way = between.addr().to_string();
    let listener = lab.start(|config| {
        two(config);
        config.node.advertise = vec![way.as_str().into()];
        change(config);
    });
    between.lead(listener.addr());
    let dialler = lab.start(|config| {
        two(config);
        config.listen.clear();
        config.node.bootstrap = vec![way.as_str().into()];
        change(config);
    });
    (between, [listener, dialler])
}

fn down(member: &Member, notices: &mut impl Iterator<Item = Notice>) {
    member.told(notices, |notice| {
        matches!(notice, Notice::PeerDown { .. }).then_some(())
    });
}

/// The way to a peer swallows everything, and no end of it is told.
pub fn a_peer_that_is_half_open_is_given_up_and_met_anew(lab: &Lab) {
    let (between, [listener, dialler]) = apart(lab, |config| {
        config.node.timing.keep_alive = Duration::from_millis(100);
        config.node.timing.idle = Duration::from_millis(300);
    });
    listener.meet(2, 1);
    dialler.meet(2, 1);
    let mut notices = [listener.notices(), dialler.notices()];
    between.freeze();
    // Both copies are needed: it waits for the peer.
    let data = bytes(100 << 10, 1);
    dialler.put("f", &data);
    down(&listener, &mut notices[0]);
    down(&dialler, &mut notices[1]);
    listener.holds("f", &data);
    between.thaw();
    stop_all([dialler, listener]);
}

/// A put's exchange, broken at 64 places of it.
pub fn a_peer_that_resets_in_mid_frame_is_met_anew_wherever_that_was(lab: &Lab) {
    const PLACES: u64 = 64;
    let (between, [listener, dialler]) = apart(lab, |_| {});
    dialler.meet(2, 1);
    let file = |index| (format!("file {index}"), bytes(100 << 10, index));
    let exchange = |index| {
        let (name, data) = file(index);
        let before = [Side::Dialler, Side::Listener].map(|side| between.passed(side));
        dialler.put(&name, &data);
        let after = [Side::Dialler, Side::Listener].map(|side| between.passed(side));
        [after[0] - before[0], after[1] - before[1]]
    };
    // The first one says more: the node learns what the other one may ask.
    exchange(1000);
    let sent = exchange(1001);
    assert!(sent[0] > 100 << 10 && sent[1] > 100, "{sent:?}");
    let mut broken = 0;
    for index in 0..PLACES {
        let (name, data) = file(index);
        let side = [Side::Dialler, Side::Listener][index as usize % 2];
        let place = sent[side as usize] * (index / 2) / (PLACES / 2);
        between.cut_after(side, place);
        dialler.put(&name, &data);
        broken += u64::from(between.spare());
        dialler.meet(2, 1);
    }
    // Near its end an exchange may be shorter than the one that was measured.
    assert!(broken >= PLACES - 8, "{broken} of {PLACES} were broken");
    for index in 0..PLACES {
        let (name, data) = file(index);
        listener.holds(&name, &data);
        dialler.holds(&name, &data);
    }
    stop_all([dialler, listener]);
}

/// Streams keep no borders.
pub fn what_comes_a_byte_at_a_time_is_understood(lab: &Lab) {
    let (between, [listener, dialler]) = apart(lab, |_| {});
    dialler.meet(2, 1);
    between.single();
    // The handshake too.
    between.cut();
    let data = [bytes(20 << 10, 1), bytes(20 << 10, 2)];
    dialler.put("a", &data[0]);
    listener.put("b", &data[1]);
    listener.holds("a", &data[0]);
    dialler.holds("b", &data[1]);
    assert!(between.accepted() > 1);
    stop_all([dialler, listener]);
}

/// Two nodes each of which has dialled the other.
pub fn of_two_that_dial_each_other_at_once_one_session_remains(lab: &Lab) {
    let ways = [Between::new(), Between::new()];
    let addrs = ways.each_ref().map(|way| way.addr().to_string());
    ways.iter().for_each(Between::hold);
    let start = |own: usize| {
        let member = lab.start(|config| {
            two(config);
            config.node.advertise = vec![addrs[own].as_str().into()];
            config.node.bootstrap = vec![addrs[1 - own].as_str().into()];
        });
        ways[own].lead(member.addr());
        member
    };
    let members = [start(0), start(1)];
    let mut seen = [0; 2];
    for round in 0..8 {
        for (way, seen) in ways.iter().zip(seen) {
            way.wait_for(seen + 1);
        }
        ways.iter().for_each(Between::release);
        for member in &members {
            member.meet(2, 1);
        }
        ways[0].wait_for_open(&ways[1], 1);
        agree(&members);
        let (name, data) = (format!("{round}"), bytes(50 << 10, round));
        members[0].put(&name, &data);
        members[1].holds(&name, &data);
        // Again: what stands is broken, and both dial.
        seen = ways.each_ref().map(Between::accepted);
        ways.iter().for_each(Between::hold);
        ways.iter().for_each(Between::cut);
    }
    ways.iter().for_each(Between::release);
    stop_all(members);
}

/// Waits until both name the same session: either has dialled. That one was
/// closed may be heard before the other is admitted, so that there is none for
/// a moment.
fn agree(members: &[Member; 2]) {
    loop {
        let dialled = members.each_ref().map(|member| {
            member.meet(2, 1);
            let peers = member.blocking().peers().unwrap();
            assert!(peers.len() <= 1, "more sessions than one: {peers:?}");
            peers.first().map(|peer| peer.addr.is_some())
        });
        if let [Some(one), Some(other)] = dialled
            && one != other
        {
            return;
        }
        thread::yield_now();
    }
}

/// A node that is stopped in the middle of what its peers send it.
pub fn a_peer_that_ends_is_noticed_at_once(lab: &Lab) {
    let mut members = lab.cluster(3, |_, _| {});
    let mut notices = members[0].notices();
    let third = members.pop().unwrap();
    let gone = third.client.node();
    // In good order, and then abruptly.
    let dir = third.stop();
    let down = |notice| match notice {
        Notice::PeerDown { peer, fault } => Some((peer, fault)),
        _ => None,
    };
    assert_eq!(members[0].told(&mut notices, down), (gone, None));
    drop(dir);
    let second = members.pop().unwrap();
    let gone = second.client.node();
    second.abandon();
    assert_eq!(members[0].told(&mut notices, down), (gone, None));
    stop_all(members);
}

/// How an admitted peer ends its own side, and goes on hearing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Half {
    /// It says so, and ends the stream.
    Told,
    /// It ends the stream without a word, as a process that dies.
    Cut,
    /// In the middle of a frame.
    InFrame,
    /// While the node has much to answer, of which it takes nothing.
    Deaf,
    /// It says so, and does not end the stream: nothing is ever heard of it again.
    Silent,
}

impl Half {
    fn end(self, peer: &mut Insider) {
        match self {
            Self::Told | Self::Silent => peer.end().unwrap(),
            Self::Cut => {}
            Self::InFrame => peer.say(&long_frame()[..100]).unwrap(),
            Self::Deaf => peer.say(&list_requests(writer().namespace(), 500)).unwrap(),
        }
        if self != Self::Silent {
            peer.socket().shutdown(Shutdown::Write).unwrap();
        }
    }
}

/// The end of what a peer says is the end of its session, although it still
/// listens: nobody answers whom nobody can ask again.
pub fn an_admitted_peer_that_ends_its_own_side_alone_is_let_go_with_its_descriptor(lab: &Lab) {
    if !Path::new("/proc/self/fd").exists() {
        eprintln!("{}: not run, as there is no /proc to count in", lab.test());
        return;
    }
    // Descriptors are counted.
    if !lab.is_alone("exec \"$@\"") {
        return;
    }
    let patient = lab.start(|config| config.close_timeout = Duration::from_secs(600));
    for half in [Half::Told, Half::Cut, Half::InFrame] {
        assert_eq!(let_go(&patient, half), None, "{half:?}");
    }
    patient.stop();
    let hasty = lab.start(|config| {
        config.close_timeout = Duration::from_millis(300);
        config.node.timing.keep_alive = Duration::from_millis(100);
        config.node.timing.idle = Duration::from_millis(300);
    });
    let data = bytes(10 << 10, 1);
    for index in 0..100 {
        hasty.put(&format!("{index}"), &data);
    }
    // Nothing is read from it while it is owed so much, maybe not its end either.
    let fault = let_go(&hasty, Half::Deaf);
    assert!(matches!(fault, None | Some(PeerFault::Silent)), "{fault:?}");
    assert_eq!(let_go(&hasty, Half::Silent), Some(PeerFault::Silent));
    hasty.holds("0", &data);
    hasty.stop();
}

/// What is told of a peer that ends its side so. Nothing is left of it.
fn let_go(member: &Member, half: Half) -> Option<PeerFault> {
    let before = left(None);
    let mut notices = member.notices();
    let mut peer = Insider::enter(member.addr(), &cluster_key(), [half as u8 + 1; 32]).unwrap();
    let up = member.told(&mut notices, |notice| match notice {
        Notice::PeerUp { peer, .. } => Some(peer),
        _ => None,
    });
    half.end(&mut peer);
    let (down, fault) = member.told(&mut notices, |notice| match notice {
        Notice::PeerDown { peer, fault } => Some((peer, fault)),
        _ => None,
    });
    assert_eq!(down, up);
    assert!(
        drain(peer.socket(), PATIENCE),
        "{half:?}: it is still there"
    );
    // The peer's own is all that is there beside.
    let there = (before.0, before.1 + 1);
    assert_eq!(left(Some(there)), there, "{half:?}");
    drop(peer);
    assert_eq!(left(Some(before)), before, "{half:?}");
    fault
}

/// Whoever writes before it may, writes into a node that takes it in turn.
pub fn one_peer_that_floods_holds_up_nobody_else(lab: &Lab) {
    let member = lab.start(|config| config.close_timeout = Duration::from_secs(60));
    let small = Bytes::from_static(b"small");
    let addr = member.addr();
    let flooding = thread::spawn(move || told(addr, &vec![b' '; 64 << 20], true));
    for index in 0..20 {
        let name = index.to_string();
        member.put(&name, &small);
        member.holds(&name, &small);
    }
    flooding.join().unwrap();
    member.stop();
}
