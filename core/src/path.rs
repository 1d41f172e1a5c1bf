//! Where a store keeps a blob: content-addressed paths (PROTOCOL.md, "Paths on
//! disk").
//!
//! A [`CasPath`] is made of hex digits of a hash and nothing else, so no text
//! of a peer or user can leave the store's folder, collide with its other
//! files, or grow long.
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
use core::fmt::{self, Write};

use sha1::{Digest, Sha1};

use crate::id::BlobId;

/// How ids become paths. A store has one layout for life and remembers it by
/// [`Layout::name`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// One folder of the first two digits, then the id: `ab/abcdef..`.
    #[default]
    Flat,
    /// The eight folders that the Go program's transform gives the id's hex
    /// text, then the id. SHA-1 only places the file: the id is its name, so
    /// two ids never share a file even where their SHA-1 is the same.
    Sha1,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 2] = [Self::Flat, Self::Sha1];

    /// The name by which a store remembers its layout.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Sha1 => "sha1-5x8",
        }
    }

    /// The layout of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// Where a blob lies, below the store's folder for blobs.
    pub fn path(self, id: &BlobId) -> CasPath {
        let name = id.to_hex();
        match self {
            //# PATH-2: The layout `flat` keeps a blob at the first two digits of its id, then
            //# the whole id.
            Self::Flat => CasPath::new(&name, FLAT_FOLDER, 1, &name),
            //# PATH-3: The layout `sha1-5x8` keeps a blob in the eight folders that
            //# PATH-4 gives the id's 64 digits; the file's name is the whole id. So
            //# two ids whose SHA-1 collides share folders and never a file.
            Self::Sha1 => CasPath::new(&sha1_hex(&name), SHA1_FOLDER, SHA1_FOLDERS, &name),
        }
    }
}

/// The name, see [`Layout::name`].
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The path that the Go program gives to any key: the lower-case hex SHA-1 of
/// the key, cut into eight folders of five digits, then the whole hash.
///
/// For what that program shares with us, and nothing else: who can choose keys
/// can make two of them share a path (SHA-1 collisions).
pub fn sha1_path(key: &str) -> CasPath {
    //# PATH-4: The Go program keeps a key at the lower-case hex SHA-1 of its UTF-8 text, cut
    //# into eight folders of five digits each, then the whole hash.
    let hash = sha1_hex(key);
    CasPath::new(&hash, SHA1_FOLDER, SHA1_FOLDERS, &hash)
}

const FLAT_FOLDER: usize = 2;
const SHA1_FOLDER: usize = 5;
const SHA1_FOLDERS: usize = 8;

//# PATH-1: A path MUST consist of lower-case hex digits of a hash and of `/` between its
//# parts. No text of a peer or user becomes part of one.
/// A relative path made of a hash: folders and a file name of lower-case hex
/// digits, joined by `/`. At most [`CasPath::LEN_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CasPath(String);

impl CasPath {
    /// Most bytes that a path has.
    pub const LEN_MAX: usize = SHA1_FOLDERS * (SHA1_FOLDER + 1) + 2 * BlobId::LEN;

    /// `folders` folders of `width` digits from the front of `digits`, then
    /// `name`.
    fn new(digits: &str, width: usize, folders: usize, name: &str) -> Self {
        let mut path = String::with_capacity(Self::LEN_MAX);
        let mut digits = digits.chars();
        for _ in 0..folders {
            path.extend(digits.by_ref().take(width));
            path.push('/');
        }
        path.push_str(name);
        Self(path)
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folders from the outermost on, then the file's name.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The file's name: the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The paths of the folders that lead to the file, the outermost first:
    /// the order to create them in, and the reverse of that to remove them in.
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0
            .match_indices('/')
            .filter_map(|(at, _)| self.0.get(..at))
    }
}

impl fmt::Display for CasPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for CasPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn sha1_hex(text: &str) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(text) {
        // A string takes what is written to it.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
