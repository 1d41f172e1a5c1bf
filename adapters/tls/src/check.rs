//! What fuzzing runs, like `peerhold_core::check`.
//!
//! It is no API: it is public for the fuzz target, which is a shim over it, and
//! for tests that run it over the committed corpus.

use std::io::IoSlice;
use std::sync::OnceLock;

use bytes::BytesMut;
use ed25519_dalek::SigningKey;
use peerhold_core::NodeId;

use crate::{Channel, ChannelError, Endpoint, Limits};

/// Channels: against a peer that says anything, and with somebody in between
/// who changes anything.
///
/// `data` is one byte of choices. Bit 0 is our end. With bit 1 what follows is
/// what the peer says: one byte that says how many bytes of piece lengths
/// follow, these, and the bytes; received whole and in pieces it must come to
/// the same, which is nothing. Without it both ends are nodes, and what follows
/// is done to what they send each other, see `Edit`: each end must read what
/// the other has sent, up to where it fails.
///
/// # Panics
/// If any of this does not hold.
pub fn channel(data: &[u8]) {
    let Some((choices, rest)) = data.split_first() else {
        return;
    };
    match choices & 2 {
        0 => in_between(rest),
        _ => any_peer(choices & 1 != 0, rest),
    }
}

fn any_peer(dialer: bool, data: &[u8]) {
    let Some((cuts, rest)) = data.split_first() else {
        return;
    };
    let (cuts, said) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let whole = heard(dialer, &[said]);
    let (mut pieces, mut left) = (Vec::new(), said);
    for cut in cuts {
        let (piece, rest) = left.split_at(left.len().min(usize::from(*cut)));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    assert_eq!(heard(dialer, &pieces), whole, "cutting changed the outcome");
}

/// How a channel ends that hears this from somebody without a key.
fn heard(dialer: bool, pieces: &[&[u8]]) -> Result<(), ChannelError> {
    let [us, _] = ends();
    let mut channel = if dialer { us.0 } else { us.1 };
    let mut plaintext = BytesMut::new();
    let mut result = Ok(());
    for piece in pieces {
        let now = channel.receive(piece, &mut plaintext);
        assert!(result.is_ok() || now == result, "another error");
        result = now;
        channel.flush(&mut BytesMut::new());
    }
    assert!(
        channel.peer().is_none() && plaintext.is_empty(),
        "opened to somebody without a key"
    );
    result.and_then(|()| channel.end())
}

/// Done to what one end sends: 4 bytes of which end's, what and where, and a
/// byte, or bytes behind their length, that it is done with.
struct Edit<'a> {
    dialer: bool,
    what: u8,
    at: usize,
    bytes: &'a [u8],
}

fn edits(mut data: &[u8]) -> Vec<Edit<'_>> {
    let mut edits = Vec::new();
    while let Some(([which, high, low, len], rest)) = data.split_first_chunk() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        data = rest;
        edits.push(Edit {
            dialer: which & 1 != 0,
            what: which >> 1,
            at: usize::from(u16::from_be_bytes([*high, *low])),
            bytes,
        });
    }
    edits
}

impl Edit<'_> {
    /// Applies it where it lies in a stream whose first `before` bytes have
    /// gone by.
    fn apply(&self, before: usize, sent: &mut Vec<u8>) -> bool {
        let Some(at) = self.at.checked_sub(before).filter(|at| *at < sent.len()) else {
            return false;
        };
        match self.what % 4 {
            0 => {
                let to = sent.iter_mut().skip(at).zip(self.bytes);
                to.for_each(|(to, change)| *to ^= change);
            }
            1 => drop(sent.splice(at..at, self.bytes.iter().copied())),
            2 => drop(sent.drain(at..(at + self.bytes.len()).min(sent.len()))),
            // Said twice.
            _ => {
                let end = (at + self.bytes.len()).min(sent.len());
                let again = sent[at..end].to_vec();
                drop(sent.splice(end..end, again));
            }
        }
        true
    }
}

/// One direction of a pair.
struct Way {
    channel: Channel,
    /// Plaintext that it has sent, and received.
    sent: Vec<u8>,
    received: BytesMut,
    failed: Option<ChannelError>,
    /// Bytes that it has put on the wire.
    wire: usize,
}

impl Way {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            sent: Vec::new(),
            received: BytesMut::new(),
            failed: None,
            wire: 0,
        }
    }

    /// What it has to say now, and something of its own if it can.
    fn says(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.channel.flush(&mut out);
        if self.channel.peer().is_some() && self.failed.is_none() {
            let said = self.channel.send(&mut [IoSlice::new(text)], &mut out);
            assert_eq!(said, Ok(()));
            self.sent.extend_from_slice(text);
        }
        out.to_vec()
    }

    fn hears(&mut self, said: &[u8]) {
        let result = self.channel.receive(said, &mut self.received);
        if let Some(failed) = self.failed {
            assert_eq!(result, Err(failed));
        }
        self.failed = result.err();
    }
}

fn in_between(data: &[u8]) {
    let edits = edits(data);
    let [(dialer, _), (_, listener)] = ends();
    let mut ends = [Way::new(dialer), Way::new(listener)];
    let mut edited = false;
    for round in 0..8_u8 {
        let from = usize::from(round % 2);
        let mut said = ends[from].says(&[round; 20]);
        let len = said.len();
        for edit in edits.iter().filter(|edit| edit.dialer == (from == 0)) {
            edited |= edit.apply(ends[from].wire, &mut said);
        }
        ends[from].wire += len;
        ends[1 - from].hears(&said);
    }
    let ids = ids();
    for (at, end) in ends.iter().enumerate() {
        let other = &ends[1 - at];
        assert!(other.sent.starts_with(&end.received), "not what was sent");
        let peer = end.channel.peer();
        assert!(peer.is_none_or(|peer| peer == ids[1 - at]));
        assert!(edited || (peer.is_some() && end.failed.is_none() && !end.received.is_empty()));
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn ids() -> [NodeId; 2] {
    [1, 2].map(|seed| NodeId(key(seed).verifying_key().to_bytes()))
}

/// Of each of two nodes a channel that dials the other, and one that listens.
fn ends() -> [(Channel, Channel); 2] {
    static ENDS: OnceLock<[Endpoint; 2]> = OnceLock::new();
    let endpoint = |seed| Endpoint::new(key(seed), Limits::default()).expect("a key");
    let [one, two] = ENDS.get_or_init(|| [1, 2].map(endpoint));
    let ids = ids();
    [(one, ids[1]), (two, ids[0])].map(|(endpoint, other)| {
        let dialer = endpoint.client(Some(other)).expect("a channel");
        (dialer, endpoint.server().expect("a channel"))
    })
}
