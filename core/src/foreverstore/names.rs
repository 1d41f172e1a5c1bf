//! Whose files, which of them, and where they lie.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::format;
use alloc::string::String;
use core::fmt;

use md5::{Digest, Md5};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ctr::CtrStream;
use crate::path::{CasPath, sha1_path};

/// The id of a node of the Go program, under which its files lie: 32 bytes, on
/// wire and disk 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub [u8; 32]);

impl OwnerId {
    /// The id that these 64 lower-case hex digits are.
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// The 64 digits.
impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// The first four bytes: enough to tell owners apart in a log.
impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerId(")?;
        hex(&self.0[..4], f)?;
        f.write_str("..)")
    }
}

/// A file's name as peers see it: the MD5 of the name, on the wire 32
/// lower-case hex digits.
///
/// MD5 hides nothing: whoever guesses a name can confirm it, and two names can
/// be made that share a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub [u8; 16]);

impl FileKey {
    //# GO-6: A message's `Key` is the MD5 of the file's name, its `ID` the id of the node
    //# that owns the file, both in lower-case hex: 32 and 64 digits. A receiver MUST refuse
    //# any other.
    /// The key of the file of this name.
    pub fn of(name: &str) -> Self {
        Self(Md5::digest(name).into())
    }

    /// The key that these 32 lower-case hex digits are.
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// The 32 digits.
impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({self})")
    }
}

/// The key with which a node of the Go program seals its files for its peers:
/// 32 bytes of AES-256. It never changes while there are files sealed with it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OwnerKey([u8; 32]);

impl OwnerKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key that these 64 lower-case hex digits are.
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }

    /// What seals and opens a file whose sealed form begins with this IV.
    pub fn stream(&self, iv: &[u8; 16]) -> CtrStream {
        CtrStream::new(&self.0, iv)
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(..)")
    }
}

/// Where a file lies below the root of a node's files: the owner's 64 digits,
/// `/`, and a [`CasPath`]. Made of hex digits and `/` alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    //# GO-11: Below its root a node keeps a peer's file, the bytes as they came, at the
    //# owner's id, `/`, and the path that PATH-4 gives the key's 32 digits. It keeps a file
    //# of its own, in plaintext, at its own id, `/`, and the path that PATH-4 gives the name.
    /// Where a peer keeps the file of this key for its owner.
    pub fn replica(owner: &OwnerId, key: &FileKey) -> Self {
        Self::new(owner, &sha1_path(&format!("{key}")))
    }

    /// Where its owner keeps the file of this name.
    pub fn own(owner: &OwnerId, name: &str) -> Self {
        Self::new(owner, &sha1_path(name))
    }

    fn new(owner: &OwnerId, path: &CasPath) -> Self {
        Self(format!("{owner}/{path}"))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The paths of the folders that lead to the file, the outermost first.
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .match_indices('/')
            .filter_map(|(at, _)| self.0.get(..at))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != N.saturating_mul(2) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        // Capital letters are another form.
        b'A'..=b'F' => None,
        _ => char::from(byte).to_digit(16).map(|digit| digit as u8),
    }
}
