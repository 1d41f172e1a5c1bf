//! A record's head: the signed statement "this name, at this version, is that
//! content", verified alone and without keys.
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
use core::convert::Infallible;

use bytes::Bytes;
use minicbor::{Decoder, Encoder, decode, encode};

use super::error::RecordError;
use super::keys::Writer;
use super::manifest::DEPTH_MAX;
use super::record::{CONTENT_MAX, META_MAX};
use super::signature::verify_signature;
use crate::bug::{self, Bug};
use crate::disk::{RecordKey, StoredRecord};
use crate::id::{BlobId, NameTag, NamespaceId, PutId};
use crate::version::{RecordId, Version};

/// Most bytes of a head without its signature.
pub const HEAD_MAX: usize = 2048;
/// Most bytes of a head with its signature.
pub const SIGNED_HEAD_MAX: usize = HEAD_MAX + SIGNATURE;

const SIGNATURE: usize = 64;
/// What a head's signature covers before the head itself.
const DOMAIN: &[u8] = b"peerhold 2026-11 record head\0";
const FORMAT: u64 = 1;
/// AES-256-CTR, BLAKE3, Ed25519.
const SUITE: u64 = 1;
const FIELDS: u64 = 14;

/// What a record says about its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// It has this content.
    Put,
    /// It is gone.
    Remove,
}

/// The top of a file's tree as replicas see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootRef {
    /// The root blob.
    pub blob: BlobId,
    /// Levels of manifest nodes above the chunks; 0: the root is a chunk.
    pub depth: u8,
}

/// The fields of a record's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which of the namespace's successive keys sealed the body.
    pub epoch: u32,
    /// The owner, whose key signs.
    pub namespace: NamespaceId,
    /// The name.
    pub tag: NameTag,
    /// The record's place in the name's history.
    pub version: Version,
    /// The put or removal that made it.
    pub put: PutId,
    /// What it says.
    pub kind: RecordKind,
    /// Versions of this name below this one are dead.
    pub floor: Version,
    /// The file's tree; none where the record holds the file or removes it.
    pub root: Option<RootRef>,
    /// For later use: kept as it is, ignored by who does not know it.
    pub ext: Bytes,
    /// The synthetic IV of the body.
    pub siv: [u8; 32],
    /// BLAKE3 of the sealed meta.
    pub meta_hash: [u8; 32],
    /// BLAKE3 of the sealed content.
    pub content_hash: [u8; 32],
}

/// A head whose signature was checked, and the bytes it came in.
///
/// The bytes are kept and passed on as received. They are a slice of the
/// buffer that was handed in: copy them first where that is much larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    bytes: Bytes,
    hash: [u8; 32],
}

impl SignedHead {
    /// Checks a head that is followed by its signature.
    pub fn verify(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > SIGNED_HEAD_MAX {
            return Err(RecordError::HeadLength(
                bytes.len().saturating_sub(SIGNATURE),
            ));
        }
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE>() else {
            return Err(RecordError::HeadLength(0));
        };
        let head = Head::decode(signed)?;
        //# SEAL-16: A head MUST be followed by the Ed25519 signature of its
        //# namespace over the domain string and the head, verified strictly: no
        //# small-order points, no non-canonical scalar.
        let signed_by = verify_signature(head.namespace.as_bytes(), &message(signed), signature);
        if !signed_by && !bug::on(Bug::SignatureUnchecked) {
            return Err(RecordError::Signature);
        }
        let hash = blake3::hash(signed).into();
        Ok(Self { head, bytes, hash })
    }

    /// Checks the head of a stored record, and that the record is stored under
    /// the key, version and hash that its head bears out. Its other parts are
    /// not looked at.
    pub fn from_stored(stored: &StoredRecord) -> Result<Self, RecordError> {
        let head = Self::verify(stored.head.clone())?;
        if head.key() != stored.key || head.id() != stored.id() {
            return Err(RecordError::OtherRecord);
        }
        Ok(head)
    }

    pub(super) fn sign(writer: &Writer, head: Head) -> Result<Self, RecordError> {
        let mut bytes = head.encode();
        let decoded = Head::decode(&bytes)?;
        let signature = writer.sign(&message(&bytes));
        let hash = blake3::hash(&bytes).into();
        bytes.extend_from_slice(&signature);
        Ok(Self {
            head: decoded,
            bytes: bytes.into(),
            hash,
        })
    }

    /// The fields.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Head and signature, as received: what is stored and sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// BLAKE3 of the head without its signature: which record it is.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The name that it speaks of.
    pub fn key(&self) -> RecordKey {
        RecordKey {
            namespace: self.head.namespace,
            tag: self.head.tag,
        }
    }

    /// Its place in the name's history.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Its place in the history of its name: version, then hash.
    pub fn id(&self) -> RecordId {
        RecordId {
            version: self.head.version,
            head: self.hash,
        }
    }

    /// Whether this sealed meta is the one that the head signs.
    pub fn check_meta(&self, meta: &[u8]) -> Result<(), RecordError> {
        if meta.len() > META_MAX {
            return Err(RecordError::MetaLength(meta.len()));
        }
        if *blake3::hash(meta).as_bytes() != self.head.meta_hash {
            return Err(RecordError::OtherMeta);
        }
        Ok(())
    }

    /// Whether these sealed parts are the ones that the head signs: all that a
    /// replica without keys checks.
    //# SEAL-17: A sealed part whose BLAKE3 hash is not the one in the head, a
    //# meta above 2,048 bytes and a content above 16,384 bytes MUST NOT be
    //# decrypted, kept or passed on.
    pub fn check_parts(&self, meta: &[u8], content: &[u8]) -> Result<(), RecordError> {
        self.check_meta(meta)?;
        if content.len() > CONTENT_MAX {
            return Err(RecordError::ContentLength(content.len()));
        }
        if *blake3::hash(content).as_bytes() != self.head.content_hash {
            return Err(RecordError::OtherContent);
        }
        Ok(())
    }
}

impl Head {
    /// The head's one encoding, without a signature.
    pub fn encode(&self) -> Vec<u8> {
        cbor(|e| {
            self.encode_bound(e)?;
            e.bytes(&self.siv)?
                .bytes(&self.meta_hash)?
                .bytes(&self.content_hash)?
                .ok()
        })
    }

    /// Reads a head and checks all that can be checked without its signature.
    //# SEAL-14: A head MUST be at most 2,048 bytes and exactly its fields, in
    //# order, as one CBOR array of definite length with shortest integers: no
    //# other encoding of them, no further field, no trailing byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.is_empty() || bytes.len() > HEAD_MAX {
            return Err(RecordError::HeadLength(bytes.len()));
        }
        let mut d = Decoder::new(bytes);
        let malformed = |_| RecordError::Head;
        d.array().map_err(malformed)?;
        match d.u64().map_err(malformed)? {
            FORMAT => {}
            other => return Err(RecordError::Format(other)),
        }
        match d.u64().map_err(malformed)? {
            SUITE => {}
            other => return Err(RecordError::Suite(other)),
        }
        let head = Self::decode_fields(&mut d)?;
        // A longer array, a longer integer or a byte behind: all are seen here.
        if head.encode() != bytes {
            return Err(RecordError::Head);
        }
        head.check()?;
        Ok(head)
    }

    /// The encoding up to and without `siv`: what the synthetic IV covers.
    pub(super) fn bound(&self) -> Vec<u8> {
        cbor(|e| self.encode_bound(e))
    }

    fn encode_bound(&self, e: &mut Encoder<&mut Vec<u8>>) -> Result<(), Failed> {
        e.array(FIELDS)?.u64(FORMAT)?.u64(SUITE)?.u32(self.epoch)?;
        e.bytes(self.namespace.as_bytes())?
            .bytes(self.tag.as_bytes())?;
        e.bytes(&self.version.to_bytes())?
            .bytes(self.put.as_bytes())?;
        e.u8(self.kind.number())?.bytes(&self.floor.to_bytes())?;
        match &self.root {
            None => e.null()?,
            Some(root) => e.array(2)?.bytes(root.blob.as_bytes())?.u8(root.depth)?,
        };
        e.bytes(&self.ext)?.ok()
    }

    //# SEAL-24: A record MUST NOT be refused, dropped, changed or put behind another for its
    //# epoch or its ext, whatever they are, and it is opened with the keys that the reader
    //# has.
    fn decode_fields(d: &mut Decoder<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            epoch: d.u32().map_err(|_| RecordError::Head)?,
            namespace: NamespaceId(fixed(d)?),
            tag: NameTag(fixed(d)?),
            version: Version::from_bytes(fixed(d)?),
            put: PutId(fixed(d)?),
            kind: match d.u64().map_err(|_| RecordError::Head)? {
                1 => RecordKind::Put,
                2 => RecordKind::Remove,
                other => return Err(RecordError::Kind(other)),
            },
            floor: Version::from_bytes(fixed(d)?),
            root: root(d)?,
            ext: Bytes::copy_from_slice(d.bytes().map_err(|_| RecordError::Head)?),
            siv: fixed(d)?,
            meta_hash: fixed(d)?,
            content_hash: fixed(d)?,
        })
    }

    //# SEAL-15: A head MUST have a version above zero, a floor not above it, no
    //# root if it removes, and a root of depth 0 to 8 otherwise or none.
    fn check(&self) -> Result<(), RecordError> {
        if self.version == Version::ZERO {
            return Err(RecordError::NoVersion);
        }
        if self.floor > self.version {
            return Err(RecordError::BelowFloor);
        }
        match self.root {
            Some(_) if self.kind == RecordKind::Remove => Err(RecordError::RemovedContent),
            Some(root) if root.depth > DEPTH_MAX => Err(RecordError::Depth(root.depth)),
            _ => Ok(()),
        }
    }
}

impl RecordKind {
    fn number(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Remove => 2,
        }
    }
}

/// Encoding into memory has no way to fail.
pub(super) type Failed = encode::Error<Infallible>;

pub(super) fn cbor(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), Failed>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    // A vector takes every write.
    let _ = write(&mut Encoder::new(&mut bytes));
    bytes
}

fn message(head: &[u8]) -> Vec<u8> {
    [DOMAIN, head].concat()
}

fn root(d: &mut Decoder<'_>) -> Result<Option<RootRef>, RecordError> {
    let parse = |d: &mut Decoder<'_>| -> Result<bool, decode::Error> {
        match d.datatype()? {
            minicbor::data::Type::Null => d.null().map(|()| false),
            _ => d.array().map(|_| true),
        }
    };
    if !parse(d).map_err(|_| RecordError::Head)? {
        return Ok(None);
    }
    let blob = BlobId(fixed(d)?);
    let depth = d.u8().map_err(|_| RecordError::Head)?;
    Ok(Some(RootRef { blob, depth }))
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], RecordError> {
    let bytes = d.bytes().map_err(|_| RecordError::Head)?;
    bytes.try_into().map_err(|_| RecordError::Head)
}
