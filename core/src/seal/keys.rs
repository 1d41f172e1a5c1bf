//! The keys of a namespace: one secret that writes and reads, and what is
//! derived from it.
//!
//! ```text
//! secret ──┬── signing key ── NamespaceId
//!          └── read key ──┬── name key
//!                         ├── chunk root
//!                         ├── manifest root
//!                         ├── record root
//!                         └── seal root
//! ```

use alloc::sync::Arc;
use core::fmt;

use ed25519_dalek::{Signer, SigningKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::name::Name;
use crate::disk::RecordKey;
use crate::id::{NameTag, NamespaceId};

//# SEAL-1: Subkeys MUST be derived with BLAKE3 `derive_key` under the context
//# strings of the table below, each used for nothing else.
const SIGNING_KEY: &str = "peerhold 2026-11 namespace signing key";
const READ_KEY: &str = "peerhold 2026-11 namespace read key";
const NAME_KEY: &str = "peerhold 2026-11 name key";
const CHUNK_ROOT: &str = "peerhold 2026-11 chunk root";
const MANIFEST_ROOT: &str = "peerhold 2026-11 manifest root";
const RECORD_ROOT: &str = "peerhold 2026-11 record root";
const SEAL_ROOT: &str = "peerhold 2026-11 seal root";

/// The secret that owns a namespace: whoever has it writes and reads its
/// files. 32 random bytes; wiped when dropped.
#[derive(Debug)]
pub struct NamespaceSecret(Key);

impl NamespaceSecret {
    /// A secret that was kept. The caller wipes the copy it passes in.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Key(bytes))
    }

    /// A new secret, and so a new namespace.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut key = Key([0; 32]);
        rng.fill_bytes(&mut key.0);
        Self(key)
    }

    /// The secret itself, to be kept where only its owner reads.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// What seals and signs for this namespace.
    pub fn writer(&self) -> Writer {
        let signing = SigningKey::from_bytes(&derive(SIGNING_KEY, &self.0).0);
        let namespace = NamespaceId(signing.verifying_key().to_bytes());
        let read_key = ReadKey {
            namespace,
            key: derive(READ_KEY, &self.0),
        };
        Writer(Arc::new(Writing {
            reader: read_key.reader(),
            read_key,
            signing,
        }))
    }
}

/// What reads a namespace's files and cannot write them; wiped when dropped.
#[derive(Clone, Debug)]
pub struct ReadKey {
    namespace: NamespaceId,
    key: Key,
}

impl ReadKey {
    /// Bytes of [`ReadKey::to_bytes`].
    pub const LEN: usize = 64;

    /// The namespace that it reads.
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// Namespace id, then key: to be handed to those who may read.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        let (namespace, key) = bytes.split_at_mut(NamespaceId::LEN);
        namespace.copy_from_slice(self.namespace.as_bytes());
        key.copy_from_slice(&self.key.0);
        bytes
    }

    /// The inverse of [`ReadKey::to_bytes`]. That namespace and key belong
    /// together shows when the first record is opened.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (namespace, key) = bytes.split_at(NamespaceId::LEN);
        let mut read_key = Self {
            namespace: NamespaceId([0; 32]),
            key: Key([0; 32]),
        };
        read_key.namespace.0.copy_from_slice(namespace);
        read_key.key.0.copy_from_slice(key);
        read_key
    }

    /// What opens this namespace's records and blobs.
    pub fn reader(&self) -> Reader {
        Reader(Arc::new(Reading {
            namespace: self.namespace,
            name_key: derive(NAME_KEY, &self.key),
            chunk_root: derive(CHUNK_ROOT, &self.key),
            manifest_root: derive(MANIFEST_ROOT, &self.key),
            record_root: derive(RECORD_ROOT, &self.key),
            seal_root: derive(SEAL_ROOT, &self.key),
        }))
    }
}

/// Names and opens a namespace's files. Clones share one set of keys, wiped
/// with the last of them.
#[derive(Clone)]
pub struct Reader(Arc<Reading>);

struct Reading {
    namespace: NamespaceId,
    name_key: Key,
    chunk_root: Key,
    manifest_root: Key,
    record_root: Key,
    seal_root: Key,
}

impl Reader {
    /// The namespace that it reads.
    pub fn namespace(&self) -> NamespaceId {
        self.0.namespace
    }

    /// The name as replicas see it.
    //# SEAL-3: A name's tag MUST be `keyed_hash(name key, name)`, the name being
    //# its UTF-8 bytes.
    pub fn tag(&self, name: &Name) -> NameTag {
        NameTag(*self.0.name_key.hash(&[name.as_str().as_bytes()]).as_bytes())
    }

    /// Its keys, for a tape.
    pub(crate) fn expose(&self) -> [&[u8; 32]; 5] {
        let keys = &*self.0;
        [
            &keys.name_key.0,
            &keys.chunk_root.0,
            &keys.manifest_root.0,
            &keys.record_root.0,
            &keys.seal_root.0,
        ]
    }

    /// The inverse of [`Reader::expose`].
    pub(crate) fn from_exposed(namespace: NamespaceId, keys: [[u8; 32]; 5]) -> Self {
        let [name_key, chunk_root, manifest_root, record_root, seal_root] = keys.map(Key);
        Self(Arc::new(Reading {
            namespace,
            name_key,
            chunk_root,
            manifest_root,
            record_root,
            seal_root,
        }))
    }

    /// Whose name it is, and which: what its records are kept under.
    pub fn key(&self, name: &Name) -> RecordKey {
        RecordKey {
            namespace: self.namespace(),
            tag: self.tag(name),
        }
    }

    pub(super) fn chunk_key(&self, covered: &[u8]) -> BlobKey {
        BlobKey(self.0.chunk_root.subkey(&[covered]))
    }

    pub(super) fn node_key(&self, node: &[u8]) -> BlobKey {
        BlobKey(self.0.manifest_root.subkey(&[node]))
    }

    /// A record's synthetic IV over these parts, each behind its length.
    pub(super) fn siv(&self, head: &[u8], meta: &[u8], content: &[u8]) -> blake3::Hash {
        let len = |part: &[u8]| (part.len() as u64).to_be_bytes();
        self.0
            .record_root
            .hash(&[&len(head), head, &len(meta), meta, &len(content), content])
    }

    pub(super) fn body_key(&self, siv: &[u8; 32]) -> BlobKey {
        BlobKey(self.0.seal_root.subkey(&[siv]))
    }
}

/// The namespace; never a key.
impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.0.namespace).finish()
    }
}

/// Writes a namespace's files: a [`Reader`] and the key that signs. Clones
/// share one set of keys, wiped with the last of them.
#[derive(Clone)]
pub struct Writer(Arc<Writing>);

struct Writing {
    reader: Reader,
    read_key: ReadKey,
    signing: SigningKey,
}

impl Writer {
    /// Its reading half.
    pub fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// The namespace that it writes.
    pub fn namespace(&self) -> NamespaceId {
        self.0.reader.namespace()
    }

    /// The key to hand to those who may read and not write.
    pub fn read_key(&self) -> &ReadKey {
        &self.0.read_key
    }

    /// The key that signs, for a tape, which has the read key beside it.
    pub(crate) fn expose_signing(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.signing.to_bytes())
    }

    /// What signs with one key and reads with the other.
    pub(crate) fn from_exposed(signing: &[u8; 32], read_key: &[u8; ReadKey::LEN]) -> Self {
        let read_key = ReadKey::from_bytes(read_key);
        Self(Arc::new(Writing {
            reader: read_key.reader(),
            read_key,
            signing: SigningKey::from_bytes(signing),
        }))
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.signing.sign(message).to_bytes()
    }
}

/// The namespace; never a key.
impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.namespace()).finish()
    }
}

/// The key of one blob or one record's body; wiped when dropped. Compared in
/// constant time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobKey(Key);

impl BlobKey {
    /// How many bytes it has.
    pub const LEN: usize = 32;

    /// A key that stood in a sealed place.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(Key(bytes))
    }

    /// The key itself, to be put into a sealed place.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0.0
    }
}

/// 32 secret bytes. Whatever holds them through this type is wiped when
/// dropped and may derive `Debug`: they are never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Key([u8; 32]);

impl Key {
    fn hash(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        let hash = hasher.finalize();
        hasher.zeroize();
        hash
    }

    fn subkey(&self, parts: &[&[u8]]) -> Self {
        Self(self.hash(parts).into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Key {}

fn derive(context: &'static str, from: &Key) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&from.0);
    let key = Key(hasher.finalize().into());
    hasher.zeroize();
    key
}
