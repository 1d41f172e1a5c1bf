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
pub fn verify_signature(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        VerifyingKey::from_bytes(public),
        Signature::from_slice(signature),
    ) else {
        return false;
    };
    key.verify_strict(message, &signature).is_ok()
}
