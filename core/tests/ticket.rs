//! Tickets: as written down, refused after any slip, and never shown.

use peerhold_core::text::Kind;
use peerhold_core::{Bootstrap, ClusterKey, Config, NodeId, TextError, Ticket, TicketError};
use quickcheck::{Arbitrary, Gen, QuickCheck};

#[path = "support/hex.rs"]
mod hex;

use hex::{unhex, unhex_array};

const VECTORS: &str = include_str!("vectors/tickets.txt");
const KEY: [u8; 32] = [5; 32];

fn key() -> ClusterKey {
    ClusterKey::from_bytes(KEY)
}

/// The lines of this kind.
fn lines(kind: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| line.strip_prefix(kind)?.trim_start().split_once(' '))
}

/// What bytes stand for, in plain words.
fn parts(mut bytes: &[u8]) -> ([u8; 32], Vec<(String, Option<NodeId>)>) {
    let mut take = |len: usize| {
        let (taken, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some(taken.to_vec())
    };
    let key = take(32).unwrap().try_into().unwrap();
    let mut addrs = Vec::new();
    while let Some(len) = take(1) {
        let addr = take(usize::from(len[0] % 128)).unwrap();
        let id = (len[0] >= 128).then(|| NodeId(take(32).unwrap().try_into().unwrap()));
        addrs.push((String::from_utf8(addr).unwrap(), id));
    }
    (key, addrs)
}

#[test]
fn tickets_are_written_and_read_as_written_down() {
    let mut lengths = Vec::new();
    for (bytes, text) in lines("ticket") {
        let (key, addrs) = parts(&unhex(bytes));
        let bootstrap: Vec<Bootstrap> = addrs
            .into_iter()
            .map(|(addr, expect)| Bootstrap {
                addr: addr.into(),
                expect,
            })
            .collect();
        let ticket = Ticket::new(ClusterKey::from_bytes(key), bootstrap).unwrap();
        assert_eq!(*ticket.to_text(), text);
        for text in [text, &text.to_uppercase()] {
            assert!(text.parse() == Ok(ticket.clone()));
        }
        lengths.push(text.len());
    }
    lengths.sort_unstable();
    assert_eq!((lengths[0], lengths[lengths.len() - 1]), (71, 919));
    assert_eq!(Kind::Ticket.chars(), 919);
}

#[test]
fn what_is_no_ticket_is_refused_although_its_checksum_is_right() {
    let mut count = 0;
    for (wrong, text) in lines("refused") {
        let error = text.parse::<Ticket>().unwrap_err();
        let kind = Kind::Ticket;
        let expected = match wrong {
            "content" => TextError::Content(kind),
            "padding" => TextError::Padding(kind),
            "version" => TextError::Version { kind, version: 1 },
            "length" => TextError::Length {
                kind,
                chars: text.len(),
            },
            _ => panic!("{wrong}"),
        };
        assert_eq!(error, expected, "{text}");
        count += 1;
    }
    assert_eq!(count, 19);
}

#[test]
fn a_text_of_any_other_kind_is_no_ticket_and_a_ticket_is_no_other_kind() {
    let (_, text) = lines("ticket").next().unwrap();
    let (expected, found) = (Kind::ClusterKey, Kind::Ticket);
    let refused = Err(TextError::WrongKind { expected, found });
    assert!(text.parse::<ClusterKey>() == refused);
    let (expected, found) = (Kind::Ticket, Kind::ClusterKey);
    let error = key().to_text().parse::<Ticket>().unwrap_err();
    assert_eq!(error, TextError::WrongKind { expected, found });
    let words = "this is a cluster key, not a ticket; keep it secret";
    assert_eq!(error.to_string(), words);
}

#[test]
fn any_slip_in_any_ticket_is_refused() {
    for (_, text) in lines("ticket") {
        for at in 0..text.len() {
            let (before, rest) = text.split_at(at);
            let mut slips = vec![format!("{before}{}", &rest[1..])];
            for typed in ["q", "p", "7", "1", "\u{e9}"] {
                slips.push(format!("{before}{typed}{rest}"));
                slips.push(format!("{before}{typed}{}", &rest[1..]));
            }
            slips.retain(|slip| slip != text);
            assert!(slips.iter().all(|slip| slip.parse::<Ticket>().is_err()));
        }
    }
}

#[test]
fn a_ticket_of_any_length_is_read_in_bounded_time() {
    let long = format!("phticket1{}", "q".repeat(1 << 20));
    let error = long.parse::<Ticket>().unwrap_err();
    assert!(matches!(error, TextError::Length { .. }));
    assert!(error.to_string().starts_with("a ticket has at most 919 "));
}

#[test]
fn arbitrary_text_is_no_ticket_and_panics_nowhere() {
    fn property(text: String, typed: Vec<u8>) -> bool {
        const LETTERS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        let typed = typed
            .iter()
            .map(|byte| LETTERS[usize::from(byte % 32)] as char);
        let typed: String = typed.collect();
        [
            text.clone(),
            format!("phticket1{text}"),
            format!("phticket1{typed}"),
        ]
        .iter()
        .all(|text| text.parse::<Ticket>().is_err())
    }
    QuickCheck::new()
        .tests(5000)
        .quickcheck(property as fn(String, Vec<u8>) -> bool);
}

#[derive(Clone, Debug)]
struct Addr(String, Option<[u8; 32]>);

impl Arbitrary for Addr {
    fn arbitrary(g: &mut Gen) -> Self {
        let len = 1 + usize::arbitrary(g) % 25;
        let text = std::iter::repeat_with(|| char::arbitrary(g))
            .filter(|char| !char.is_control() && !char.is_whitespace())
            .take(len);
        let text = text.collect();
        Self(text, bool::arbitrary(g).then(|| [u8::arbitrary(g); 32]))
    }
}

#[test]
fn every_ticket_comes_back_from_its_one_text() {
    fn property(key: u8, addrs: Vec<Addr>) -> bool {
        let bootstrap = addrs.into_iter().take(4).map(|Addr(addr, id)| Bootstrap {
            addr: addr.into(),
            expect: id.map(NodeId),
        });
        let Ok(ticket) = Ticket::new(ClusterKey::from_bytes([key; 32]), bootstrap.collect()) else {
            return true;
        };
        let text = ticket.to_text();
        text.len() <= 919 && text.parse() == Ok(ticket)
    }
    QuickCheck::new()
        .tests(2000)
        .quickcheck(property as fn(u8, Vec<Addr>) -> bool);
}

#[test]
fn what_does_not_go_into_a_ticket_is_said() {
    let new = |addrs: &[&str]| {
        let addrs = addrs.iter().map(|addr| Bootstrap::from(*addr));
        Ticket::new(key(), addrs.collect()).err()
    };
    assert_eq!(new(&[]), Some(TicketError::Addresses(0)));
    assert_eq!(
        new(&["a", "b", "c", "d", "e"]),
        Some(TicketError::Addresses(5))
    );
    assert_eq!(new(&["a", ""]), Some(TicketError::Length(0)));
    assert_eq!(new(&[&"a".repeat(101)]), Some(TicketError::Length(101)));
    assert_eq!(new(&["a b"]), Some(TicketError::Character));
    assert_eq!(new(&["a", "b", "a"]), Some(TicketError::Twice));
    assert_eq!(new(&[&"a".repeat(100), "b", "c", "d"]), None);
}

#[test]
fn nothing_of_a_ticket_is_in_debug_or_in_an_error() {
    let addr = "secret.example:4100";
    let ticket = Ticket::new(key(), vec![addr.into()]).unwrap();
    assert_eq!(format!("{ticket:?}"), "Ticket(..)");
    let text = ticket.to_text();
    let cut = text[..text.len() - 1].parse::<Ticket>().unwrap_err();
    let long = format!("{}qq", *text).parse::<Ticket>().unwrap_err();
    for shown in [cut, long].map(|error| format!("{error} {error:?}")) {
        assert!((9..text.len() - 5).all(|at| !shown.contains(&text[at..at + 5])));
    }
}

#[test]
fn who_joins_with_a_ticket_proves_its_key_and_dials_whom_it_names() {
    let (first, second) = (NodeId([1; 32]), NodeId([2; 32]));
    let bootstrap = vec![Bootstrap::pinned("a:1", first), "b:2".into()];
    let ticket = Ticket::new(key(), bootstrap.clone()).unwrap();
    let ticket: Ticket = ticket.to_text().parse().unwrap();
    let joined = Config::join(second, &ticket);
    assert!(joined.cluster_keys == [key()]);
    assert_eq!(joined.bootstrap, bootstrap);
    assert_eq!((joined.node, joined.check()), (second, Ok(())));
}

#[test]
fn a_cluster_key_is_what_its_generator_gave() {
    struct Counter(u8);
    impl rand_core::TryRng for Counter {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            panic!("keys are filled")
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            panic!("keys are filled")
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for byte in bytes {
                self.0 += 1;
                *byte = self.0;
            }
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Counter {}
    let Ok(key) = ClusterKey::generate(&mut Counter(0));
    let counted = unhex_array("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20");
    assert_eq!(*key.expose(), counted);
    assert_eq!(format!("{key:?}"), "ClusterKey(..)");
}
