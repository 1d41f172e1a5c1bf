//! AES-256-CTR: published vectors, counters that wrap, and any place and
//! cutting of the stream.

use peerhold_core::ctr::{CtrError, CtrStream};
use quickcheck::quickcheck;
use sha1::{Digest, Sha1};

#[path = "support/hex.rs"]
mod hex;
#[path = "support/jsonl.rs"]
mod jsonl;

use hex::{unhex, unhex_array};

#[test]
fn published_and_wrapping_counters_match_at_every_cut() {
    let mut lines = 0;
    for line in include_str!("vectors/aes256ctr.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let fields: Vec<&str> = line.split(' ').collect();
        let [key, iv, plain, sealed] = fields[..] else {
            panic!("four fields: {line}");
        };
        let (plain, sealed) = (unhex(plain), unhex(sealed));
        let start = || CtrStream::new(&unhex_array(key), &unhex_array(iv));
        for cut in 0..=plain.len() {
            let mut data = plain.clone();
            let (head, tail) = data.split_at_mut(cut);
            let mut stream = start();
            stream.apply(head).unwrap();
            stream.apply(tail).unwrap();
            assert_eq!(data, sealed);

            let mut stream = start();
            stream.seek(cut as u64);
            stream.apply(&mut data[cut..]).unwrap();
            assert_eq!(data[cut..], plain[cut..], "opened from {cut} on");
        }
        lines += 1;
    }
    assert_eq!(lines, 4);
}

#[test]
fn the_go_programs_streams_match() {
    let mut lines = 0;
    for line in include_str!("vectors/foreverstore/aes256ctr.jsonl").lines() {
        let text = |field| jsonl::text(line, field).unwrap_or_else(|| panic!("{field} in {line}"));
        let digits = jsonl::value(line, "plain_len").and_then(|value| value.split(',').next());
        let len: u64 = digits.expect("plain_len").parse().unwrap();
        let mut data: Vec<u8> = (0..len).map(|i| (i * i + i / 7) as u8).collect();
        let mut stream = CtrStream::new(&unhex_array(text("key")), &unhex_array(text("iv")));
        stream.apply(&mut data).unwrap();
        match jsonl::text(line, "cipher") {
            Some(cipher) => assert_eq!(data, unhex(cipher)),
            None => {
                assert_eq!(data[..32], unhex(text("cipher_head")));
                assert_eq!(data[data.len() - 32..], unhex(text("cipher_tail")));
                assert_eq!(Sha1::digest(&data)[..], unhex(text("cipher_sha1")));
            }
        }
        lines += 1;
    }
    assert_eq!(lines, 9);
}

quickcheck! {
    fn any_offset_is_that_place_of_the_stream_from_zero(key: u8, iv: Iv, at: u16, len: u8) -> bool {
        let (at, len) = (usize::from(at % 2000), usize::from(len));
        let mut whole = vec![0; at + len];
        CtrStream::new(&[key; 32], &iv.0).apply(&mut whole).unwrap();
        let mut stream = CtrStream::new(&[key; 32], &iv.0);
        stream.apply(&mut [0; 5]).unwrap();
        stream.seek(at as u64);
        let mut part = vec![0; len];
        stream.apply(&mut part).unwrap();
        part == whole[at..] && stream.position() == (at + len) as u64
    }

    fn any_cutting_is_one_stream(iv: Iv, data: Vec<u8>, cuts: Vec<u8>) -> bool {
        let mut whole = data.clone();
        CtrStream::new(&[1; 32], &iv.0).apply(&mut whole).unwrap();
        let mut cut_up = data;
        let mut left = &mut cut_up[..];
        let mut stream = CtrStream::new(&[1; 32], &iv.0);
        for cut in cuts {
            let (piece, rest) = left.split_at_mut(left.len().min(usize::from(cut)));
            stream.apply(piece).unwrap();
            left = rest;
        }
        stream.apply(left).unwrap();
        cut_up == whole
    }

    // An offset of whole blocks is the stream whose IV is that much greater,
    // whichever way of counting either of them takes.
    fn an_offset_is_a_greater_iv(iv: Iv, blocks: u64) -> bool {
        let blocks = blocks >> 4;
        let later = u128::from_be_bytes(iv.0).wrapping_add(u128::from(blocks));
        let (mut a, mut b) = ([0; 50], [0; 50]);
        let mut stream = CtrStream::new(&[1; 32], &iv.0);
        stream.seek(blocks * 16);
        let fits = stream.apply(&mut a).is_ok();
        CtrStream::new(&[1; 32], &later.to_be_bytes()).apply(&mut b).unwrap();
        !fits || a == b
    }
}

#[test]
fn the_end_of_the_keystream_is_an_error_that_changes_nothing() {
    for iv in [[0; 16], [0xff; 16]] {
        let mut stream = CtrStream::new(&[1; 32], &iv);
        let position = u64::MAX - 20;
        stream.seek(position);
        let mut data = [0; 21];
        let error = CtrError::EndOfKeystream { position, len: 21 };
        assert_eq!(stream.apply(&mut data), Err(error));
        assert_eq!((data, stream.position()), ([0; 21], position));

        stream.apply(&mut data[..20]).unwrap();
        assert_ne!(data, [0; 21]);
        assert_eq!(stream.apply(&mut []), Ok(()));
        assert!(stream.apply(&mut [0]).is_err());
        stream.seek(0);
        assert_eq!(stream.apply(&mut data), Ok(()));
    }
}

#[test]
fn debug_shows_no_secret() {
    let mut stream = CtrStream::new(&[0xab; 32], &[0xcd; 16]);
    stream.apply(&mut [0; 3]).unwrap();
    assert_eq!(format!("{stream:?}"), "CtrStream { position: 3, .. }");
}

/// An initial counter block, often one that is about to wrap.
#[derive(Clone, Debug)]
struct Iv([u8; 16]);

impl quickcheck::Arbitrary for Iv {
    fn arbitrary(g: &mut quickcheck::Gen) -> Self {
        let any = u128::arbitrary(g);
        let near = u128::from(u8::arbitrary(g) % 8);
        let iv = match u8::arbitrary(g) % 4 {
            0 => any,
            1 => u128::MAX - near,
            2 => (any | u128::from(u64::MAX)) - near,
            _ => (any | u128::from(u32::MAX)) - near,
        };
        Self(iv.to_be_bytes())
    }
}
