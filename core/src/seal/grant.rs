//! A grant: a namespace's signed leave to keep so many bytes for one of its
//! puts, until some time. Replicas keep nothing for a put without one.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::vec::Vec;

use bytes::Bytes;
use minicbor::{Decoder, Encoder};

use super::chunk::BLOB_MAX;
use super::error::GrantError;
use super::head::{Failed, Head, cbor};
use super::keys::Writer;
use super::manifest::FANOUT_MAX;
use super::signature::verify_signature;
use crate::id::{BlobId, NamespaceId, PutId};
use crate::time::UnixMillis;

/// Most bytes of a grant with its signature.
pub const GRANT_MAX: usize = 6 + NamespaceId::LEN + PutId::LEN + 2 * 9 + SIGNATURE;

const SIGNATURE: usize = 64;
/// What a grant's signature covers before the grant itself.
const DOMAIN: &[u8] = b"peerhold 2026-11 grant\0";
const FORMAT: u64 = 1;
/// Ed25519.
const SUITE: u64 = 1;
const FIELDS: u64 = 6;

/// What a grant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The owner, whose key signs and whose bytes they are.
    pub namespace: NamespaceId,
    /// The put that needs them.
    pub put: PutId,
    /// How many bytes of blobs, headers included, one replica may keep for it.
    pub limit: u64,
    /// Until when claims may be made with it.
    pub expires: UnixMillis,
}

impl Grant {
    /// The grant's one encoding, without a signature.
    pub fn encode(&self) -> Vec<u8> {
        let write = |e: &mut Encoder<&mut Vec<u8>>| -> Result<(), Failed> {
            e.array(FIELDS)?.u64(FORMAT)?.u64(SUITE)?;
            e.bytes(self.namespace.as_bytes())?
                .bytes(self.put.as_bytes())?;
            e.u64(self.limit)?.u64(self.expires.0)?.ok()
        };
        cbor(write)
    }

    /// Signs it: grant, then signature. The writer must be the namespace's, or
    /// the signature is nobody's.
    pub fn sign(&self, writer: &Writer) -> Bytes {
        let mut bytes = self.encode();
        let signature = writer.sign(&message(&bytes));
        bytes.extend_from_slice(&signature);
        bytes.into()
    }

    /// Reads a signed grant and leaves the signature unchecked.
    pub fn peek(bytes: &[u8]) -> Result<Self, GrantError> {
        split(bytes).map(|(grant, ..)| grant)
    }

    /// Checks a signed grant.
    pub fn verify(bytes: &[u8]) -> Result<Self, GrantError> {
        let (grant, signed, signature) = split(bytes)?;
        //# GRANT-2: A grant MUST be followed by the Ed25519 signature of its namespace over
        //# the domain string and the grant, verified strictly: no small-order points, no
        //# non-canonical scalar.
        match verify_signature(grant.namespace.as_bytes(), &message(signed), signature) {
            true => Ok(grant),
            false => Err(GrantError::Signature),
        }
    }
}

/// What a signed grant or head lets a put's claims do at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) namespace: NamespaceId,
    pub(crate) put: PutId,
    /// Bytes that may be kept.
    pub(crate) bytes: u64,
    /// Until when; for ever if `None`.
    pub(crate) expires: Option<UnixMillis>,
    /// The one blob that may be, if there is but one.
    pub(crate) only: Option<BlobId>,
}

impl From<&Grant> for Allowance {
    fn from(grant: &Grant) -> Self {
        Self {
            namespace: grant.namespace,
            put: grant.put,
            bytes: grant.limit,
            expires: Some(grant.expires),
            only: None,
        }
    }
}

impl Allowance {
    /// A record's head allows the blobs of its tree, `None`: it has none.
    pub(crate) fn of_head(head: &Head) -> Option<Self> {
        let root = head.root?;
        let mut blobs = 1_u64;
        for _ in 0..root.depth {
            blobs = blobs.saturating_mul(FANOUT_MAX as u64).saturating_add(1);
        }
        Some(Self {
            namespace: head.namespace,
            put: head.put,
            bytes: blobs.saturating_mul(BLOB_MAX as u64),
            expires: None,
            only: (root.depth == 0).then_some(root.blob),
        })
    }
}

/// The grant, the bytes that are signed, and the signature.
fn split(bytes: &[u8]) -> Result<(Grant, &[u8], &[u8; SIGNATURE]), GrantError> {
    if bytes.len() > GRANT_MAX {
        return Err(GrantError::Length(bytes.len()));
    }
    let (signed, signature) = bytes
        .split_last_chunk()
        .ok_or(GrantError::Length(bytes.len()))?;
    Ok((decode(signed)?, signed, signature))
}

//# GRANT-1: A grant MUST be exactly its fields, in order, as one CBOR array of definite
//# length with shortest integers: no other encoding of them, no further field, no trailing
//# byte.
fn decode(bytes: &[u8]) -> Result<Grant, GrantError> {
    let mut d = Decoder::new(bytes);
    let malformed = |_| GrantError::Malformed;
    d.array().map_err(malformed)?;
    match d.u64().map_err(malformed)? {
        FORMAT => {}
        other => return Err(GrantError::Format(other)),
    }
    match d.u64().map_err(malformed)? {
        SUITE => {}
        other => return Err(GrantError::Suite(other)),
    }
    let grant = Grant {
        namespace: NamespaceId(fixed(&mut d)?),
        put: PutId(fixed(&mut d)?),
        limit: d.u64().map_err(malformed)?,
        expires: UnixMillis(d.u64().map_err(malformed)?),
    };
    // A longer array, a longer integer or a byte behind: all are seen here.
    if grant.encode() == bytes {
        Ok(grant)
    } else {
        Err(GrantError::Malformed)
    }
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], GrantError> {
    let bytes = d.bytes().map_err(|_| GrantError::Malformed)?;
    bytes.try_into().map_err(|_| GrantError::Malformed)
}

fn message(grant: &[u8]) -> Vec<u8> {
    [DOMAIN, grant].concat()
}
