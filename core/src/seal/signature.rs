//! Signatures, as the whole project verifies them: of heads, grants and channels.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use ed25519_dalek::{Signature, VerifyingKey};

/// Whether `signature` is the Ed25519 signature (RFC 8032, section 5.1.7) of
/// `message` by the key `public`, verified strictly: no key or point of small
/// order, for which anybody can sign, no second form of a point or a scalar,
/// no trailing byte.
#[cfg(not(feature = "memo"))]
pub fn verify_signature(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    is_valid(public, message, signature)
}

/// As without the feature `memo`, but for the time that it takes.
#[cfg(feature = "memo")]
pub fn verify_signature(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    memo::remember(public, message, signature, is_valid)
}

fn is_valid(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        VerifyingKey::from_bytes(public),
        Signature::from_slice(signature),
    ) else {
        return false;
    };
    key.verify_strict(message, &signature).is_ok()
}

/// What a thread has found valid.
#[cfg(feature = "memo")]
mod memo {
    use alloc::collections::BTreeSet;
    use core::cell::RefCell;

    /// How many a thread remembers before it begins anew.
    const MAX: usize = 1 << 16;

    std::thread_local! {
        static VALID: RefCell<BTreeSet<[u8; 32]>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// What `check` says of these, which it is asked only until it has said that
    /// they are valid.
    pub(super) fn remember(
        public: &[u8; 32],
        message: &[u8],
        signature: &[u8],
        check: fn(&[u8; 32], &[u8], &[u8]) -> bool,
    ) -> bool {
        // The two whose lengths vary have theirs before them.
        let mut hasher = blake3::Hasher::new();
        hasher.update(public);
        for part in [message, signature] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let key = *hasher.finalize().as_bytes();
        VALID.with_borrow_mut(|valid| {
            if valid.contains(&key) {
                return true;
            }
            let found = check(public, message, signature);
            if valid.len() >= MAX {
                valid.clear();
            }
            if found {
                valid.insert(key);
            }
            found
        })
    }
}
