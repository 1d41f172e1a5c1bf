//! The text forms of keys and ids: as written down, and refused after any
//! slip of the hand.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::str::FromStr;

use peerhold_core::text::Kind;
use peerhold_core::{
    BlobId, ClusterKey, FileCapability, NamespaceId, NamespaceSecret, NodeId, PutId, ReadKey,
    RecordId, TextError, Ticket, Version,
};
use quickcheck::{QuickCheck, TestResult};

#[path = "support/hex.rs"]
mod hex;

use hex::{unhex, unhex_array};

const VECTORS: &str = include_str!("vectors/text.txt");

#[test]
fn every_kind_is_written_and_read_as_written_down() {
    let mut seen = BTreeSet::new();
    for (kind, bytes, text) in vectors() {
        assert_eq!(write(kind, &bytes), text);
        assert_eq!(read(kind, text), Ok(bytes), "{text}");
        assert_eq!((text.len(), Kind::of(text)), (kind.chars(), Some(kind)));
        seen.insert(kind);
    }
    assert_eq!(seen.len(), fixed().count());
}

#[test]
fn capital_letters_as_a_whole_are_read_and_mixed_ones_are_not() {
    for (kind, bytes, text) in vectors() {
        assert_eq!(read(kind, &text.to_uppercase()), Ok(bytes));
        let (prefix, data) = text.split_at(kind.prefix().len());
        let mixed = [prefix, &data.to_uppercase()].concat();
        assert_eq!(read(kind, &mixed), Err(TextError::MixedCase(kind)));
    }
}

#[test]
fn a_text_of_one_kind_is_refused_where_another_belongs() {
    for (found, _, text) in vectors() {
        let broken = &text[..found.prefix().len() + 1];
        for expected in Kind::ALL.into_iter().filter(|kind| *kind != found) {
            let refused = Err(TextError::WrongKind { expected, found });
            for text in [text, &text.to_uppercase(), broken] {
                assert_eq!(read(expected, text), refused);
            }
        }
    }
    let error = NamespaceId::from_str(&write(Kind::NamespaceSecret, &[3; 32])).unwrap_err();
    let words = "this is a namespace secret, not a namespace id; keep it secret";
    assert_eq!(error.to_string(), words);
}

#[test]
fn every_single_slip_in_every_vector_is_refused() {
    for (kind, _, text) in vectors() {
        for slip in slips(text) {
            assert!(read(kind, &slip).is_err(), "{slip}");
            // Nor has it become a text of any other kind.
            assert!(Kind::ALL.iter().all(|kind| read(*kind, &slip).is_err()));
        }
    }
}

#[test]
fn any_single_slip_in_any_text_is_refused() {
    fn property(kind: usize, bytes: Vec<u8>, which: usize) -> TestResult {
        let kind = fixed().nth(kind % fixed().count()).unwrap();
        let bytes: Vec<u8> = bytes
            .into_iter()
            .chain(std::iter::repeat(0))
            .take(kind.bytes())
            .collect();
        let text = write(kind, &bytes);
        assert_eq!(read(kind, &text), Ok(bytes));
        let slip = nth_slip(&text, which);
        TestResult::from_bool(slip == text || read(kind, &slip).is_err())
    }
    QuickCheck::new()
        .tests(5000)
        .quickcheck(property as fn(usize, Vec<u8>, usize) -> TestResult);
}

#[test]
fn arbitrary_text_is_refused_without_panic() {
    fn property(kind: usize, text: String) -> bool {
        let kind = Kind::ALL[kind % Kind::ALL.len()];
        let behind = format!("{}1{text}", kind.prefix());
        read(kind, &text).is_err() && read(kind, &behind).is_err()
    }
    QuickCheck::new()
        .tests(5000)
        .quickcheck(property as fn(usize, String) -> bool);
}

#[test]
fn a_right_checksum_does_not_excuse_what_else_is_wrong() {
    let kind = Kind::Node;
    let mut count = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let Some((wrong, text)) = line.split_once(' ').filter(|(_, text)| !text.contains(' '))
        else {
            continue;
        };
        let error = NodeId::from_str(text).unwrap_err();
        let right = match wrong {
            "version" => matches!(
                error,
                TextError::Version {
                    version: 1 | 31,
                    ..
                }
            ),
            "length" => {
                error
                    == TextError::Length {
                        kind,
                        chars: text.len(),
                    }
            }
            "padding" => error == TextError::Padding(kind),
            _ => panic!("{wrong}"),
        };
        assert!(right, "{wrong}: {error}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn an_error_says_what_to_look_for() {
    let text = write(Kind::Node, &[7; 32]);
    let error = |text: &str| NodeId::from_str(text).unwrap_err().to_string();
    let mut typed = text.clone().into_bytes();
    typed[20] = if typed[20] == b'q' { b'p' } else { b'q' };
    assert_eq!(
        error(&String::from_utf8(typed).unwrap()),
        "the checksum of this node id is wrong: a character was mistyped"
    );
    assert_eq!(
        error(&text[..60]),
        "a node id has 66 characters, this one has 60: some are missing"
    );
    assert!(error(&format!("{text}q")).ends_with("67: there are too many"));
    assert!(error(&text.replace("phnode1q", "phnode1b")).starts_with("the character at place 8 "));
    assert_eq!(
        error("hello"),
        "this is not a node id, which starts with `phnode1`"
    );
}

#[test]
fn nothing_of_a_secret_is_in_an_error_or_in_debug() {
    for (kind, bytes, text) in vectors().filter(|(kind, ..)| kind.is_secret()) {
        // The uniform ones consist of what stands everywhere.
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            continue;
        }
        let mut shown = vec![debug(kind, text)];
        let wrong_place = Kind::ALL.map(|kind| read(kind, text).err());
        let slipped = slips(text).into_iter().map(|slip| read(kind, &slip).err());
        for error in slipped.chain(wrong_place).flatten() {
            shown.extend([error.to_string(), format!("{error:?}")]);
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // What is no secret: a read key's namespace, whose version a file capability is for.
        let from = match kind {
            Kind::ReadKey => 32,
            Kind::File => 112,
            _ => 0,
        };
        for shown in shown {
            let digits = shown.replace(", ", "");
            assert!(!(2 * from..hex.len() - 8).any(|at| digits.contains(&hex[at..at + 8])));
            let start = kind.prefix().len() + 2 + from * 8 / 5;
            assert!(
                !(start..text.len() - 5).any(|at| shown.contains(&text[at..at + 5])),
                "{shown}"
            );
        }
    }
}

#[test]
fn ids_in_logs_begin_as_their_texts_do() {
    let id = NodeId([9; 32]);
    let shown = format!("{id:?}");
    let start = shown
        .strip_prefix("NodeId(")
        .unwrap()
        .strip_suffix("..)")
        .unwrap();
    assert!(
        id.to_string().starts_with(start) && start.len() == 16,
        "{shown}"
    );
}

/// What the documentation says of the checksum, by trying every combination
/// of wrong characters: a code notices e of them if no e columns of its check
/// matrix, each times any of the field's elements, add up to nothing.
#[test]
fn the_checksum_notices_what_is_said_of_it() {
    let data_part = |kind: Kind| kind.chars() - kind.prefix().len() - 1;
    // Any 4: no two pairs of wrong characters have the same effect.
    let long = [Kind::ReadKey, Kind::File];
    let others = fixed().filter(|kind| !long.contains(kind));
    let columns = columns(others.map(data_part).max().unwrap());
    let mut effects: Vec<u32> = columns.iter().flatten().copied().collect();
    for (at, column) in columns.iter().enumerate() {
        for other in columns.iter().take(at).flatten() {
            effects.extend(column.iter().map(|one| one ^ other));
        }
    }
    let all = effects.len();
    effects.sort_unstable();
    effects.dedup();
    assert!(effects.len() == all && effects[0] != 0);

    // Any 3: no pair has the effect of a single one.
    let columns = self::columns(data_part(Kind::Ticket));
    let singles: BTreeSet<u32> = columns.iter().flatten().copied().collect();
    assert_eq!(singles.len(), 31 * columns.len());
    for (at, column) in columns.iter().enumerate() {
        for other in columns.iter().take(at).flatten() {
            // The one of them may be scaled to 1.
            assert!(!singles.contains(&(column[0] ^ other)));
        }
    }
}

/// What each wrong character, by the difference, does to the checksum, for
/// every place from the last. BIP 173's polynomial.
fn columns(places: usize) -> Vec<Vec<u32>> {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let step = |state: u32| {
        (0..5)
            .filter(|bit| state >> 25 >> bit & 1 == 1)
            .fold((state & 0x01ff_ffff) << 5, |state, bit| {
                state ^ GENERATOR[bit]
            })
    };
    let mut column: Vec<u32> = (1..32).collect();
    let mut columns = Vec::new();
    for _ in 0..places {
        columns.push(column.clone());
        column.iter_mut().for_each(|state| *state = step(*state));
    }
    columns
}

/// The kinds whose texts have one length. Tickets have tests of their own.
fn fixed() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ticket)
}

fn vectors() -> impl Iterator<Item = (Kind, Vec<u8>, &'static str)> {
    VECTORS.lines().filter_map(|line| {
        let (prefix, rest) = line.split_once(' ')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
        let (bytes, text) = rest.split_once(' ')?;
        Some((kind, unhex(bytes), text))
    })
}

/// Every text that is one slip away: a character replaced, left out or added,
/// two neighbours exchanged.
fn slips(text: &str) -> Vec<String> {
    const TYPED: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bioQ -.\u{e9}";
    let mut slips = Vec::new();
    for at in 0..=text.len() {
        let (before, rest) = text.split_at(at);
        slips.extend(TYPED.chars().map(|typed| format!("{before}{typed}{rest}")));
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { continue };
        let rest = chars.as_str();
        slips.push(format!("{before}{rest}"));
        slips.extend(TYPED.chars().map(|typed| format!("{before}{typed}{rest}")));
        if let Some(second) = chars.next() {
            slips.push(format!("{before}{second}{first}{}", chars.as_str()));
        }
    }
    slips.retain(|slip| slip != text);
    slips
}

fn nth_slip(text: &str, which: usize) -> String {
    let slips = slips(text);
    slips[which % slips.len()].clone()
}

fn write(kind: Kind, bytes: &[u8]) -> String {
    let id = || bytes.try_into().unwrap();
    match kind {
        Kind::Node => NodeId(id()).to_string(),
        Kind::Namespace => NamespaceId(id()).to_string(),
        Kind::Blob => BlobId(id()).to_string(),
        Kind::Put => PutId(bytes.try_into().unwrap()).to_string(),
        Kind::Record => {
            let (version, head) = bytes.split_at(Version::LEN);
            let version = Version::from_bytes(version.try_into().unwrap());
            let head = head.try_into().unwrap();
            RecordId { version, head }.to_string()
        }
        Kind::ReadKey => {
            let key = ReadKey::from_bytes(bytes.try_into().unwrap());
            key.to_text().to_string()
        }
        Kind::NamespaceSecret => NamespaceSecret::from_bytes(id()).to_text().to_string(),
        Kind::ClusterKey => ClusterKey::from_bytes(id()).to_text().to_string(),
        Kind::File => {
            let file = FileCapability::from_bytes(bytes.try_into().unwrap());
            file.to_text().to_string()
        }
        _ => panic!("a kind without a test: {kind:?}"),
    }
}

fn read(kind: Kind, text: &str) -> Result<Vec<u8>, TextError> {
    fn id<T: FromStr<Err = TextError> + AsRef<[u8]>>(text: &str) -> Result<Vec<u8>, TextError> {
        text.parse::<T>().map(|id| id.as_ref().to_vec())
    }
    match kind {
        Kind::Node => id::<NodeId>(text),
        Kind::Namespace => id::<NamespaceId>(text),
        Kind::Blob => id::<BlobId>(text),
        Kind::Put => id::<PutId>(text),
        Kind::Record => text
            .parse()
            .map(|id: RecordId| [&id.version.to_bytes()[..], &id.head].concat()),
        Kind::ReadKey => text.parse().map(|key: ReadKey| key.to_bytes().to_vec()),
        Kind::NamespaceSecret => text
            .parse()
            .map(|secret: NamespaceSecret| secret.expose().to_vec()),
        Kind::File => text
            .parse()
            .map(|file: FileCapability| file.to_bytes().to_vec()),
        Kind::ClusterKey => text.parse().map(|key: ClusterKey| key.expose().to_vec()),
        Kind::Ticket => text
            .parse()
            .map(|ticket: Ticket| ticket.cluster_key().expose().to_vec()),
        _ => panic!("a kind without a test: {kind:?}"),
    }
}

fn debug(kind: Kind, text: &str) -> String {
    fn of<T: FromStr<Err = TextError> + Debug>(text: &str) -> String {
        format!("{:?}", text.parse::<T>().unwrap())
    }
    match kind {
        Kind::ReadKey => of::<ReadKey>(text),
        Kind::NamespaceSecret => of::<NamespaceSecret>(text),
        Kind::ClusterKey => of::<ClusterKey>(text),
        Kind::File => of::<FileCapability>(text),
        _ => panic!("{kind:?} is no secret"),
    }
}

#[test]
fn hex_stays_what_it_was() {
    let id = BlobId(unhex_array(&"5a".repeat(32)));
    assert_eq!(id.to_hex(), "5a".repeat(32));
}
