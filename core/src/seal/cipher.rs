//! The one place where sealing meets its cipher.

use crate::bug::{self, Bug};
use crate::ctr::CtrStream;

/// The keystream of a zero IV ends before the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeystreamEnd;

/// Applies the AES-256-CTR keystream of `key` from its byte `offset` on, which
/// both seals and opens. `buf` is unchanged on error.
//# SEAL-2: Every key is used with AES-256 in CTR mode (NIST SP 800-38A), a
//# 128-bit big-endian counter and an initial counter block of zero, and a key
//# MUST be derived from the very plaintext that it covers.
pub(super) fn apply(key: &[u8; 32], offset: u64, buf: &mut [u8]) -> Result<(), KeystreamEnd> {
    if bug::on(Bug::LeftInClear) {
        return Ok(());
    }
    let mut stream = CtrStream::new(key, &[0; 16]);
    stream.seek(offset);
    stream.apply(buf).map_err(|_| KeystreamEnd)
}
