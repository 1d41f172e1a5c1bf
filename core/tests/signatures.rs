//! Signatures that are accepted and refused: those of Project Wycheproof, and
//! the heads of records that a lenient verifier would take.

use bytes::Bytes;
use peerhold_core::PutId;
use peerhold_core::seal::{
    Content, Draft, Meta, Name, NamespaceSecret, RecordError, SignedHead, seal_record,
    verify_signature,
};
use peerhold_core::{UnixMillis, Version};

#[path = "support/hex.rs"]
mod hex;

const WYCHEPROOF: &str = include_str!("vectors/ed25519_wycheproof.txt");
/// The order of the base point (RFC 8032, section 5.1), little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const SIGNATURE: usize = 64;

fn bytes(field: &str) -> Vec<u8> {
    match field {
        "-" => Vec::new(),
        field => hex::unhex(field),
    }
}

#[test]
fn wycheproofs_signatures_are_accepted_and_refused_as_it_says() {
    let (mut valid, mut invalid) = (0, 0);
    for line in WYCHEPROOF.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [key, message, signature, result, number] = fields[..] else {
            panic!("five fields: {line}");
        };
        let verified = verify_signature(&hex::unhex_array(key), &bytes(message), &bytes(signature));
        match result {
            "valid" => valid += 1,
            "invalid" => invalid += 1,
            other => panic!("{other} is no result"),
        }
        assert_eq!(verified, result == "valid", "test {number}");
    }
    assert_eq!((valid, invalid), (88, 63));
}

fn head() -> Vec<u8> {
    let draft = Draft {
        epoch: 0,
        version: Version::next(UnixMillis(1_000), Version::ZERO, [1; 8]).unwrap(),
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new("a name").unwrap(),
        size: 7,
        modified: None,
        chunk_size: 1 << 16,
    };
    let content = Content::Inline(Bytes::from_static(b"content"));
    let writer = NamespaceSecret::from_bytes([7; 32]).writer();
    let sealed = seal_record(&writer, draft, &meta, &content).unwrap();
    sealed.head.bytes().to_vec()
}

#[test]
fn a_second_form_of_a_heads_signature_is_refused() {
    let mut head = head();
    assert!(SignedHead::verify(head.clone().into()).is_ok());
    // s + L signs as well as s does, to whoever does not look at its size.
    let at = head.len() - 32;
    let mut carry = 0;
    for (byte, order) in head[at..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    let refused = SignedHead::verify(head.into());
    assert_eq!(refused.unwrap_err(), RecordError::Signature);
}

#[test]
fn a_namespace_for_which_anybody_can_sign_is_refused() {
    let mut head = head();
    let namespace = NamespaceSecret::from_bytes([7; 32]).writer().namespace();
    let at = head
        .windows(32)
        .position(|window| window == namespace.as_bytes())
        .unwrap();
    // The neutral point as key and as R, and s = 0: the equation holds for
    // every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    head[at..at + 32].copy_from_slice(&neutral);
    let signature = head.len() - SIGNATURE;
    head[signature..].fill(0);
    head[signature] = 1;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&neutral).unwrap();
    let lenient = ed25519_dalek::Signature::from_slice(&head[signature..]).unwrap();
    assert!(ed25519_dalek::Verifier::verify(&key, b"anything", &lenient).is_ok());
    let refused = SignedHead::verify(head.into());
    assert_eq!(refused.unwrap_err(), RecordError::Signature);
}
