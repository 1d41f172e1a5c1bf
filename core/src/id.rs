//! Names of things: 32-byte identities that travel, and small counters that
//! a node mints for its driver.
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
use core::num::NonZeroU64;

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// How many bytes it has.
            pub const LEN: usize = $len;

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// All bytes in lower-case hex: for paths and other machines'
            /// formats. What people see is the text form of [`crate::text`].
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let at = d.position();
                let bytes = d.bytes()?;
                let wrong = |_| minicbor::decode::Error::message(concat!("wrong length of ", stringify!($name))).at(at);
                bytes.try_into().map(Self).map_err(wrong)
            }
        }
    };
}

bytes_id!(
    /// A node: its Ed25519 public key.
    NodeId,
    32
);
bytes_id!(
    /// One owner's files: the Ed25519 public key that signs their records.
    NamespaceId,
    32
);
bytes_id!(
    /// A blob: BLAKE3-256 of its bytes.
    BlobId,
    32
);
bytes_id!(
    /// A file's name as replicas see it: a keyed hash under the namespace's
    /// name key.
    NameTag,
    32
);
bytes_id!(
    /// One put: 16 random bytes drawn when it starts.
    PutId,
    16
);

impl BlobId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

macro_rules! counter_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The counter's value, for logs and for a driver's own tables.
            pub const fn get(self) -> u64 {
                self.0.get()
            }

            /// One that stands on a tape.
            pub(crate) const fn from_number(number: NonZeroU64) -> Self {
                Self(number)
            }

            pub(crate) fn from_mint(mint: &mut Mint) -> Self {
                Self(mint.next())
            }
        }
    };
}

counter_id!(
    /// A connection, minted by the node and never used twice by it.
    ConnId
);
counter_id!(
    /// An operation that the embedder started, minted by the node and never
    /// used twice by it.
    OpId
);

/// All bytes in lower-case hex: replicas' own word, which people hardly meet.
impl fmt::Display for NameTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// The first four bytes: enough to tell things apart in a log.
impl fmt::Debug for NameTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameTag({}..)", hex(&self.0[..4]))
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // A string takes what is written to it.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The node's one source of counter values.
#[derive(Debug)]
pub(crate) struct Mint(NonZeroU64);

impl Mint {
    pub(crate) const fn new() -> Self {
        Self(NonZeroU64::MIN)
    }

    pub(crate) fn next(&mut self) -> NonZeroU64 {
        let value = self.0;
        self.0 = self.0.saturating_add(1);
        value
    }
}
