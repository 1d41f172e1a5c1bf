//! However a stream is cut, and wherever it is cut off.

use std::io::IoSlice;

use bytes::BytesMut;
use peerhold_tls::{Channel, ChannelError};
use quickcheck::quickcheck;

use crate::support::*;

/// Gives `data` in pieces of the lengths in `cuts`, again and again.
fn give(to: &mut Channel, mut data: &[u8], cuts: &[u8], plaintext: &mut BytesMut) {
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut) + 1).cycle();
    while !data.is_empty() {
        let (part, rest) = data.split_at(cuts.next().unwrap_or(1).min(data.len()));
        let room = plaintext.len() + part.len() + to.pending();
        to.receive(part, plaintext).unwrap();
        assert!(plaintext.len() <= room);
        data = rest;
    }
}

fn whole_session(cuts: &[u8], sent: &[Vec<u8>]) {
    let (mut dialer, mut listener) = pair();
    let mut got = BytesMut::new();
    while listener.peer().is_none() {
        give(&mut listener, &flushed(&mut dialer), cuts, &mut got);
        give(&mut dialer, &flushed(&mut listener), cuts, &mut got);
    }
    assert_eq!(
        (dialer.peer(), listener.peer()),
        (Some(id(THEIRS)), Some(id(OURS)))
    );
    assert!(got.is_empty());
    for both in [true, false] {
        let (from, to) = match both {
            true => (&mut dialer, &mut listener),
            false => (&mut listener, &mut dialer),
        };
        let mut wire = BytesMut::new();
        let mut pieces: Vec<IoSlice<'_>> = sent.iter().map(|piece| IoSlice::new(piece)).collect();
        from.send(&mut pieces, &mut wire).unwrap();
        from.close();
        from.flush(&mut wire);
        let mut got = BytesMut::new();
        give(to, &wire, cuts, &mut got);
        assert!(got == sent.concat());
        assert_eq!(to.end(), Ok(()));
    }
}

#[test]
fn a_session_is_the_same_byte_by_byte() {
    whole_session(&[0], &[b"one".to_vec(), Vec::new(), vec![7; 20_000]]);
}

#[test]
fn a_session_is_the_same_under_every_cutting() {
    fn property(cuts: Vec<u8>, mut sent: Vec<Vec<u8>>) -> bool {
        sent.push(vec![9; 40_000]);
        whole_session(&cuts, &sent);
        true
    }
    quickcheck(property as fn(Vec<u8>, Vec<Vec<u8>>) -> bool);
}

#[test]
fn full_records_are_sent_and_small_pieces_share_one() {
    let (mut dialer, _) = open_pair();
    let data = vec![1; 64 << 10];
    let mut wire = BytesMut::new();
    let mut pieces = [IoSlice::new(b"header"), IoSlice::new(&data)];
    dialer.send(&mut pieces, &mut wire).unwrap();
    // Four of 16 KiB and one of 6 bytes.
    assert_eq!(wire.len(), data.len() + 6 + 5 * 22);
}

#[test]
fn a_peer_that_says_it_ends_has_not_been_cut_off_and_its_peer_may_go_on() {
    let (mut dialer, mut listener) = open_pair();
    dialer.close();
    dialer.close();
    let end = flushed(&mut dialer);
    let mut plaintext = BytesMut::new();
    listener.receive(&end, &mut plaintext).unwrap();
    assert_eq!(listener.end(), Ok(()));
    assert_eq!(dialer.end(), Err(ChannelError::Truncated));
    // What comes after the end is nobody's.
    listener.receive(b"anything", &mut plaintext).unwrap();
    assert!(plaintext.is_empty());
    // The other direction is open still.
    let wire = sealed(&mut listener, b"the rest");
    dialer.receive(&wire, &mut plaintext).unwrap();
    assert_eq!(plaintext, b"the rest"[..]);
    listener.close();
    pass(&mut listener, &mut dialer).unwrap();
    assert_eq!(dialer.end(), Ok(()));
}

/// A session whose dialler's stream is cut off after `keep` bytes: whether
/// that was all of it, and what the listener got and says.
fn cut_dialler(keep: usize) -> (bool, BytesMut, Result<(), ChannelError>) {
    let (mut dialer, mut listener) = pair();
    let mut left = keep;
    let mut got = BytesMut::new();
    let mut give = |listener: &mut Channel, wire: &[u8], got: &mut BytesMut| {
        let part = &wire[..wire.len().min(left)];
        left -= part.len();
        listener.receive(part, got).unwrap();
        part.len() == wire.len()
    };
    while listener.peer().is_none() {
        if !give(&mut listener, &flushed(&mut dialer), &mut got) {
            return (false, got, listener.end());
        }
        pass(&mut listener, &mut dialer).unwrap();
    }
    let mut wire = sealed(&mut dialer, b"two ");
    wire.extend_from_slice(&sealed(&mut dialer, b"records"));
    dialer.close();
    dialer.flush(&mut wire);
    let whole = give(&mut listener, &wire, &mut got);
    (whole, got, listener.end())
}

/// The same with the listener's stream.
fn cut_listener(keep: usize) -> (bool, BytesMut, Result<(), ChannelError>) {
    let (mut dialer, mut listener) = pair();
    pass(&mut dialer, &mut listener).unwrap();
    let hello = flushed(&mut listener);
    let mut got = BytesMut::new();
    let part = &hello[..hello.len().min(keep)];
    dialer.receive(part, &mut got).unwrap();
    if part.len() < hello.len() {
        return (false, got, dialer.end());
    }
    pass(&mut dialer, &mut listener).unwrap();
    let mut wire = sealed(&mut listener, b"two ");
    wire.extend_from_slice(&sealed(&mut listener, b"records"));
    listener.close();
    listener.flush(&mut wire);
    let part = &wire[..wire.len().min(keep - hello.len())];
    dialer.receive(part, &mut got).unwrap();
    (part.len() == wire.len(), got, dialer.end())
}

#[test]
fn a_stream_cut_off_anywhere_is_noticed() {
    for cut in [cut_dialler, cut_listener] {
        let mut kept = 0;
        loop {
            let (whole, got, end) = cut(kept);
            if whole {
                assert_eq!((&got[..], end), (&b"two records"[..], Ok(())));
                break;
            }
            assert_eq!(end, Err(ChannelError::Truncated), "after {kept} bytes");
            assert!([&b""[..], b"two ", b"two records"].contains(&&got[..]));
            kept += 1;
        }
        assert!(kept > 1000, "a handshake is longer than {kept} bytes");
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_record_breaks_the_channel_for_good() {
    for at in 0..60 {
        let (mut dialer, mut listener) = open_pair();
        let mut wire = sealed(&mut dialer, &[3; 38]);
        assert_eq!(wire.len(), 60);
        wire[at] ^= 0x40;
        wire.extend_from_slice(&sealed(&mut dialer, &[4; 1 << 14]));
        let mut got = BytesMut::new();
        let error = listener.receive(&wire, &mut got).unwrap_err();
        assert!(
            matches!(error, ChannelError::Damaged | ChannelError::Malformed),
            "byte {at}: {error}"
        );
        assert!(got.is_empty());
        assert_eq!(listener.receive(b"", &mut got), Err(error));
        assert_eq!(listener.end(), Err(error));
    }
}
