//! Grants: the written-down bytes both ways, and what is refused.

use peerhold_core::id::PutId;
use peerhold_core::seal::{GRANT_MAX, Grant, GrantError, NamespaceSecret};
use peerhold_core::time::UnixMillis;
use quickcheck::quickcheck;

#[path = "support/hex.rs"]
mod hex;

use hex::{unhex, unhex_array};

const VECTORS: &str = include_str!("vectors/grants.txt");

/// The fields of the lines that begin with `word`.
fn vectors(word: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = VECTORS.lines().map(|line| line.split(' ').collect());
    lines.filter(move |line: &Vec<_>| line[0] == word)
}

fn writer() -> peerhold_core::Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

fn grant(limit: u64, expires: u64) -> Grant {
    Grant {
        namespace: writer().namespace(),
        put: PutId([9; 16]),
        limit,
        expires: UnixMillis(expires),
    }
}

#[test]
fn grants_have_the_pinned_bytes() {
    let mut longest = 0;
    for line in vectors("grant") {
        let writer = NamespaceSecret::from_bytes(unhex_array(line[1])).writer();
        let grant = Grant {
            namespace: writer.namespace(),
            put: PutId(unhex_array(line[2])),
            limit: line[3].parse().unwrap(),
            expires: UnixMillis(line[4].parse().unwrap()),
        };
        let bytes = unhex(line[5]);
        assert_eq!(grant.sign(&writer), bytes);
        assert_eq!(Grant::verify(&bytes), Ok(grant));
        longest = longest.max(bytes.len());
    }
    assert_eq!(longest, GRANT_MAX);
}

#[test]
fn what_is_no_grant_is_refused_for_the_pinned_reason() {
    for line in vectors("bad") {
        let bytes = unhex(line.get(2).unwrap_or(&""));
        let error = Grant::verify(&bytes).unwrap_err();
        let name = match error {
            GrantError::Length(_) => "length",
            GrantError::Malformed => "malformed",
            GrantError::Format(_) => "format",
            GrantError::Suite(_) => "suite",
            GrantError::Signature => "signature",
            _ => "another",
        };
        assert_eq!(name, line[1], "{line:?}");
    }
}

quickcheck! {
    fn a_grant_comes_back_whatever_it_says(limit: u64, expires: u64) -> bool {
        let grant = grant(limit, expires);
        let signed = grant.sign(&writer());
        Grant::verify(&signed) == Ok(grant) && Grant::peek(&signed) == Ok(grant)
    }

    fn a_changed_grant_is_none(limit: u64, at: usize, bit: u8) -> bool {
        let mut bytes = grant(limit, 1).sign(&writer()).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
        Grant::verify(&bytes).is_err()
    }

    fn no_bytes_panic(bytes: Vec<u8>) -> bool {
        Grant::verify(&bytes).is_err()
    }
}
