//! Keys and ids as people copy them: one word with a prefix that says what it
//! is and a checksum that notices a slip (PROTOCOL.md, "Text forms").
//!
//! ```text
//! phnode1qqkq2r9…     prefix, 1, version, bytes, checksum
//! ```
//!
//! Ids print themselves ([`core::fmt::Display`]) and are read with
//! [`str::parse`]. Secrets are read likewise and never print themselves: their
//! `to_text` has to be asked for, and what it returns is wiped when dropped.
//!
//! 1. A text of one kind is refused where another belongs, by its prefix
//!    alone, so that a secret cannot be pasted where an id is shown to others.
//! 2. No [`TextError`] holds or prints any part of the text that it is about.
//! 3. The checksum is Bech32m's (BIP 350): a BCH code of length 1,023, whose
//!    distance there is 4. In the part behind the prefix it notices any 3
//!    characters that are others than they should be; in forms of up to 89
//!    characters there, which are all but the read key's, the file capability's
//!    and tickets, any 4; and of every other change all but one in 2^30. Lengths
//!    are fixed but for tickets, so that a character too many or too few never
//!    needs it. It is no protection against somebody
//!    who changes a text on purpose: whoever can choose the text chooses its
//!    checksum.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::FromStr;

use bech32::primitives::decode::UncheckedHrpstring;
use bech32::primitives::gf32::Fe32;
use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bech32::{Bech32m, Hrp};
use zeroize::Zeroizing;

use crate::config::ClusterKey;
use crate::id::{BlobId, NamespaceId, NodeId, PutId};
use crate::seal::{FileCapability, NamespaceSecret, ReadKey};
use crate::ticket::Ticket;
use crate::version::{RecordId, Version};

/// The version of every form that this program writes and reads.
pub const VERSION: u8 = 0;

/// What a text is, as its prefix says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`NodeId`].
    Node,
    /// A [`NamespaceId`].
    Namespace,
    /// A [`BlobId`].
    Blob,
    /// A [`PutId`].
    Put,
    /// A [`RecordId`].
    Record,
    /// A [`ReadKey`]: a secret.
    ReadKey,
    /// A [`NamespaceSecret`]: a secret.
    NamespaceSecret,
    /// A [`ClusterKey`]: a secret.
    ClusterKey,
    /// A [`FileCapability`]: a secret.
    File,
    /// A [`Ticket`]: a secret, and the one kind whose texts are not all of one
    /// length.
    Ticket,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::Namespace,
        Self::Blob,
        Self::Put,
        Self::Record,
        Self::ReadKey,
        Self::NamespaceSecret,
        Self::ClusterKey,
        Self::File,
        Self::Ticket,
    ];

    /// What a text claims to be. It may still be malformed.
    pub fn of(text: &str) -> Option<Self> {
        let (prefix, _) = text.split_once('1')?;
        Self::ALL
            .into_iter()
            .find(|kind| prefix.eq_ignore_ascii_case(kind.prefix()))
    }

    //# TEXT-1: A form MUST be its kind's prefix from the table above, the character `1`, and the
    //# data part: the version as one character, the kind's bytes, and six characters of
    //# checksum.
    /// What its texts start with, before the `1`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Node => "phnode",
            Self::Namespace => "phspace",
            Self::Blob => "phblob",
            Self::Put => "phput",
            Self::Record => "phver",
            Self::ReadKey => "phread",
            Self::NamespaceSecret => "phsecret",
            Self::ClusterKey => "phcluster",
            Self::File => "phfile",
            Self::Ticket => "phticket",
        }
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node id",
            Self::Namespace => "namespace id",
            Self::Blob => "blob id",
            Self::Put => "put id",
            Self::Record => "version of a file",
            Self::ReadKey => "read key",
            Self::NamespaceSecret => "namespace secret",
            Self::ClusterKey => "cluster key",
            Self::File => "file capability",
            Self::Ticket => "ticket",
        }
    }

    /// Whether it must be kept from others.
    pub const fn is_secret(self) -> bool {
        matches!(
            self,
            Self::ReadKey | Self::NamespaceSecret | Self::ClusterKey | Self::File | Self::Ticket
        )
    }

    /// Bytes that it stands for; of a ticket, the most.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Node => NodeId::LEN,
            Self::Namespace => NamespaceId::LEN,
            Self::Blob => BlobId::LEN,
            Self::Put => PutId::LEN,
            Self::Record => RECORD_LEN,
            Self::ReadKey => ReadKey::LEN,
            Self::NamespaceSecret | Self::ClusterKey => 32,
            Self::File => FileCapability::LEN,
            Self::Ticket => Ticket::BYTES_MAX,
        }
    }

    /// Characters of its text; of a ticket, the most.
    pub const fn chars(self) -> usize {
        self.chars_of(self.bytes())
    }

    const fn chars_of(self, bytes: usize) -> usize {
        let data = bytes.saturating_mul(8).div_ceil(5);
        let around = self.prefix().len().saturating_add(2 + CHECKSUM);
        around.saturating_add(data)
    }

    fn hrp(self) -> Hrp {
        Hrp::parse_unchecked(self.prefix())
    }
}

/// Why a text is not the key or id that was asked for. Nothing of the text is
/// in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is something else.
    #[error("this is a {}, not a {}{}", found.name(), expected.name(), keep(*found))]
    WrongKind {
        /// What was asked for.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// It starts as nothing that is known.
    #[error("this is not a {}, which starts with `{}1`", .0.name(), .0.prefix())]
    Unknown(Kind),
    /// Capital and small letters are mixed.
    #[error("capital and small letters are mixed: a {} has one or the other", .0.name())]
    MixedCase(Kind),
    /// A character stands in it that never does.
    #[error(
        "the character at place {place} cannot stand in a {}: behind its first 1 there are digits and letters, without 1, b, i and o",
        kind.name()
    )]
    Character {
        /// What was asked for.
        kind: Kind,
        /// Which one, from 1.
        place: usize,
    },
    /// Characters are missing, or there are too many.
    #[error("a {} has {}{} characters, this one has {chars}: {}", kind.name(), at_most(*kind), kind.chars(), short(*kind, *chars))]
    Length {
        /// What was asked for.
        kind: Kind,
        /// How many characters there are.
        chars: usize,
    },
    /// The characters do not belong together.
    #[error("the checksum of this {} is wrong: a character was mistyped", .0.name())]
    Checksum(Kind),
    /// It is in a form that this program does not know.
    #[error("this {} is written in version {version} of its form, and this program reads version {VERSION}", kind.name())]
    Version {
        /// What was asked for.
        kind: Kind,
        /// The version it says.
        version: u8,
    },
    /// Bits are set that stand for nothing.
    #[error("this {} ends in bits that mean nothing: whatever wrote it was wrong", .0.name())]
    Padding(Kind),
    /// The bytes are not what this kind is made of.
    #[error("this {} does not hold what it must: whatever wrote it was wrong", .0.name())]
    Content(Kind),
}

fn keep(found: Kind) -> &'static str {
    if found.is_secret() {
        "; keep it secret"
    } else {
        ""
    }
}

fn at_most(kind: Kind) -> &'static str {
    if kind == Kind::Ticket { "at most " } else { "" }
}

fn short(kind: Kind, chars: usize) -> &'static str {
    if chars < kind.chars() {
        "some are missing"
    } else {
        "there are too many"
    }
}

/// Characters of a checksum.
const CHECKSUM: usize = 6;
/// Characters of the data part that `Debug` shows: the version and 40 bits.
const DEBUG_CHARS: usize = 9;
/// A version, then the hash of a head.
const RECORD_LEN: usize = Version::LEN + 32;

macro_rules! id_form {
    ($id:ident, $kind:ident) => {
        /// The text form, see [`crate::text`].
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(Kind::$kind, &self.0, f)
            }
        }

        /// How the text form begins: enough to tell things apart in a log, and
        /// to find them in a list of the whole ones.
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({}1"), Kind::$kind.prefix())?;
                data(&self.0)
                    .take(DEBUG_CHARS)
                    .try_for_each(|fe| f.write_char(fe.to_char()))?;
                f.write_str("..)")
            }
        }

        impl FromStr for $id {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                read(Kind::$kind, text).map(|bytes| Self(*bytes))
            }
        }
    };
}

id_form!(NodeId, Node);
id_form!(NamespaceId, Namespace);
id_form!(BlobId, Blob);
id_form!(PutId, Put);

/// The text form, see [`crate::text`].
impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; RECORD_LEN];
        let (version, head) = bytes.split_at_mut(Version::LEN);
        version.copy_from_slice(&self.version.to_bytes());
        head.copy_from_slice(&self.head);
        write(Kind::Record, &bytes, f)
    }
}

impl FromStr for RecordId {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes: Zeroizing<[u8; RECORD_LEN]> = read(Kind::Record, text)?;
        // A record's bytes are as many as both together.
        let content = || TextError::Content(Kind::Record);
        let (version, head) = bytes.split_first_chunk().ok_or_else(content)?;
        Ok(Self {
            version: Version::from_bytes(*version),
            head: head.try_into().map_err(|_| content())?,
        })
    }
}

impl ReadKey {
    /// The text form, see [`crate::text`]: for those who may read, and nobody
    /// else.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret(Kind::ReadKey, &*self.to_bytes())
    }
}

impl FromStr for ReadKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        read(Kind::ReadKey, text).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl NamespaceSecret {
    /// The text form, see [`crate::text`]: to be kept where only its owner
    /// reads.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret(Kind::NamespaceSecret, self.expose())
    }
}

impl FromStr for NamespaceSecret {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        read(Kind::NamespaceSecret, text).map(|bytes| Self::from_bytes(*bytes))
    }
}

impl ClusterKey {
    /// The text form, see [`crate::text`]: for those who may join.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret(Kind::ClusterKey, self.expose())
    }
}

impl FromStr for ClusterKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        read(Kind::ClusterKey, text).map(|bytes| Self::from_bytes(*bytes))
    }
}

impl FileCapability {
    /// The text form, see [`crate::text`]: for those who may read this version
    /// of this file, and nobody else.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret(Kind::File, &*self.to_bytes())
    }
}

impl FromStr for FileCapability {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        read(Kind::File, text).map(|bytes| Self::from_bytes(&bytes))
    }
}

/// The data part without its checksum.
//# TEXT-2: Characters of the data part stand for 5 bits each as in BIP 173. The version MUST
//# be 0. The bytes are cut into 5 bits from the first one's highest bit on; the last
//# character's spare bits MUST be zero.
fn data(bytes: &[u8]) -> impl Iterator<Item = Fe32> {
    core::iter::once(Fe32::Q).chain(bytes.iter().copied().bytes_to_fes())
}

//# TEXT-3: The checksum MUST be that of Bech32m (BIP 350) over prefix and data part.
fn write(kind: Kind, bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    let hrp = kind.hrp();
    data(bytes)
        .with_checksum::<Bech32m>(&hrp)
        .chars()
        .try_for_each(|char| out.write_char(char))
}

pub(crate) fn secret(kind: Kind, bytes: &[u8]) -> Zeroizing<String> {
    // Allocated once: a string that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(kind.chars_of(bytes.len())));
    // A string takes what is written to it.
    let _ = write(kind, bytes, &mut *text);
    text
}

/// The bytes of a text of a kind whose texts have one length.
fn read<const N: usize>(kind: Kind, text: &str) -> Result<Zeroizing<[u8; N]>, TextError> {
    let mut bytes = Zeroizing::new([0; N]);
    let chars = text.len();
    // That is said last: a text too long may be no text of this kind at all.
    let length = (chars != kind.chars()).then_some(TextError::Length { kind, chars });
    read_into(kind, text, &mut *bytes, length)?;
    Ok(bytes)
}

/// The bytes of a text whose length says how many they are, up to the kind's
/// most.
pub(crate) fn read_some(kind: Kind, text: &str) -> Result<Zeroizing<Vec<u8>>, TextError> {
    check_kind(kind, text)?;
    let chars = text.len();
    let around = kind.chars_of(0);
    if !(around..=kind.chars()).contains(&chars) {
        return Err(TextError::Length { kind, chars });
    }
    let len = chars.saturating_sub(around).saturating_mul(5) / 8;
    let mut bytes = Zeroizing::new(alloc::vec![0; len]);
    // A character that stands for no byte.
    let length = (kind.chars_of(len) != chars).then_some(TextError::Padding(kind));
    read_into(kind, text, &mut bytes, length)?;
    Ok(bytes)
}

/// Reads a text that has `bytes`, unless its length is wrong.
//# TEXT-6: A reader MUST refuse a text whose checksum is wrong, whose version it does not
//# know, that has more or fewer bytes than its kind, or whose spare bits are not all zero.
fn read_into(
    kind: Kind,
    text: &str,
    bytes: &mut [u8],
    length: Option<TextError>,
) -> Result<(), TextError> {
    check_kind(kind, text)?;
    check_characters(kind, text)?;
    let checked = UncheckedHrpstring::new(text)
        .ok()
        .and_then(|text| text.validate_and_remove_checksum::<Bech32m>().ok())
        .ok_or(match length {
            Some(length @ TextError::Length { .. }) => length,
            _ => TextError::Checksum(kind),
        })?;
    let mut fes = checked
        .data_part_ascii_no_checksum()
        .iter()
        .filter_map(|byte| Fe32::from_char(char::from(*byte)).ok());
    let version = fes.next().map_or(VERSION, Fe32::to_u8);
    if version != VERSION {
        return Err(TextError::Version { kind, version });
    }
    if let Some(length) = length {
        return Err(length);
    }
    // Of every five bytes' bits none is spare.
    let spare = match bytes.len() % 5 {
        0 => 0,
        1 => 2,
        2 => 4,
        3 => 1,
        _ => 3,
    };
    let last = fes.clone().next_back().map_or(0, Fe32::to_u8);
    if last.trailing_zeros() < spare {
        return Err(TextError::Padding(kind));
    }
    bytes
        .iter_mut()
        .zip(fes.fes_to_bytes())
        .for_each(|(byte, from)| *byte = from);
    Ok(())
}

//# TEXT-4: A reader MUST refuse a text of another kind than it expects by the prefix, whatever
//# else is wrong with the text, and MUST NOT show any part of a text that it refuses.
fn check_kind(expected: Kind, text: &str) -> Result<(), TextError> {
    match Kind::of(text) {
        Some(kind) if kind == expected => Ok(()),
        Some(found) => Err(TextError::WrongKind { expected, found }),
        None => Err(TextError::Unknown(expected)),
    }
}

//# TEXT-5: A reader MUST take a text in small letters and one in capital letters, and refuse
//# one that mixes them. A writer writes small letters.
fn check_characters(kind: Kind, text: &str) -> Result<(), TextError> {
    let behind = kind.prefix().len().saturating_add(1);
    let wrong = |char: char| Fe32::from_char(char).is_err();
    if let Some(at) = text.chars().skip(behind).position(wrong) {
        let place = behind.saturating_add(at).saturating_add(1);
        return Err(TextError::Character { kind, place });
    }
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) {
        return Err(TextError::MixedCase(kind));
    }
    Ok(())
}
