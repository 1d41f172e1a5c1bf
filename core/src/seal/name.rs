//! What an owner calls a file.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::sync::Arc;
use core::fmt;

/// A file's name: 1 to [`Name::MAX`] bytes of UTF-8 without NUL.
///
/// Names are compared byte by byte: nothing is normalized, folded or split at
/// slashes. A name never leaves its writer in clear and never becomes a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Bytes of the longest name.
    pub const MAX: usize = 1024;

    /// Takes a name as it is, or says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::MAX {
            return Err(NameError::TooLong { len: name.len() });
        }
        match name.bytes().position(|byte| byte == 0) {
            Some(at) => Err(NameError::Nul { at }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Quoted and escaped: a name cannot forge a line of a log.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no bytes.
    #[error("a name must not be empty")]
    Empty,
    /// It has more than [`Name::MAX`] bytes.
    #[error("a name has at most {max} bytes, this one has {len}", max = Name::MAX)]
    TooLong {
        /// How many it has.
        len: usize,
    },
    /// It has a NUL in it.
    #[error("a name must not contain a NUL, this one has one at byte {at}")]
    Nul {
        /// Where the first one is.
        at: usize,
    },
}
