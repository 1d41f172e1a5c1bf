//! Records after the handshake: what a peer may put into them, and what
//! becomes of them on their way.

use std::io::{ErrorKind, IoSlice, Read};

use bytes::BytesMut;
use peerhold_tls::{Alert, Channel, ChannelError, Endpoint, Limits};
use quickcheck::quickcheck;
use rustls::Connection;

use crate::bent::{Bent, bending};
use crate::support::*;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// The most that a record has on the wire, and for plaintext.
const WIRE_MAX: usize = 5 + (1 << 14) + 256;
const CONTENT_MAX: usize = 1 << 14;

/// Our listener and a peer that stand, the peer's records being what a test
/// wants.
fn bent_pair() -> (Channel, Connection) {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = bending().client();
    converse(&mut listener, &mut client).unwrap();
    (listener, client)
}

/// What our side makes of one such record, and of a good one after it.
fn taken(bent: &[u8]) -> Result<BytesMut, ChannelError> {
    let (mut listener, mut client) = bent_pair();
    let mut got = BytesMut::new();
    let wire = plaintext(&mut client, bent);
    let first = listener.receive(&wire, &mut got);
    let after = plaintext(&mut client, b"!");
    let second = listener.receive(&after, &mut got);
    match first {
        Ok(()) => second.map(|()| got),
        Err(error) => {
            assert_eq!((second, listener.end()), (Err(error), Err(error)));
            assert!(got.is_empty());
            Err(error)
        }
    }
}

#[test]
fn zeros_behind_the_content_are_dropped() {
    for zeros in [0, 1, 2, 300] {
        let got = taken(&Bent::padded(DATA, b"content\0", zeros));
        assert_eq!(got.unwrap(), b"content\0!"[..], "{zeros} zeros");
    }
    let room = u16::try_from(CONTENT_MAX).unwrap();
    assert_eq!(taken(&Bent::padded(DATA, b"", room)).unwrap(), b"!"[..]);
}

#[test]
fn a_record_of_nothing_but_zeros_is_refused() {
    for zeros in [0, 1, 300] {
        let nothing = Bent::record(0, b"", zeros);
        assert_eq!(taken(&nothing), Err(ChannelError::Malformed));
    }
}

#[test]
fn a_record_is_not_larger_than_it_may_be() {
    let room = u16::try_from(CONTENT_MAX).unwrap();
    // As much content, or content and zeros, as there may be.
    let full = taken(&Bent::record(DATA, b"", room)).unwrap();
    assert_eq!(full.len(), CONTENT_MAX + 1);
    for large in [
        Bent::record(DATA, b"", room + 1),
        Bent::padded(DATA, b"", room + 1),
        Bent::record(DATA, b"", room + 200),
    ] {
        assert_eq!(taken(&large), Err(ChannelError::Malformed));
    }
    // The header alone says so, which may have been changed on its way.
    for large in [room + 2000, u16::MAX - 100] {
        let large = Bent::record(DATA, b"", large);
        assert_eq!(taken(&large), Err(ChannelError::Damaged));
    }
}

#[test]
fn only_data_alerts_and_a_new_key_are_taken() {
    for kind in (0..=u8::MAX).filter(|kind| !matches!(*kind, ALERT | DATA)) {
        let other = taken(&Bent::record(kind, b"content", 0));
        assert_eq!(other, Err(ChannelError::Malformed), "kind {kind}");
    }
    for message in [
        &b""[..],
        &[24],
        &[24, 0, 0],
        &[24, 0, 0, 1],
        &[24, 0, 0, 1, 2],
        &[24, 0, 0, 0],
        // Two in one record, and one with something behind it.
        &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0],
        &[24, 0, 0, 1, 0, 0],
        // Others: a hello, a ticket, a finish, a request for a key.
        &[1, 0, 0, 0],
        &[4, 0, 0, 0],
        &[20, 0, 0, 0],
        &[13, 0, 0, 0],
    ] {
        let got = taken(&Bent::record(HANDSHAKE, message, 0));
        assert_eq!(got, Err(ChannelError::Malformed), "{message:?}");
    }
}

#[test]
fn an_alert_is_the_end_and_says_why() {
    let alert = |content: &[u8]| taken(&Bent::record(ALERT, content, 0));
    for level in [0, 1, 2, 255] {
        // The end; nothing is taken after it.
        assert_eq!(alert(&[level, 0]).unwrap(), b""[..]);
        assert_eq!(alert(&[level, 40]), Err(ChannelError::Alert(Alert(40))));
        // Whoever says so goes on to say that it ends.
        assert_eq!(alert(&[level, 90]).unwrap(), b"!"[..]);
    }
    for wrong in [&b""[..], &[0], &[1, 0, 0], &[2, 40, 2, 40]] {
        assert_eq!(alert(wrong), Err(ChannelError::Malformed), "{wrong:?}");
    }
}

#[test]
fn a_peer_is_told_what_it_did_wrong() {
    for (bent, number) in [
        (Bent::record(HANDSHAKE, &[1, 0, 0, 0], 0), 10),
        (Bent::record(0, b"", 9), 10),
        (Bent::record(DATA, b"", 0x4001), 22),
        (Bent::record(DATA, b"", 0x4800), 22),
        // Neither asks for a key nor does not.
        (Bent::record(HANDSHAKE, &[24, 0, 0, 1, 2], 0), 47),
        (Bent::record(ALERT, &[1, 0, 0], 0), 50),
    ] {
        let (mut listener, mut client) = bent_pair();
        let wire = plaintext(&mut client, &bent);
        assert!(listener.receive(&wire, &mut BytesMut::new()).is_err());
        let told = flushed(&mut listener);
        let error = read(&mut client, &told).unwrap_err();
        let rustls::Error::AlertReceived(alert) = error else {
            panic!("{error}");
        };
        assert_eq!(u8::from(alert), number);
        assert!(flushed(&mut listener).is_empty());
    }
}

#[test]
fn a_channel_that_broke_holds_nothing_but_its_last_words() {
    let (mut dialer, mut listener) = open_pair();
    let mut got = BytesMut::new();
    listener.receive(&[HANDSHAKE, 3, 3, 0], &mut got).unwrap();
    assert_eq!(listener.pending(), 4);
    let broken = Err(ChannelError::Malformed);
    assert_eq!(listener.receive(&[20], &mut got), broken);
    assert_eq!(listener.pending(), 0);
    // It neither seals nor opens, nor ends in good order.
    let wire = sealed(&mut dialer, b"good");
    assert_eq!(listener.receive(&wire, &mut got), broken);
    let mut out = BytesMut::new();
    assert_eq!(
        listener.send(&mut [IoSlice::new(b"more")], &mut out),
        broken
    );
    listener.close();
    assert!(got.is_empty() && out.is_empty());
    let told = flushed(&mut listener);
    assert_eq!(
        dialer.receive(&told, &mut got),
        Err(ChannelError::Alert(Alert(10)))
    );
    assert!(flushed(&mut listener).is_empty());
    assert!(flushed(&mut dialer).is_empty(), "an alert is not answered");
}

#[test]
fn a_request_for_a_new_key_is_answered_once_and_before_more_data() {
    let (mut listener, mut client) = bent_pair();
    for _ in 0..2 {
        let ask = Bent::record(HANDSHAKE, &[24, 0, 0, 1, 1], 0);
        let asked = plaintext(&mut client, &ask);
        listener.receive(&asked, &mut BytesMut::new()).unwrap();
        // The peer takes the new key that it has announced.
        client.refresh_traffic_keys().unwrap();
        drop(written(&mut client));
        assert!(flushed(&mut listener).is_empty(), "answered without data");
    }
    let wire = sealed(&mut listener, b"by the new key");
    assert_eq!(wire.len(), (5 + 22) + (14 + 22));
    assert!(flushed(&mut listener).is_empty());
    read(&mut client, &wire).unwrap();
    let mut got = [0; 14];
    client.reader().read_exact(&mut got).unwrap();
    assert_eq!(got, *b"by the new key");
    let mut got = BytesMut::new();
    let wire = plaintext(&mut client, b"likewise");
    listener.receive(&wire, &mut got).unwrap();
    assert_eq!(got, b"likewise"[..]);
}

/// What the library's end has got since it was asked last.
fn heard(conn: &mut Connection) -> Vec<u8> {
    let mut got = Vec::new();
    let more = conn.reader().read_to_end(&mut got).unwrap_err();
    assert_eq!(more.kind(), ErrorKind::WouldBlock);
    got
}

/// Both say something and understand what the other says.
fn talk(ours: &mut Channel, theirs: &mut Connection, round: u8) {
    let wire = sealed(ours, &[round; 100]);
    read(theirs, &wire).unwrap();
    assert_eq!(heard(theirs), [round; 100]);
    let mut got = BytesMut::new();
    let wire = plaintext(theirs, &[!round; 50]);
    ours.receive(&wire, &mut got).unwrap();
    assert_eq!(got, [!round; 50][..]);
}

#[test]
fn either_end_takes_new_keys_whichever_has_dialled() {
    // Every fourth record of ours is a KeyUpdate, and so is every answer.
    let limits = Limits {
        key_records: 4,
        ..Limits::default()
    };
    let endpoint = Endpoint::new(key(OURS), limits).unwrap();
    let dialling = (endpoint.client(None).unwrap(), Peer::default().server());
    let listening = (endpoint.server().unwrap(), Peer::default().client());
    for (mut ours, mut theirs) in [dialling, listening] {
        converse(&mut ours, &mut theirs).unwrap();
        for round in 0..20 {
            talk(&mut ours, &mut theirs, round);
            if round % 3 == 0 {
                theirs.refresh_traffic_keys().unwrap();
            }
        }
    }
}

#[test]
fn no_key_seals_more_records_than_it_may() {
    let limits = Limits {
        key_records: 4,
        ..Limits::default()
    };
    let endpoint = Endpoint::new(key(OURS), limits).unwrap();
    let data: Vec<u8> = (0..=u8::MAX).cycle().take(10 * CONTENT_MAX).collect();
    // The fourth of the records is a KeyUpdate, and two of data follow.
    let mut listener = endpoint.server().unwrap();
    let mut client = Peer::default().client();
    converse(&mut listener, &mut client).unwrap();
    let wire = sealed(&mut listener, &data[..5 * CONTENT_MAX]);
    assert_eq!(wire.len(), 5 * (CONTENT_MAX + 22) + 27);
    // The library and our own side read over many of them.
    let mut got = Vec::new();
    for part in wire.chunks(4000) {
        read(&mut client, part).unwrap();
        // The library says that there is no more for now.
        let more = client.reader().read_to_end(&mut got).unwrap_err();
        assert_eq!(more.kind(), ErrorKind::WouldBlock);
    }
    assert!(got == data[..5 * CONTENT_MAX]);

    let mut dialer = endpoint.client(None).unwrap();
    let mut listener = Endpoint::new(key(THEIRS), limits)
        .unwrap()
        .server()
        .unwrap();
    while listener.peer().is_none() {
        pass(&mut dialer, &mut listener).unwrap();
        pass(&mut listener, &mut dialer).unwrap();
    }
    let mut got = BytesMut::new();
    for round in 0..10 {
        let wire = sealed(&mut dialer, &data);
        listener.receive(&wire, &mut got).unwrap();
        assert_eq!(got.len(), (round + 1) * data.len());
    }
    assert!(got.chunks(data.len()).all(|part| part == data));
}

#[test]
fn a_record_that_is_missing_or_comes_twice_or_too_early_is_refused() {
    let records = || {
        let (mut dialer, listener) = open_pair();
        let wires = [&b"one"[..], b"two", b"six"].map(|data| sealed(&mut dialer, data));
        (listener, wires)
    };
    for order in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 0], &[2, 1, 0]] {
        let (mut listener, wires) = records();
        let mut got = BytesMut::new();
        let stream: Vec<u8> = order.iter().flat_map(|at| wires[*at].to_vec()).collect();
        assert_eq!(
            listener.receive(&stream, &mut got),
            Err(ChannelError::Damaged),
            "{order:?}"
        );
        let good = order.iter().enumerate().take_while(|(n, at)| n == *at);
        assert_eq!(got.len(), 3 * good.count());
    }
    // Nor does one of another channel, or thrown back.
    let (mut listener, [mut one, ..]) = records();
    let (mut other, _) = records();
    let mut got = BytesMut::new();
    assert!(other.receive(&one, &mut got).is_err());
    let (mut dialer, _) = open_pair();
    let own = sealed(&mut dialer, b"own");
    assert!(dialer.receive(&own, &mut got).is_err());
    // Without its last byte it is waited for; then it is there.
    let last = one.split_off(one.len() - 1);
    listener.receive(&one, &mut got).unwrap();
    assert!(got.is_empty());
    listener.receive(&last, &mut got).unwrap();
    assert_eq!(got, b"one"[..]);
}

#[test]
fn a_header_that_promises_too_much_or_too_little_is_refused_at_once() {
    for len in [0, 1, 16, WIRE_MAX - 4, 0x7fff, 0xffff] {
        let (_, mut listener) = open_pair();
        let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
        let mut got = BytesMut::new();
        listener.receive(&[23, 3, 3, high], &mut got).unwrap();
        assert_eq!(
            listener.receive(&[low], &mut got),
            Err(ChannelError::Damaged),
            "{len}"
        );
    }
    for kind in (0..=u8::MAX).filter(|kind| *kind != DATA) {
        let (_, mut listener) = open_pair();
        let refused = listener.receive(&[kind, 3, 3, 0, 20], &mut BytesMut::new());
        assert_eq!(refused, Err(ChannelError::Malformed), "{kind}");
    }
}

#[test]
fn nothing_that_is_not_the_peers_comes_out_of_a_channel_that_stands() {
    fn property(bytes: Vec<u8>, header: bool, cut: usize) -> bool {
        let (mut dialer, mut listener) = open_pair();
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let mut wire = match header {
            true => [&[23, 3, 3][..], &len].concat(),
            false => Vec::new(),
        };
        wire.extend_from_slice(&bytes);
        wire.extend_from_slice(&sealed(&mut dialer, &[7; 20_000]));
        let (one, two) = wire.split_at(cut % wire.len());
        let mut got = BytesMut::new();
        let taken = listener
            .receive(one, &mut got)
            .and_then(|()| listener.receive(two, &mut got));
        match bytes.is_empty() && !header {
            true => got.len() == 20_000,
            false => taken.is_err() && got.is_empty() && flushed(&mut listener).len() <= 24,
        }
    }
    quickcheck(property as fn(Vec<u8>, bool, usize) -> bool);
}

#[test]
fn a_side_that_has_ended_sends_no_more() {
    let (mut dialer, mut listener) = open_pair();
    dialer.close();
    let mut out = BytesMut::new();
    let piece = IoSlice::new(b"late");
    assert_eq!(
        dialer.send(&mut [piece], &mut out),
        Err(ChannelError::Internal)
    );
    // What it had to say it has said.
    dialer.flush(&mut out);
    let mut got = BytesMut::new();
    listener.receive(&out, &mut got).unwrap();
    assert_eq!((got.len(), listener.end()), (0, Ok(())));
}
