//! Chunks: pieces of a file's plaintext, each sealed into one blob; and the
//! header that every blob begins with.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf, Bytes, BytesMut};

use super::cipher::{self, KeystreamEnd};
use super::error::{HeaderError, OpenError, SealError};
use super::keys::{BlobKey, Reader};
use super::manifest::Entry;
use crate::id::BlobId;

/// Bytes of a blob's header.
pub const BLOB_HEADER: usize = 8;
/// Most bytes that a blob carries behind its header: 1 MiB.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// Most bytes of a blob.
pub const BLOB_MAX: usize = BLOB_HEADER + PAYLOAD_MAX;

const MAGIC: [u8; 2] = *b"Ph";
const FORMAT: u8 = 1;

/// A blob that was sealed, and what its parent must keep about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBlob {
    /// BLAKE3 of `bytes`.
    pub id: BlobId,
    /// What opens it. Whoever has it can read the blob.
    pub key: BlobKey,
    /// Bytes of the file that it covers: a chunk's plaintext length, or the
    /// sum under a manifest node.
    pub len: u64,
    /// The blob, header included: what replicas store.
    pub bytes: Bytes,
}

impl SealedBlob {
    /// What a manifest node keeps about it.
    pub fn entry(&self) -> Entry {
        Entry {
            id: self.id,
            key: self.key.clone(),
            len: self.len,
        }
    }
}

/// Gathers one chunk's plaintext behind room for the header, so that sealing
/// happens in place.
#[derive(Debug)]
pub struct ChunkBuffer {
    bytes: BytesMut,
    chunk_size: usize,
}

impl ChunkBuffer {
    /// A buffer for up to `chunk_size` bytes of plaintext, and at most
    /// [`PAYLOAD_MAX`]. Allocates all of it at once.
    pub fn with_capacity(chunk_size: usize) -> Self {
        let chunk_size = chunk_size.min(PAYLOAD_MAX);
        let mut bytes = BytesMut::with_capacity(BLOB_HEADER.saturating_add(chunk_size));
        bytes.resize(BLOB_HEADER, 0);
        Self { bytes, chunk_size }
    }

    /// Takes as much of `data` as there is room for and says how much that
    /// was.
    #[must_use = "what did not fit belongs into the next chunk"]
    pub fn extend(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(self.remaining());
        self.bytes
            .extend_from_slice(data.get(..taken).unwrap_or_default());
        taken
    }

    /// Bytes of plaintext gathered.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(BLOB_HEADER)
    }

    /// Nothing is gathered yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.chunk_size.saturating_sub(self.len())
    }

    /// The plaintext, for a file so small that its record holds it.
    pub fn into_plain(mut self) -> Bytes {
        self.bytes.advance(BLOB_HEADER);
        self.bytes.freeze()
    }
}

/// Seals one chunk in place.
///
/// The plaintext is followed by zeroes up to a multiple of `pad_to` bytes, at
/// most [`PAYLOAD_MAX`]; 0 and 1 add none. Padding beyond the buffer's chunk
/// size costs a copy.
pub fn seal_chunk(
    reader: &Reader,
    plain: ChunkBuffer,
    pad_to: usize,
) -> Result<SealedBlob, SealError> {
    let len = plain.len();
    if len == 0 {
        return Err(SealError::EmptyChunk);
    }
    let mut bytes = plain.bytes;
    //# SEAL-6: A chunk's plaintext MAY be followed by zero bytes, up to 1 MiB in
    //# all; they are sealed with it and count as payload.
    let payload = len
        .checked_next_multiple_of(pad_to.max(1))
        .map_or(PAYLOAD_MAX, |padded| padded.min(PAYLOAD_MAX));
    bytes.resize(BLOB_HEADER.saturating_add(payload), 0);
    let (header, covered) = bytes.split_at_mut(BLOB_HEADER);
    header.copy_from_slice(
        &BlobHeader {
            kind: BlobKind::Chunk,
            payload: payload as u32,
        }
        .to_bytes(),
    );
    //# SEAL-5: A chunk's key MUST be `keyed_hash(chunk root, payload)`, the
    //# payload being the plaintext with its padding: exactly what the cipher
    //# covers.
    let key = reader.chunk_key(covered);
    cipher::apply(key.expose(), 0, covered)?;
    Ok(SealedBlob {
        id: BlobId::of(&bytes),
        key,
        len: len as u64,
        bytes: bytes.freeze(),
    })
}

/// Opens a chunk of `len` bytes of plaintext.
///
/// The bytes are checked against `id` first; `verified` says that the caller's
/// store has just done so. They are opened in place if nothing else holds
/// them, with one copy otherwise.
pub fn open_chunk(
    id: &BlobId,
    key: &BlobKey,
    len: u32,
    bytes: Bytes,
    verified: bool,
) -> Result<Bytes, OpenError> {
    //# SEAL-7: Bytes whose BLAKE3 hash is not the blob's id MUST NOT be
    //# decrypted, kept or passed on.
    if !verified && BlobId::of(&bytes) != *id {
        return Err(OpenError::OtherBlob);
    }
    let header = BlobHeader::parse(&bytes)?;
    if header.kind != BlobKind::Chunk {
        return Err(OpenError::Manifest);
    }
    if len == 0 || len > header.payload {
        return Err(OpenError::Length {
            len,
            payload: header.payload,
        });
    }
    let mut plain = match bytes.try_into_mut() {
        Ok(mut unique) => {
            unique.advance(BLOB_HEADER);
            unique
        }
        Err(shared) => BytesMut::from(shared.get(BLOB_HEADER..).unwrap_or_default()),
    };
    cipher::apply(key.expose(), 0, &mut plain)?;
    let padding = plain.get(len as usize..).unwrap_or_default();
    //# SEAL-8: What lies beyond a chunk's plaintext length MUST be zero; a reader
    //# refuses anything else, and drops it.
    if padding.iter().any(|byte| *byte != 0) {
        return Err(OpenError::Padding);
    }
    plain.truncate(len as usize);
    Ok(plain.freeze())
}

/// Whether these bytes are a well-formed blob of this id: all that a replica
/// without keys checks, and what it must check before it keeps them.
pub fn verify_blob(id: &BlobId, bytes: &[u8]) -> bool {
    BlobHeader::parse(bytes).is_ok() && BlobId::of(bytes) == *id
}

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlobKind {
    /// A piece of a file.
    Chunk,
    /// A node of a file's manifest.
    Manifest,
}

/// The first [`BLOB_HEADER`] bytes of a blob.
///
/// Two bytes of magic, format, kind, and the length of what follows as 32 bits
/// big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// What the blob is.
    pub kind: BlobKind,
    /// Bytes behind the header, 1 to [`PAYLOAD_MAX`].
    pub payload: u32,
}

impl BlobHeader {
    /// Reads the header of a whole blob, which must be exactly as long as it
    /// says.
    //# SEAL-4: A blob MUST begin with the 8-byte header and have exactly as many
    //# bytes behind it as it states, 1 to 1,048,576.
    pub fn parse(blob: &[u8]) -> Result<Self, HeaderError> {
        let Some((header, payload)) = blob.split_first_chunk::<BLOB_HEADER>() else {
            return Err(HeaderError::Short { len: blob.len() });
        };
        let [m0, m1, format, kind, len @ ..] = *header;
        if [m0, m1] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        let kind = match kind {
            1 => BlobKind::Chunk,
            2 => BlobKind::Manifest,
            other => return Err(HeaderError::Kind(other)),
        };
        let stated = u32::from_be_bytes(len);
        if stated == 0 || stated as usize > PAYLOAD_MAX {
            return Err(HeaderError::Payload(stated));
        }
        if payload.len() != stated as usize {
            return Err(HeaderError::Length {
                stated,
                actual: payload.len(),
            });
        }
        Ok(Self {
            kind,
            payload: stated,
        })
    }

    pub(super) fn to_bytes(self) -> [u8; BLOB_HEADER] {
        let kind = match self.kind {
            BlobKind::Chunk => 1,
            BlobKind::Manifest => 2,
        };
        let [a, b, c, d] = self.payload.to_be_bytes();
        let [m0, m1] = MAGIC;
        [m0, m1, FORMAT, kind, a, b, c, d]
    }
}

impl From<KeystreamEnd> for SealError {
    fn from(_: KeystreamEnd) -> Self {
        Self::Keystream
    }
}

impl From<KeystreamEnd> for OpenError {
    fn from(_: KeystreamEnd) -> Self {
        Self::Keystream
    }
}
