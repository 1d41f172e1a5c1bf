//! What a node tells its driver and its embedder, and what they can ask it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::disk::{DiskError, RecordKey};
use crate::error::{OpError, PeerFault};
use crate::id::{BlobId, ConnId, NameTag, NodeId, OpId, PutId};
use crate::input::{CloseReason, PeerAddr};
use crate::members::Member;
use crate::seal::{FileCapability, Name, Reader, Writer};
use crate::time::{Instant, UnixMillis};
use crate::version::{RecordId, Version};

/// What a put is told at its start; the file's bytes follow by
/// [`crate::Node::push`].
#[derive(Clone, Debug)]
pub struct Put {
    /// The namespace, by its secret.
    pub writer: Writer,
    /// The file's name.
    pub name: Name,
    /// When the file was last changed, if that is to be kept.
    pub modified: Option<UnixMillis>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Get {
    /// Of which file.
    pub access: Access,
    /// Which bytes; all if `None`. A range that reaches past the end is cut
    /// there; one that starts past it is an error.
    pub range: Option<Range<u64>>,
    /// Fail rather than answer with a version that too few replicas confirm or
    /// hold. Makes no difference where the version is named.
    pub confirmed: bool,
    /// Take a version that is older than what this node has seen, where the
    /// replicas that answer have nothing newer, rather than fail with
    /// [`OpError::Older`]. Makes no difference where the version is named.
    pub older: bool,
}

impl Get {
    /// All of the newest version of a file, unconfirmed if need be, but never
    /// an older one than this node has seen.
    pub fn newest(reader: &Reader, name: &Name) -> Self {
        Self::of(Access::Name {
            reader: reader.clone(),
            name: name.clone(),
            version: None,
        })
    }

    /// All of one version of a file.
    pub fn version(reader: &Reader, name: &Name, version: RecordId) -> Self {
        Self::of(Access::Name {
            reader: reader.clone(),
            name: name.clone(),
            version: Some(version),
        })
    }

    /// All of the version that a capability is for.
    pub fn shared(file: &FileCapability) -> Self {
        Self::of(Access::File(file.clone()))
    }

    fn of(access: Access) -> Self {
        Self {
            access,
            range: None,
            confirmed: false,
            older: false,
        }
    }
}

/// What makes a file readable.
#[derive(Clone, Debug)]
pub enum Access {
    /// The namespace's read key, and which of its files.
    Name {
        /// The namespace, by its read key.
        reader: Reader,
        /// The file's name.
        name: Name,
        /// Which record of its history; the newest if `None`. One that is named
        /// is what it is, whoever still has it.
        version: Option<RecordId>,
    },
    /// A capability for one version of one file. What it cannot show, its
    /// documentation says.
    File(FileCapability),
}

/// Which names to list.
#[derive(Clone, Debug)]
pub struct List {
    /// The namespace, by its read key.
    pub reader: Reader,
    /// Only names that begin with this. Replicas cannot tell: all rows of the
    /// namespace come here and the others are left out.
    pub prefix: Option<String>,
    /// Begin behind this one: the [`Entry::tag`] of the last entry seen.
    pub after: Option<NameTag>,
    /// Removed names too.
    pub removed: bool,
}

/// Which name's versions to list, the newest first.
#[derive(Clone, Debug)]
pub struct History {
    /// The namespace, by its read key.
    pub reader: Reader,
    /// The name.
    pub name: Name,
    /// Begin below this one: the [`Entry::id`] of the last entry seen.
    pub below: Option<RecordId>,
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct Remove {
    /// The namespace, by its secret.
    pub writer: Writer,
    /// The file's name.
    pub name: Name,
}

/// Which version to make the newest again.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The namespace, by its secret.
    pub writer: Writer,
    /// The file's name.
    pub name: Name,
    /// One of the name's records, as its history tells. It must have a
    /// content: not be a removal.
    pub id: RecordId,
}

/// Whose local copies to forget.
#[derive(Clone, Debug)]
pub struct Forget {
    /// The namespace, by its read key.
    pub reader: Reader,
    /// The file's name.
    pub name: Name,
}

/// Something that happened, from [`crate::Node::poll_event`].
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The store is loaded: from now on commands are taken.
    Ready,
    /// Open a stream to `addr` and report it as `conn`: `Opened`, or
    /// `DialFailed`.
    Dial {
        /// What to call it.
        conn: ConnId,
        /// Where.
        addr: PeerAddr,
        /// Who must be there, if that is known.
        expect: Option<NodeId>,
    },
    /// Send what [`crate::Node::poll_transmit`] still has, then close.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// A peer was admitted.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// An admitted peer's session ended.
    PeerDown {
        /// Who.
        peer: NodeId,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
    },
    /// A connection ended before admission.
    Refused {
        /// The connection.
        conn: ConnId,
        /// Who its channel said was there.
        peer: Option<NodeId>,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
        /// How it ended.
        reason: Option<CloseReason>,
    },
    /// More peers come than there are places for: one that was not admitted
    /// yet has been closed for another, or another was turned away. Told at most
    /// once a second.
    Crowded,
    /// The member map changed.
    Members,
    /// A peer has for long placed by other members, weights or zones than this
    /// node: what one of them stores the other may look for elsewhere. Most
    /// often their policies differ ([`crate::Policy`]). [`PeerStatus::differs`]
    /// tells whether it still does.
    MapDiffers {
        /// Who.
        peer: NodeId,
    },
    /// A put, remove or restore has begun. Comes before anything of it can
    /// have taken hold: where its outcome stays unknown, the history of the
    /// name tells by the put id whether it did.
    Began {
        /// The operation.
        op: OpId,
        /// The put id that its record will bear.
        put: PutId,
    },
    /// A get has found its file; its bytes follow.
    Opened {
        /// The operation.
        op: OpId,
        /// The file.
        file: FileInfo,
    },
    /// [`crate::Node::poll_data`] has bytes for this get, or
    /// [`crate::Node::poll_entry`] entries for this list or history.
    Readable {
        /// The operation.
        op: OpId,
    },
    /// A put that was busy takes data again.
    Writable {
        /// The operation.
        op: OpId,
    },
    /// How far an operation has come: one value, the latest.
    Progress {
        /// The operation.
        op: OpId,
        /// Plaintext bytes durable at W replicas (put, restore), handed to the
        /// caller (get), or looked at (forget); entries handed to the caller (list,
        /// history).
        bytes: u64,
    },
    /// An operation ended. A put that ended well may still settle.
    Finished {
        /// The operation.
        op: OpId,
        /// How.
        result: Result<Outcome, OpError>,
    },
    /// A put, remove or restore has all R copies of everything. Comes after
    /// `Finished`, perhaps much later, perhaps never.
    Settled {
        /// The operation.
        op: OpId,
    },
    /// A peer sent something whose hash, signature or seal is wrong.
    Lied {
        /// Who.
        peer: NodeId,
    },
    /// A replica that had acknowledged a record of a name tells of an older one
    /// or none: it has lost it, or has never kept it. A get hands the newest to it
    /// again. Told once for each time that it acknowledged; of the last
    /// [`crate::Limits::seen`] acknowledgements, since the start.
    Unkept {
        /// Who.
        peer: NodeId,
        /// The name.
        key: RecordKey,
    },
    /// Replicas told of two different records of one version of a name, both
    /// signed by its namespace: something that holds its secret, perhaps a
    /// copy of a node, has written twice under one version. The greater
    /// [`RecordId`] counts, everywhere. Told once for each pair until a
    /// restart, or until very many others were told of.
    Forked(Box<Fork>),
    /// Something was damaged in this store. What others hold of it is read from
    /// them.
    Damaged(Damage),
    /// The store failed at something that no operation waits for, or at what
    /// peers ask of it: of that it is told at most once a second.
    Trouble(DiskError),
}

/// Two different records of one version: the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The name.
    pub key: RecordKey,
    /// The two, the lesser id first.
    pub records: [Told; 2],
}

/// A record that replicas told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which record.
    pub id: RecordId,
    /// Its head and the signature, which was checked
    /// ([`crate::seal::SignedHead::verify`]).
    pub head: Bytes,
    /// Who told of it.
    pub by: Vec<NodeId>,
}

/// What of a store was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Damage {
    /// A blob. The copy has been dropped.
    Blob(BlobId),
    /// A record of this name. That it was held stays known, and other replicas
    /// are asked instead, until it is put again. Told once until then, but
    /// again after a restart or when very many others are damaged, too.
    Record(RecordKey),
    /// Entries of the store's log, found when it was opened: what they said is
    /// lost here.
    Log {
        /// How many.
        entries: u64,
    },
    /// The store's index, found when it was opened. It has been made anew from
    /// the log.
    Index,
}

/// How an operation ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A put or a restore: the file is durable.
    Stored(Stored),
    /// A get: every byte asked for was handed over.
    Read(FileInfo),
    /// A list or history: every entry was handed over.
    Listed(Listed),
    /// A remove: the tombstone is durable.
    Removed(Stored),
    /// A forget: so many local blobs were dropped.
    Forgotten {
        /// Blobs dropped here.
        blobs: u64,
        /// Blobs kept, as too few other replicas have them.
        kept: u64,
    },
}

/// A version that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// The put that wrote it.
    pub put: PutId,
    /// The file's size in bytes.
    pub size: u64,
    /// Copies of its record that were durable when it finished, W to R. The
    /// blobs had at least W each.
    pub copies: u8,
    /// How many there are to be: R.
    pub replicas: u8,
}

/// What a reader learns of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Whose it is, and its name as replicas know it.
    pub key: RecordKey,
    /// Its name.
    pub name: Name,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, as its writer said.
    pub modified: Option<UnixMillis>,
    /// The record that was read: its version is the file's.
    pub id: RecordId,
    /// The put that wrote it.
    pub put: PutId,
    /// The synthetic IV in the record's head: what its body key derives from.
    /// No secret.
    pub siv: [u8; 32],
    /// The bytes that are handed over.
    pub range: Range<u64>,
    /// Set if fewer replicas than a confirmed read needs have answered: there
    /// may be a newer version; or if fewer than W are known to hold this one,
    /// and could not be made to: a later get may not find it any more.
    pub unconfirmed: Option<Unconfirmed>,
}

impl FileInfo {
    /// What opens this version, and nothing else, for somebody who is to read
    /// it without the namespace's keys. `None` if `reader` reads another
    /// namespace. Whoever uses it must be admitted to the cluster.
    pub fn share(&self, reader: &Reader) -> Option<FileCapability> {
        reader.share(self.key, self.id, &self.siv)
    }
}

/// One name of a list, or one version of a history.
///
/// Head and meta are what their namespace signed. That the meta is what it
/// sealed, only the whole record shows: a get checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Name,
    /// The file's size in bytes; 0 if it was removed.
    pub size: u64,
    /// When it was last changed, as its writer said.
    pub modified: Option<UnixMillis>,
    /// The name as replicas know it: lists are in the order of these.
    pub tag: NameTag,
    /// Which record: histories are in falling order of these.
    pub id: RecordId,
    /// The put or removal that wrote it.
    pub put: PutId,
    /// It says that the name was removed.
    pub removed: bool,
    /// How many of the name's replicas told of this record, 0 to R: in a
    /// list, that it is their newest.
    pub copies: u8,
    /// Set if fewer of the name's replicas than a confirmed read needs have
    /// told what they hold here: in a list there may be a newer version.
    pub unconfirmed: Option<Unconfirmed>,
}

/// How far a list or history can be relied on.
///
/// A finished put is durable at W of its R replicas, so R - W + 1 of them
/// cannot all have missed it. If `unread` and `unreadable` are 0 and no entry
/// was unconfirmed, every put and removal that had finished before the
/// operation began is in it, in a list unless a later one of the same name is.
/// With fewer than W members silent `unread` is 0. What is written while it
/// runs may be in it or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Entries handed over.
    pub entries: u64,
    /// Names (versions, in a history) that were told of and could not be
    /// shown: damaged wherever they were told of, or not to be opened with
    /// the reader's key.
    pub unreadable: u64,
    /// Members (the name's replicas, in a history) that told all they hold..
    pub answered: u16,
    /// ..of so many.
    pub members: u16,
    /// Replicas of one name that have to tell: R - W + 1.
    pub needed: u8,
    /// Of the 65,536 slots that names fall into (the name's one, in a
    /// history), those of which fewer than R - W + 1 replicas told all they
    /// hold: what falls into them may be missing, or shown at an older version.
    pub unread: u32,
}

/// How many replicas stand behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Replicas that answered.
    pub answered: u8,
    /// Answers that a confirmed read needs: R - W + 1.
    pub needed: u8,
    /// Replicas known to hold what is shown, or something newer..
    pub copies: u8,
    /// ..of so many that hold it durably once its write has finished: W.
    pub durable: u8,
}

/// Why a node wants to be woken, with [`crate::Node::poll_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wake {
    /// Something is undrained.
    Undrained,
    /// A connection's admission.
    Admission,
    /// A session's sign of life.
    KeepAlive,
    /// A request's progress.
    Request,
    /// A read's missing answers.
    Answer,
    /// An operation's progress.
    Operation,
    /// An address to dial again.
    Dial,
    /// A peer's member map that differs.
    Members,
    /// Bytes that wait for their turn.
    Bandwidth,
}

/// A look at a node, for people and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Whether its store is loaded.
    pub ready: bool,
    /// The member map as this node's policy lets it count, in order of node id.
    pub members: Vec<(NodeId, Member)>,
    /// Admitted sessions.
    pub peers: Vec<PeerStatus>,
    /// Nodes that get no session, in order of node id.
    pub denied: Vec<NodeId>,
    /// Operations of the embedder that run.
    pub operations: usize,
    /// Copies owed to members that are away.
    pub debts: usize,
    /// Bytes of files in memory.
    pub memory: usize,
}

impl Status {
    /// How many members hold data.
    pub fn active(&self) -> usize {
        self.members
            .iter()
            .filter(|(_, member)| member.is_active())
            .count()
    }
}

/// One admitted session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub peer: NodeId,
    /// The connection that carries it.
    pub conn: ConnId,
    /// The address it was dialled at, if this node dialled.
    pub addr: Option<String>,
    /// Since when it has placed by other members, weights or zones than this
    /// node, if it does.
    pub differs: Option<Instant>,
}
