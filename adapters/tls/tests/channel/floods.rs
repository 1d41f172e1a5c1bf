//! Peers that send much and say nothing, or that never read.

use bytes::BytesMut;
use peerhold_tls::{ChannelError, Endpoint, Limits};

use crate::bent::{Bent, bending};
use crate::support::*;

/// The header of a handshake record of `len` bytes, unencrypted.
fn header(len: u16) -> Vec<u8> {
    [&[22, 3, 1][..], &len.to_be_bytes()].concat()
}

#[test]
fn a_handshake_that_never_ends_is_cut_at_its_limit() {
    let opening = 10_000;
    let limits = Limits {
        opening,
        ..Limits::default()
    };
    let mut listener = Endpoint::new(key(OURS), limits).unwrap().server().unwrap();
    // A hello of 60,000 bytes, in records of 1,000.
    let mut stream = vec![1, 0, 0xea, 0x60];
    stream.resize(60_000, 0);
    let mut taken = 0;
    let mut plaintext = BytesMut::new();
    let error = stream.chunks(1000).find_map(|part| {
        let record = [header(1000), part.to_vec()].concat();
        let given = listener.receive(&record, &mut plaintext);
        taken += record.len();
        given.err()
    });
    assert_eq!(error, Some(ChannelError::TooMuch));
    assert!((opening..opening + 1005).contains(&taken), "{taken}");
    assert!(flushed(&mut listener).is_empty());
}

#[test]
fn a_handshake_message_that_says_it_is_endless_is_refused() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut record = header(1000);
    record.extend_from_slice(&[1, 0xff, 0xff, 0xff]);
    record.resize(1005, 0);
    let mut plaintext = BytesMut::new();
    let error = (0..100).find_map(|_| listener.receive(&record, &mut plaintext).err());
    assert!(
        matches!(error, Some(ChannelError::NotTls | ChannelError::TooMuch)),
        "{error:?}"
    );
}

#[test]
fn records_that_mean_nothing_do_not_hold_a_handshake_open() {
    let (mut dialer, mut listener) = pair();
    pass(&mut dialer, &mut listener).unwrap();
    // "Change cipher spec", kept in TLS 1.3 for old machines in between.
    let mut plaintext = BytesMut::new();
    let mut give = |_: &_| {
        listener
            .receive(&[20, 3, 3, 0, 1, 1], &mut plaintext)
            .is_err()
    };
    let refused = (0..100).position(|n| give(&n));
    assert!(refused.is_some_and(|n| n < 5), "{refused:?}");
}

#[test]
fn new_keys_without_end_are_refused() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = Peer::default().client();
    converse(&mut listener, &mut client).unwrap();
    let mut plaintext = BytesMut::new();
    let mut error = None;
    let mut updates = 0;
    while error.is_none() && updates < 1000 {
        client.refresh_traffic_keys().unwrap();
        let update = written(&mut client);
        error = listener.receive(&update, &mut plaintext).err();
        updates += 1;
    }
    assert_eq!(error, Some(ChannelError::TooMuch));
    assert!(updates < 50, "{updates}");
    assert!(flushed(&mut listener).is_empty());
}

#[test]
fn new_keys_now_and_then_are_as_it_should_be() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = Peer::default().client();
    converse(&mut listener, &mut client).unwrap();
    let mut got = BytesMut::new();
    for _ in 0..100 {
        client.refresh_traffic_keys().unwrap();
        let wire = [written(&mut client), plaintext(&mut client, b"x")].concat();
        listener.receive(&wire, &mut got).unwrap();
        let answer = sealed(&mut listener, b"y");
        read(&mut client, &answer).unwrap();
    }
    assert_eq!(got, [b'x'; 100][..]);
}

#[test]
fn requests_for_new_keys_heap_up_nothing_for_a_peer_that_never_reads() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = Peer::default().client();
    converse(&mut listener, &mut client).unwrap();
    let mut got = BytesMut::new();
    for _ in 0..1000 {
        client.refresh_traffic_keys().unwrap();
        let wire = [written(&mut client), plaintext(&mut client, b"x")].concat();
        listener.receive(&wire, &mut got).unwrap();
        assert!(flushed(&mut listener).is_empty());
    }
    // All of them are answered by one.
    let wire = sealed(&mut listener, b"data");
    assert_eq!(wire.len(), (5 + 22) + (4 + 22));
    read(&mut client, &wire).unwrap();
}

#[test]
fn a_ticket_is_refused() {
    let mut dialer = endpoint(OURS).client(None).unwrap();
    let mut server = Peer {
        tickets: 1,
        ..Peer::default()
    }
    .server();
    assert_eq!(
        converse(&mut dialer, &mut server),
        Err(ChannelError::Malformed)
    );
}

#[test]
fn empty_records_without_end_are_refused() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = bending().client();
    converse(&mut listener, &mut client).unwrap();
    let mut got = BytesMut::new();
    let empty = Bent::data(b"");
    let wire = plaintext(&mut client, &empty);
    assert_eq!(wire.len(), 22);
    listener.receive(&wire, &mut got).unwrap();
    let refused = (0..4000).position(|_| {
        let empty = plaintext(&mut client, &empty);
        listener.receive(&empty, &mut got).is_err()
    });
    // 64 KiB of records of 22 bytes.
    assert!(refused.is_some_and(|n| n < 3000), "{refused:?}");
    assert!(got.is_empty());
}

#[test]
fn what_waits_for_a_peer_that_never_reads_is_what_was_handed_out() {
    // The channel keeps nothing of it: all is in the buffer that the caller
    // measures.
    let (mut dialer, _) = open_pair();
    for _ in 0..10 {
        let wire = sealed(&mut dialer, &[5; 100_000]);
        assert!(wire.len() > 100_000);
        assert!(flushed(&mut dialer).is_empty());
    }
}
