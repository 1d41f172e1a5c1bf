//! Who gets in, and who does not: each is told apart.

use bytes::BytesMut;
use peerhold_tls::{Alert, Channel, ChannelError};
use quickcheck::quickcheck;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::{Connection, ProtocolVersion, SignatureScheme};

use crate::support::*;

/// What our listener says to such a dialler, and our dialler to such a
/// listener.
fn both(peer: impl Fn() -> Peer) -> [Result<(), ChannelError>; 2] {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut dialer = endpoint(OURS).client(None).unwrap();
    let said = [
        converse(&mut listener, &mut peer().client()),
        converse(&mut dialer, &mut peer().server()),
    ];
    for (said, channel) in said.iter().zip([&listener, &dialer]) {
        assert_eq!(channel.peer().is_some(), said.is_ok());
    }
    said
}

fn showing(change: impl Fn(&mut Shown)) -> [Result<(), ChannelError>; 2] {
    both(|| {
        let mut peer = Peer::default();
        change(&mut peer.shown);
        peer
    })
}

fn alert(number: u8) -> Result<(), ChannelError> {
    Err(ChannelError::Alert(Alert(number)))
}

#[test]
fn a_peer_with_everything_right_gets_in_by_the_one_set_of_algorithms() {
    assert_eq!(both(Peer::default), [Ok(()), Ok(())]);
    // One that offers all that the library has comes to the same.
    let generous = || Peer {
        provider: default_provider(),
        versions: ANY,
        ..Peer::default()
    };
    let check = |conn: &Connection| {
        assert_eq!(conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let suite = conn.negotiated_cipher_suite().unwrap();
        assert_eq!(suite, cipher_suite::TLS13_AES_256_GCM_SHA384);
        let group = conn.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), kx_group::X25519MLKEM768.name());
    };
    let (mut dialer, mut server) = (endpoint(OURS).client(None).unwrap(), generous().server());
    assert_eq!(converse(&mut dialer, &mut server), Ok(()));
    check(&server);
    let (mut listener, mut client) = (endpoint(OURS).server().unwrap(), generous().client());
    assert_eq!(converse(&mut listener, &mut client), Ok(()));
    check(&client);
}

#[test]
fn somebody_else_than_the_one_dialled_learns_nothing_of_the_dialler() {
    let mut dialer = endpoint(OURS).client(Some(id(3))).unwrap();
    let mut listener = endpoint(THEIRS).server().unwrap();
    pass(&mut dialer, &mut listener).unwrap();
    let (expected, found) = (id(3), id(THEIRS));
    assert_eq!(
        pass(&mut listener, &mut dialer),
        Err(ChannelError::WrongPeer { expected, found })
    );
    // An alert, and no key.
    let told = flushed(&mut dialer);
    assert!(told.len() < 40, "{}", told.len());
    let refused = listener.receive(&told, &mut BytesMut::new());
    assert!(
        matches!(refused, Err(ChannelError::Alert(_))),
        "{refused:?}"
    );
    assert_eq!(listener.peer(), None);
}

#[test]
fn a_node_does_not_talk_to_itself() {
    let mut dialer = endpoint(OURS).client(None).unwrap();
    let mut listener = endpoint(OURS).server().unwrap();
    pass(&mut dialer, &mut listener).unwrap();
    assert_eq!(pass(&mut listener, &mut dialer), Err(ChannelError::Myself));
    let ours = |shown: &mut Shown| (shown.cert, shown.signs) = (Some(spki(OURS)), OURS);
    assert_eq!(showing(ours), [Err(ChannelError::Myself); 2]);
}

#[test]
fn the_old_tls_is_not_spoken_although_the_library_has_it() {
    let said = both(|| Peer {
        versions: OLD,
        provider: default_provider(),
        ..Peer::default()
    });
    // The listener refuses by itself; the dialler's hello is refused.
    assert_eq!(said, [Err(ChannelError::Version), alert(70)]);
    // The extension of the versions that a dialler speaks: there is one.
    let hello = flushed(&mut endpoint(OURS).client(None).unwrap());
    let versions = [0, 43, 0, 3, 2, 3, 4];
    assert!(hello.windows(7).any(|part| part == versions));
}

#[test]
fn no_other_algorithm_is_agreed_on() {
    let classic = || {
        let mut peer = Peer::default();
        peer.provider.kx_groups = vec![kx_group::X25519, kx_group::MLKEM768];
        peer
    };
    assert_eq!(both(classic), [Err(ChannelError::Algorithms), alert(40)]);
    let other = || {
        let mut peer = Peer::default();
        peer.provider.cipher_suites = vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        peer
    };
    assert_eq!(both(other), [Err(ChannelError::Algorithms), alert(40)]);
}

#[test]
fn the_protocol_has_to_be_named() {
    for alpn in [vec![], vec![b"peerhold/2".to_vec(), b"h2".to_vec()]] {
        let missing = alpn.is_empty();
        let said = both(|| Peer {
            alpn: alpn.clone(),
            ..Peer::default()
        });
        let dialer = match missing {
            true => Err(ChannelError::Protocol),
            false => alert(120),
        };
        assert_eq!(said, [Err(ChannelError::Protocol), dialer]);
    }
}

#[test]
fn a_peer_that_shows_no_key_is_refused() {
    let mut listener = endpoint(OURS).server().unwrap();
    let mut peer = Peer::default();
    peer.shown.cert = None;
    assert_eq!(
        converse(&mut listener, &mut peer.client()),
        Err(ChannelError::NoKey)
    );
    // One that does not even know of raw keys.
    let mut listener = endpoint(OURS).server().unwrap();
    let mut peer = Peer::default();
    (peer.shown.cert, peer.shown.raw) = (None, false);
    assert_eq!(
        converse(&mut listener, &mut peer.client()),
        Err(ChannelError::Key)
    );
}

#[test]
fn a_certificate_is_no_key() {
    // It is not asked for, nor offered.
    let x509 = |shown: &mut Shown| (shown.cert, shown.raw) = (Some(vec![0x30; 300]), false);
    let [listener, dialer] = showing(x509);
    assert_eq!(listener, Err(ChannelError::Key));
    assert!(dialer.is_err());
    // It is called a raw key.
    let called = |shown: &mut Shown| shown.cert = Some(vec![0x30; 300]);
    assert_eq!(showing(called), [Err(ChannelError::Key); 2]);
}

#[test]
fn only_exactly_an_ed25519_key_is_a_key() {
    let good = spki(THEIRS);
    let mut longer = good.clone();
    longer.push(0);
    let mut other = good.clone();
    // X25519 instead of Ed25519.
    other[8] = 0x6e;
    // NIST P-256 and its base point.
    let p256 = hex(
        "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277\
         037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837\
         bf51f5",
    );
    for bad in [
        good[..43].to_vec(),
        longer,
        other,
        p256,
        good[12..].to_vec(),
    ] {
        let show = |shown: &mut Shown| shown.cert = Some(bad.clone());
        assert_eq!(showing(show), [Err(ChannelError::Key); 2]);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}

#[test]
fn a_key_has_to_be_proven() {
    let stolen = |shown: &mut Shown| shown.signs = 3;
    assert_eq!(showing(stolen), [Err(ChannelError::Signature); 2]);
    let scheme = |shown: &mut Shown| shown.scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    assert_eq!(showing(scheme), [Err(ChannelError::Signature); 2]);
    // Anybody can sign anything for the neutral element: with the base point
    // and 1.
    let mut neutral = spki(THEIRS)[..12].to_vec();
    neutral.extend_from_slice(&[1]);
    neutral.extend_from_slice(&[0; 31]);
    let mut forged = [0x66; 64];
    (forged[0], forged[32]) = (0x58, 1);
    forged[33..].fill(0);
    let weak = |shown: &mut Shown| {
        (shown.cert, shown.forged) = (Some(neutral.clone()), Some(forged.to_vec()));
    };
    assert_eq!(showing(weak), [Err(ChannelError::Signature); 2]);
}

#[test]
fn whoever_does_not_speak_tls_is_refused_at_once() {
    for text in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PEERHOL1\0\0\0",
    ] {
        let mut listener = endpoint(OURS).server().unwrap();
        assert_eq!(
            listener.receive(text, &mut BytesMut::new()),
            Err(ChannelError::NotTls)
        );
        let mut dialer = endpoint(OURS).client(None).unwrap();
        assert_eq!(
            dialer.receive(text, &mut BytesMut::new()),
            Err(ChannelError::NotTls)
        );
    }
}

#[test]
fn random_bytes_open_nothing_at_any_time() {
    fn property(before: u8, bytes: Vec<u8>, header: bool) -> bool {
        let (mut dialer, mut listener) = pair();
        let mut noise = match header {
            // So that they get past the first look.
            true => vec![20 + before % 4, 3, 3, 0, bytes.len() as u8],
            false => Vec::new(),
        };
        noise.extend_from_slice(&bytes);
        let mut plaintext = BytesMut::new();
        if before & 0x80 != 0 {
            let hello = flushed(&mut dialer);
            listener.receive(&hello, &mut plaintext).unwrap();
        }
        for channel in [&mut dialer, &mut listener] {
            let _ = channel.receive(&noise, &mut plaintext);
            assert!(flushed(channel).len() < 4096);
            assert_eq!(channel.peer(), None);
        }
        plaintext.is_empty()
    }
    quickcheck(property as fn(u8, Vec<u8>, bool) -> bool);
}

#[test]
fn a_recorded_handshake_played_again_opens_nothing() {
    let (mut dialer, mut listener) = pair();
    let mut plaintext = BytesMut::new();
    let hello = flushed(&mut dialer);
    listener.receive(&hello, &mut plaintext).unwrap();
    let answer = flushed(&mut listener);
    dialer.receive(&answer, &mut plaintext).unwrap();
    let mut proof = flushed(&mut dialer);
    proof.extend_from_slice(&sealed(&mut dialer, b"put"));
    listener.receive(&proof, &mut plaintext).unwrap();
    assert_eq!(plaintext, b"put"[..]);

    let mut again = endpoint(THEIRS).server().unwrap();
    plaintext.clear();
    again.receive(&hello, &mut plaintext).unwrap();
    assert_ne!(flushed(&mut again), answer);
    assert_eq!(
        again.receive(&proof, &mut plaintext),
        Err(ChannelError::Damaged)
    );
    let mut again = endpoint(OURS).client(Some(id(THEIRS))).unwrap();
    assert_ne!(flushed(&mut again), hello);
    assert!(again.receive(&answer, &mut plaintext).is_err());
    assert!(plaintext.is_empty() && again.peer().is_none());
}

#[test]
fn a_node_that_is_thrown_back_what_it_has_said_opens_nothing() {
    let own = endpoint(OURS);
    let mut plaintext = BytesMut::new();
    let thrown = |channel: &mut Channel, said: &[u8], piece: usize| {
        let mut pieces = said.chunks(piece.min(said.len()));
        let result = pieces.try_for_each(|part| channel.receive(part, &mut BytesMut::new()));
        assert_eq!(channel.peer(), None);
        result
    };
    for piece in [1, 100, usize::MAX] {
        // Its hello, to the end that has said it..
        let mut dialer = own.client(None).unwrap();
        let hello = flushed(&mut dialer);
        let ended = thrown(&mut dialer, &hello, piece);
        assert_eq!(ended, Err(ChannelError::Malformed));
        // ..and a listener's answer to that listener, as the proof that it waits for.
        let (mut dialer, mut listener) = pair();
        pass(&mut dialer, &mut listener).unwrap();
        let answer = flushed(&mut listener);
        let ended = thrown(&mut listener, &answer, piece);
        assert_eq!(ended, Err(ChannelError::Damaged));
    }
    // Its hello to its own listener: whoever it wanted to reach, it finds itself.
    for expect in [None, Some(id(THEIRS))] {
        let (mut dialer, mut listener) = (own.client(expect).unwrap(), own.server().unwrap());
        pass(&mut dialer, &mut listener).unwrap();
        assert_eq!(pass(&mut listener, &mut dialer), Err(ChannelError::Myself));
        let told = listener.receive(&flushed(&mut dialer), &mut plaintext);
        assert!(matches!(told, Err(ChannelError::Alert(_))), "{told:?}");
        assert_eq!((dialer.peer(), listener.peer()), (None, None));
    }
    assert!(plaintext.is_empty());
}

#[test]
fn nothing_is_sent_to_a_peer_that_is_not_known() {
    let (mut dialer, _) = pair();
    let mut out = BytesMut::new();
    let piece = std::io::IoSlice::new(b"early");
    assert_eq!(
        dialer.send(&mut [piece], &mut out),
        Err(ChannelError::Internal)
    );
    assert!(out.is_empty());
}

#[test]
fn no_secret_is_printed() {
    let (dialer, listener) = open_pair();
    let shown = format!("{dialer:?} {listener:?} {:?}", endpoint(OURS));
    let secret = format!("{:?}", [OURS; 4]);
    assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    assert!(shown.contains(&id(OURS).to_string()[..8]), "{shown}");
}
