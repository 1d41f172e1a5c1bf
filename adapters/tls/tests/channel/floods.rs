//! Peers that send much and say nothing, or that never read.

use std::sync::OnceLock;

use bytes::BytesMut;
use peerhold_tls::{ChannelError, Endpoint, Limits};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundOpaqueMessage,
    OutboundPlainMessage, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls13CipherSuite};

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
fn new_keys_without_end_are_refused_and_answered_once() {
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
    assert_eq!(error, Some(ChannelError::Malformed));
    assert!(updates < 50, "{updates}");
    // One answer waits, and the alert.
    let waiting = flushed(&mut listener).len();
    assert!(waiting < 100, "{waiting}");
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
fn tickets_without_end_are_refused() {
    let mut dialer = endpoint(OURS).client(None).unwrap();
    let mut server = Peer {
        tickets: 2000,
        ..Peer::default()
    }
    .server();
    assert_eq!(
        converse(&mut dialer, &mut server),
        Err(ChannelError::TooMuch)
    );
}

#[test]
fn a_few_tickets_are_ignored() {
    let mut dialer = endpoint(OURS).client(None).unwrap();
    let mut server = Peer {
        tickets: 2,
        ..Peer::default()
    }
    .server();
    assert_eq!(converse(&mut dialer, &mut server), Ok(()));
}

#[test]
fn empty_records_without_end_are_refused() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut client = emptying().client();
    converse(&mut listener, &mut client).unwrap();
    let mut got = BytesMut::new();
    let empty = plaintext(&mut client, EMPTY);
    assert_eq!(empty.len(), 22);
    listener.receive(&empty, &mut got).unwrap();
    let refused = (0..1000).position(|_| {
        let empty = plaintext(&mut client, EMPTY);
        listener.receive(&empty, &mut got).is_err()
    });
    assert!(refused.is_some_and(|n| n < 100), "{refused:?}");
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

/// What is turned into a record without content.
const EMPTY: &[u8] = b"this becomes an empty record";

/// A peer whose cipher empties such records before it seals them.
fn emptying() -> Peer {
    static SUITE: OnceLock<Tls13CipherSuite> = OnceLock::new();
    static EMPTYING: Emptying = Emptying;
    let SupportedCipherSuite::Tls13(real) = cipher_suite::TLS13_AES_256_GCM_SHA384 else {
        unreachable!("a suite of TLS 1.3")
    };
    let suite = SUITE.get_or_init(|| Tls13CipherSuite {
        common: rustls::crypto::CipherSuiteCommon {
            suite: real.common.suite,
            hash_provider: real.common.hash_provider,
            confidentiality_limit: real.common.confidentiality_limit,
        },
        hkdf_provider: real.hkdf_provider,
        aead_alg: &EMPTYING,
        quic: None,
    });
    let mut peer = Peer::default();
    peer.provider.cipher_suites = vec![SupportedCipherSuite::Tls13(suite)];
    peer
}

struct Emptying;

impl Emptying {
    fn real() -> &'static dyn Tls13AeadAlgorithm {
        match cipher_suite::TLS13_AES_256_GCM_SHA384 {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg,
            SupportedCipherSuite::Tls12(_) => unreachable!("a suite of TLS 1.3"),
        }
    }
}

impl Tls13AeadAlgorithm for Emptying {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Emptier(Self::real().encrypter(key, iv)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Self::real().decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        Self::real().key_len()
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct Emptier(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Emptier {
    fn encrypt(
        &mut self,
        mut msg: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if msg.payload.to_vec() == EMPTY {
            msg.payload = OutboundChunks::Single(&[]);
        }
        self.0.encrypt(msg, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.0.encrypted_payload_len(payload_len)
    }
}
