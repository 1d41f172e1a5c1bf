//! Records: a signed head, a sealed meta and a sealed content.
//!
//! Meta and content are sealed as one keystream under a key that is derived
//! from both and from the head (a synthetic IV), so no two bodies share a key.
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
use core::fmt;

use bytes::Bytes;
use minicbor::Decoder;
use zeroize::{Zeroize, Zeroizing};

use super::chunk::PAYLOAD_MAX;
use super::cipher::{self, KeystreamEnd};
use super::error::{RecordError, SealError};
use super::head::{Head, RecordKind, RootRef, SignedHead, cbor};
use super::keys::{BlobKey, Reader, Writer};
use super::manifest::{FANOUT_MAX, Root};
use super::name::Name;
use crate::bug::{self, Bug};
use crate::disk::StoredRecord;
use crate::id::PutId;
use crate::time::UnixMillis;
use crate::version::{RecordId, Version};

/// Most bytes of a file that its record holds.
pub const INLINE_MAX: usize = 16 << 10;
/// Most bytes of a sealed content.
pub const CONTENT_MAX: usize = INLINE_MAX;
/// Most bytes of a sealed meta.
pub const META_MAX: usize = 2048;

/// What a record's owner and readers know about a file beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What the file is called.
    pub name: Name,
    /// Its length in bytes; 0 if it was removed.
    pub size: u64,
    /// When it was last changed, as its owner says.
    pub modified: Option<UnixMillis>,
    /// Bytes of each of its chunks but the last, 1 to [`PAYLOAD_MAX`].
    pub chunk_size: u32,
}

/// Where a version's bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// In the record: at most [`INLINE_MAX`] bytes.
    Inline(Bytes),
    /// In a tree of blobs.
    Root(Root),
    /// Nowhere: the name was removed.
    Removed,
}

/// A file that is here is shown by its length alone.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(data) => write!(f, "Inline({} bytes)", data.len()),
            Self::Root(root) => f.debug_tuple("Root").field(root).finish(),
            Self::Removed => f.write_str("Removed"),
        }
    }
}

/// What a record says beside meta and content. Its kind and root follow from
/// the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Which of the namespace's successive keys seals the body; 0 until keys
    /// are rotated.
    pub epoch: u32,
    /// The record's place in the name's history: above zero.
    pub version: Version,
    /// The put or removal that makes it.
    pub put: PutId,
    /// Versions of this name below this one are dead; at most `version`.
    pub floor: Version,
    /// For later use; empty.
    pub ext: Bytes,
}

/// A whole record, verified: its head is signed and its parts are those that
/// the head names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// The signed head.
    pub head: SignedHead,
    /// The sealed meta.
    pub meta: Bytes,
    /// The sealed content.
    pub content: Bytes,
}

impl SealedRecord {
    /// Puts a record together from its received parts and verifies it, without
    /// keys.
    pub fn from_parts(head: Bytes, meta: Bytes, content: Bytes) -> Result<Self, RecordError> {
        let head = SignedHead::verify(head)?;
        head.check_parts(&meta, &content)?;
        Ok(Self {
            head,
            meta,
            content,
        })
    }

    /// Verifies a record that a store gave back whole.
    pub fn from_stored(stored: StoredRecord) -> Result<Self, RecordError> {
        let head = SignedHead::from_stored(&stored)?;
        head.check_parts(&stored.meta, &stored.content)?;
        Ok(Self {
            head,
            meta: stored.meta,
            content: stored.content,
        })
    }

    /// The record as a store keeps it.
    pub fn to_stored(&self) -> StoredRecord {
        let RecordId { version, head } = self.head.id();
        StoredRecord {
            key: self.head.key(),
            version,
            head_hash: head,
            head: self.head.bytes().clone(),
            meta: self.meta.clone(),
            content: self.content.clone(),
        }
    }
}

/// Seals and signs a record.
pub fn seal_record(
    writer: &Writer,
    draft: Draft,
    meta: &Meta,
    content: &Content,
) -> Result<SealedRecord, SealError> {
    meta.check(content)?;
    seal_unchecked(writer, draft, meta, content)
}

/// Opens a record's meta alone: name, size, times.
///
/// The signed head vouches for it towards everyone but the namespace's own
/// writers: only [`open_record`] can recompute the synthetic IV.
pub fn open_meta(reader: &Reader, head: &SignedHead, meta: &[u8]) -> Result<Meta, RecordError> {
    same_namespace(reader, head)?;
    head.check_meta(meta)?;
    let mut meta = Vec::from(meta);
    apply_body(&reader.body_key(&head.head().siv), &mut meta, &mut [])?;
    Meta::open(reader, head, &meta)
}

/// Opens a whole record.
pub fn open_record(
    reader: &Reader,
    head: &SignedHead,
    meta: &[u8],
    content: &[u8],
) -> Result<(Meta, Content), RecordError> {
    same_namespace(reader, head)?;
    head.check_parts(meta, content)?;
    let mut meta = Vec::from(meta);
    let mut content = Zeroizing::new(Vec::from(content));
    apply_body(&reader.body_key(&head.head().siv), &mut meta, &mut content)?;
    //# SEAL-22: Who opens a whole body MUST recompute `siv` and refuse the record
    //# if it differs.
    let siv = reader.siv(&head.head().bound(), &meta, &content);
    if siv != blake3::Hash::from_bytes(head.head().siv) && !bug::on(Bug::OneSiv) {
        return Err(RecordError::Siv);
    }
    let meta = Meta::open(reader, head, &meta)?;
    with_content(head, meta, content)
}

/// Reads a content that was opened, and checks that the meta fits it.
pub(super) fn with_content(
    head: &SignedHead,
    meta: Meta,
    content: Zeroizing<Vec<u8>>,
) -> Result<(Meta, Content), RecordError> {
    let content = Content::decode(head.head(), &meta, content)?;
    meta.check(&content)?;
    Ok((meta, content))
}

fn seal_unchecked(
    writer: &Writer,
    draft: Draft,
    meta: &Meta,
    content: &Content,
) -> Result<SealedRecord, SealError> {
    let reader = writer.reader();
    let mut head = Head {
        epoch: draft.epoch,
        namespace: reader.namespace(),
        tag: reader.tag(&meta.name),
        version: draft.version,
        put: draft.put,
        kind: content.kind(),
        floor: draft.floor,
        root: content.root(),
        ext: draft.ext,
        siv: [0; 32],
        meta_hash: [0; 32],
        content_hash: [0; 32],
    };
    let mut meta = meta.encode();
    let mut content = content.encode();
    //# SEAL-20: `siv` MUST be `keyed_hash(record root, ..)` over the head's
    //# encoding up to `siv`, the meta and the content in clear, each behind its
    //# length in 64 bits.
    let siv = reader.siv(&head.bound(), &meta, &content).into();
    head.siv = bug::or(Bug::OneSiv, [1; 32], siv);
    apply_body(&reader.body_key(&head.siv), &mut meta, &mut content)?;
    head.meta_hash = blake3::hash(&meta).into();
    head.content_hash = blake3::hash(&content).into();
    let head = SignedHead::sign(writer, head)?;
    Ok(SealedRecord {
        head,
        meta: meta.into(),
        content: core::mem::take(&mut *content).into(),
    })
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        cbor(|e| {
            e.array(4)?.str(self.name.as_str())?.u64(self.size)?;
            match self.modified {
                None => e.null()?,
                Some(at) => e.u64(at.0)?,
            };
            e.u32(self.chunk_size)?.ok()
        })
    }

    //# SEAL-18: An opened meta MUST be exactly name, size, time of change in Unix
    //# milliseconds or null, and chunk size (1 to 1,048,576), as one CBOR array
    //# in the encoding that heads have.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut d = Decoder::new(bytes);
        let malformed = |_| RecordError::Meta;
        d.array().map_err(malformed)?;
        let name = Name::new(d.str().map_err(malformed)?)?;
        let size = d.u64().map_err(malformed)?;
        let modified = match d.datatype().map_err(malformed)? {
            minicbor::data::Type::Null => d.null().map(|()| None).map_err(malformed)?,
            _ => Some(UnixMillis(d.u64().map_err(malformed)?)),
        };
        let chunk_size = d.u32().map_err(malformed)?;
        let meta = Self {
            name,
            size,
            modified,
            chunk_size,
        };
        if meta.encode() != bytes {
            return Err(RecordError::Meta);
        }
        if chunk_size == 0 || chunk_size as usize > PAYLOAD_MAX {
            return Err(RecordError::ChunkSize(chunk_size));
        }
        Ok(meta)
    }

    fn open(reader: &Reader, head: &SignedHead, bytes: &[u8]) -> Result<Self, RecordError> {
        let meta = Self::decode(bytes)?;
        //# SEAL-23: Who opens a meta MUST refuse it if its name does not make the
        //# head's tag.
        if reader.tag(&meta.name) != head.head().tag {
            return Err(RecordError::OtherName);
        }
        Ok(meta)
    }

    /// Whether a file of this meta can have this content.
    fn check(&self, content: &Content) -> Result<(), RecordError> {
        if self.chunk_size == 0 || self.chunk_size as usize > PAYLOAD_MAX {
            return Err(RecordError::ChunkSize(self.chunk_size));
        }
        let fits = match content {
            Content::Inline(bytes) if bytes.len() > INLINE_MAX => {
                return Err(RecordError::InlineLength(bytes.len()));
            }
            Content::Inline(bytes) => self.size == bytes.len() as u64,
            Content::Root(root) => self.size == root.len && self.fits_tree(root.depth),
            Content::Removed => self.size == 0,
        };
        if fits {
            Ok(())
        } else {
            Err(RecordError::Size(self.size))
        }
    }

    /// One chunk without nodes above it, or more than one chunk and no more
    /// than that many levels can name.
    fn fits_tree(&self, depth: u8) -> bool {
        let chunk = u64::from(self.chunk_size);
        let most = (FANOUT_MAX as u64)
            .saturating_pow(depth.into())
            .saturating_mul(chunk);
        let least = if depth == 0 {
            1
        } else {
            chunk.saturating_add(1)
        };
        (least..=most).contains(&self.size)
    }
}

impl Content {
    fn kind(&self) -> RecordKind {
        match self {
            Self::Inline(_) | Self::Root(_) => RecordKind::Put,
            Self::Removed => RecordKind::Remove,
        }
    }

    fn root(&self) -> Option<RootRef> {
        match self {
            Self::Root(root) => Some(RootRef {
                blob: root.id,
                depth: root.depth,
            }),
            Self::Inline(_) | Self::Removed => None,
        }
    }

    //# SEAL-19: An opened content MUST be the root's 32-byte key where the head
    //# names a root, nothing where it removes, and otherwise the file itself, at
    //# most 16,384 bytes; the meta's size MUST be the file's, 0 for a removed one.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Inline(bytes) => bytes.to_vec(),
            Self::Root(root) => root.key.expose().to_vec(),
            Self::Removed => Vec::new(),
        })
    }

    fn decode(
        head: &Head,
        meta: &Meta,
        mut plain: Zeroizing<Vec<u8>>,
    ) -> Result<Self, RecordError> {
        let wrong = RecordError::Size(meta.size);
        match (head.kind, head.root) {
            (RecordKind::Remove, _) if plain.is_empty() => Ok(Self::Removed),
            (RecordKind::Remove, _) => Err(wrong),
            (RecordKind::Put, None) => Ok(Self::Inline(core::mem::take(&mut *plain).into())),
            (RecordKind::Put, Some(root)) => {
                let mut key: [u8; BlobKey::LEN] = plain.as_slice().try_into().map_err(|_| wrong)?;
                let blob_key = BlobKey::from_bytes(key);
                key.zeroize();
                Ok(Self::Root(Root {
                    id: root.blob,
                    key: blob_key,
                    depth: root.depth,
                    len: meta.size,
                }))
            }
        }
    }
}

//# SEAL-21: The body MUST be sealed under `keyed_hash(seal root, siv)` as one
//# keystream: the meta from byte 0 on, the content from byte len(meta) on.
pub(super) fn apply_body(
    key: &BlobKey,
    meta: &mut [u8],
    content: &mut [u8],
) -> Result<(), KeystreamEnd> {
    cipher::apply(key.expose(), 0, meta)?;
    cipher::apply(key.expose(), meta.len() as u64, content)
}

fn same_namespace(reader: &Reader, head: &SignedHead) -> Result<(), RecordError> {
    let namespace = head.head().namespace;
    if namespace == reader.namespace() {
        Ok(())
    } else {
        Err(RecordError::OtherNamespace(namespace))
    }
}

impl From<KeystreamEnd> for RecordError {
    fn from(_: KeystreamEnd) -> Self {
        Self::Keystream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{NameError, NamespaceSecret, open_shared_record};

    /// What only someone with the namespace's own secret can make: a head that
    /// is signed, over parts that hash right, and still not what was sealed.
    fn resign(record: &SealedRecord, change: impl FnOnce(&mut Head)) -> SignedHead {
        let mut head = record.head.head().clone();
        change(&mut head);
        SignedHead::sign(&writer(), head).unwrap()
    }

    #[test]
    fn a_body_that_does_not_make_its_siv_is_refused_though_signed() {
        let sealed = record();
        let mut content = sealed.content.to_vec();
        content[0] ^= 1;
        let hash = blake3::hash(&content).into();
        let head = resign(&sealed, |head| head.content_hash = hash);
        let opened = open_record(writer().reader(), &head, &sealed.meta, &content);
        assert_eq!(opened, Err(RecordError::Siv));
    }

    #[test]
    fn a_body_does_not_open_under_another_head_of_its_own_writer() {
        let sealed = record();
        let changes: [fn(&mut Head); 4] = [
            |head| head.put = PutId([9; 16]),
            |head| head.floor = head.version,
            |head| head.epoch = 1,
            |head| head.ext = Bytes::from_static(b"x"),
        ];
        for change in changes {
            let head = resign(&sealed, change);
            let opened = open_record(writer().reader(), &head, &sealed.meta, &sealed.content);
            assert_eq!(opened, Err(RecordError::Siv));
        }
    }

    #[test]
    fn a_name_longer_or_shorter_than_names_are_is_refused_whoever_sealed_it() {
        let longer = [Name::MAX + 1, META_MAX - 8, 65_535, 65_536, 65_537];
        for len in [0].into_iter().chain(longer) {
            let meta = cbor(|e| {
                e.array(4)?
                    .str(&"n".repeat(len))?
                    .u8(0)?
                    .null()?
                    .u8(1)?
                    .ok()
            });
            let refused = RecordError::Name(match len {
                0 => NameError::Empty,
                len => NameError::TooLong { len },
            });
            assert_eq!(Meta::decode(&meta), Err(refused));
            // A text that ends before its length says.
            let cut = Meta::decode(&meta[..meta.len() - 4]);
            assert!(matches!(cut, Err(RecordError::Meta | RecordError::Name(_))));
            let (head, meta) = signed_over(meta);
            let refused = match meta.len() {
                len if len > META_MAX => RecordError::MetaLength(len),
                _ => refused,
            };
            let reader = writer().reader().clone();
            let file = reader.share(head.key(), head.id(), &head.head().siv);
            assert_eq!(open_meta(&reader, &head, &meta), Err(refused));
            assert_eq!(open_record(&reader, &head, &meta, &[]), Err(refused));
            let shared = open_shared_record(&file.unwrap(), &head, &meta, &[]);
            assert_eq!(shared, Err(refused), "{len}");
        }
        let longest = Meta {
            name: Name::new(&"n".repeat(Name::MAX)).unwrap(),
            size: 0,
            ..meta()
        };
        let sealed = seal_record(&writer(), draft(), &longest, &Content::Removed).unwrap();
        let opened = open_meta(writer().reader(), &sealed.head, &sealed.meta);
        assert_eq!(opened, Ok(longest));
    }

    /// A head over anything in the place of a meta, and that, sealed.
    fn signed_over(mut meta: Vec<u8>) -> (SignedHead, Vec<u8>) {
        let (writer, mut content) = (writer(), Vec::new());
        let reader = writer.reader();
        let mut head = record().head.head().clone();
        head.siv = reader.siv(&head.bound(), &meta, &content).into();
        apply_body(&reader.body_key(&head.siv), &mut meta, &mut content).unwrap();
        head.meta_hash = blake3::hash(&meta).into();
        head.content_hash = blake3::hash(&content).into();
        (SignedHead::sign(&writer, head).unwrap(), meta)
    }

    #[test]
    fn a_name_that_is_no_text_is_refused_whoever_sealed_it() {
        let surrogate: &[u8] = &[0xed, 0xa0, 0x80];
        for name in [b"\xff".as_slice(), b"a\xc3", b"\xc0\xaf", surrogate] {
            // The array, a text of so many bytes, size, no time, chunk size.
            let mut meta = [&[0x84, 0x60 + name.len() as u8], name].concat();
            meta.extend([0, 0xf6, 1]);
            assert_eq!(Meta::decode(&meta), Err(RecordError::Meta));
        }
        assert!(Meta::decode(b"\x84\x61a\x00\xf6\x01").is_ok());
    }

    #[test]
    fn a_name_under_the_tag_of_another_is_refused() {
        let sealed = record();
        let head = resign(&sealed, |head| head.tag.0[0] ^= 1);
        let opened = open_meta(writer().reader(), &head, &sealed.meta);
        assert_eq!(opened, Err(RecordError::OtherName));
    }

    #[test]
    fn a_size_that_the_content_does_not_have_is_refused_though_sealed() {
        let inline = Content::Inline(Bytes::from_static(b"content"));
        for (size, content) in [(8, inline), (1, Content::Removed)] {
            let meta = Meta { size, ..meta() };
            let sealed = seal_unchecked(&writer(), draft(), &meta, &content).unwrap();
            let opened = open_record(
                writer().reader(),
                &sealed.head,
                &sealed.meta,
                &sealed.content,
            );
            assert_eq!(opened, Err(RecordError::Size(size)));
        }
    }

    #[test]
    fn metas_have_one_encoding() {
        let meta = meta();
        let bytes = meta.encode();
        assert_eq!(Meta::decode(&bytes), Ok(meta));
        assert_eq!(
            Meta::decode(&[&bytes[..], &[0]].concat()),
            Err(RecordError::Meta)
        );
        let unshort = [&[0x98, 4], &bytes[1..]].concat();
        assert_eq!(Meta::decode(&unshort), Err(RecordError::Meta));
        for end in 0..bytes.len() {
            assert_eq!(Meta::decode(&bytes[..end]), Err(RecordError::Meta));
        }
        let unsized_chunk = cbor(|e| e.array(4)?.str("n")?.u8(0)?.null()?.u8(0)?.ok());
        assert_eq!(Meta::decode(&unsized_chunk), Err(RecordError::ChunkSize(0)));
        let unnamed = cbor(|e| e.array(4)?.str("")?.u8(0)?.null()?.u8(1)?.ok());
        assert!(matches!(Meta::decode(&unnamed), Err(RecordError::Name(_))));
    }

    fn writer() -> Writer {
        NamespaceSecret::from_bytes([7; 32]).writer()
    }

    fn draft() -> Draft {
        let version = Version::from_bytes([1; 16]);
        let put = PutId([3; 16]);
        Draft {
            epoch: 0,
            version,
            put,
            floor: Version::ZERO,
            ext: Bytes::new(),
        }
    }

    fn record() -> SealedRecord {
        let content = Content::Inline(Bytes::from_static(b"content"));
        seal_record(&writer(), draft(), &meta(), &content).unwrap()
    }

    fn meta() -> Meta {
        let name = Name::new("a name").unwrap();
        Meta {
            name,
            size: 7,
            modified: None,
            chunk_size: 512,
        }
    }
}
