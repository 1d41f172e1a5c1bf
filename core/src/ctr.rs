//! AES-256 in counter mode (NIST SP 800-38A, 6.5), in place, from any byte on.
//!
//! This only makes keystream. It authenticates nothing, and whoever picks key
//! and IV answers for never covering two plaintexts with one keystream.

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use ctr::{Ctr64BE, Ctr128BE};
use zeroize::ZeroizeOnDrop;

use core::fmt;

/// Counter blocks that byte offsets below 2^64 reach, from the first on.
const REACHABLE_BLOCKS: u64 = 1 << 60;

/// One keystream and a position in it.
///
/// The counter is a 128-bit big-endian integer that starts at the IV, grows by
/// one per 16 bytes and wraps to zero. Offsets are bytes, below 2^64. Key and
/// keystream are wiped on drop.
pub struct CtrStream {
    cipher: Cipher,
    position: u64,
}

/// Why keystream could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CtrError {
    /// The data would reach past byte 2^64 - 1 of the keystream. Neither the
    /// data nor the position has changed.
    #[error("{len} bytes at offset {position} reach past the end of the keystream")]
    EndOfKeystream {
        /// Where the stream stands, in bytes.
        position: u64,
        /// Bytes asked for.
        len: usize,
    },
}

enum Cipher {
    /// Counts in the low 64 bits alone: the same keystream as long as they do
    /// not wrap, and about a third faster.
    Low(Ctr64BE<Aes256>),
    Full(Ctr128BE<Aes256>),
}

impl CtrStream {
    /// The keystream of this key and initial counter block, at offset 0.
    pub fn new(key: &[u8; 32], iv: &[u8; 16]) -> Self {
        let low = u128::from_be_bytes(*iv) as u64;
        let cipher = if low.checked_add(REACHABLE_BLOCKS).is_some() {
            Cipher::Low(Ctr64BE::new(key.into(), iv.into()))
        } else {
            Cipher::Full(Ctr128BE::new(key.into(), iv.into()))
        };
        Self {
            cipher,
            position: 0,
        }
    }

    /// The byte offset that [`CtrStream::apply`] starts from.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to the byte `offset` of the keystream, at the cost of at most one
    /// block.
    pub fn seek(&mut self, offset: u64) {
        let result = match &mut self.cipher {
            Cipher::Low(cipher) => cipher.try_seek(offset),
            Cipher::Full(cipher) => cipher.try_seek(offset),
        };
        // Only a block number that does not fit the counter could fail.
        result.expect("64-bit byte offsets reach fewer than 2^64 blocks");
        self.position = offset;
    }

    /// Combines `data` with the keystream from here on and goes past it.
    /// Sealing and opening are the same.
    pub fn apply(&mut self, data: &mut [u8]) -> Result<(), CtrError> {
        let end = CtrError::EndOfKeystream {
            position: self.position,
            len: data.len(),
        };
        let len = u64::try_from(data.len()).map_err(|_| end)?;
        let after = self.position.checked_add(len).ok_or(end)?;
        match &mut self.cipher {
            Cipher::Low(cipher) => cipher.try_apply_keystream(data),
            Cipher::Full(cipher) => cipher.try_apply_keystream(data),
        }
        .map_err(|_| end)?;
        self.position = after;
        Ok(())
    }
}

/// The position alone: everything else is secret.
impl fmt::Debug for CtrStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtrStream")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl ZeroizeOnDrop for CtrStream {}

/// The promise above is kept by the parts.
const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Ctr64BE<Aes256>>();
    wiped::<Ctr128BE<Aes256>>();
};
