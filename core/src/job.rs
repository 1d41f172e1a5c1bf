//! Jobs: CPU work as values. A [`Job`] holds all that it needs, knows no
//! clock, randomness or IO, and may run on any thread; where it runs cannot
//! change its result.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use bytes::Bytes;

use crate::bug::{self, Bug};
use crate::disk::{StoredRecord, Ticket};
use crate::id::{BlobId, NodeId};
use crate::placement::{Candidate, Placement, SLOTS, Slot};
use crate::seal::{
    self, BlobKey, ChunkBuffer, Content, Draft, FileCapability, Grant, META_MAX, Meta, OpenError,
    PendingNode, Reader, RecordError, SealError, SealedBlob, SealedRecord, Shape, SignedHead,
    Writer,
};
use crate::wire::message::Authority;

/// What a record costs beside its bytes: one signature made or checked takes
/// about as long as hashing this many.
const SIGNATURE_COST: usize = 16 << 10;

/// One piece of CPU work, to be run exactly once.
#[must_use = "a job must be run and its result handed to the node"]
pub struct Job {
    ticket: Ticket,
    work: Work,
}

impl Job {
    pub(crate) fn new(ticket: Ticket, work: Work) -> Self {
        Self { ticket, work }
    }

    /// About how many bytes it hashes or enciphers: a driver runs small jobs
    /// on its own thread.
    pub fn cost(&self) -> usize {
        match &self.work {
            Work::SealChunk { plain, .. } => 2 * plain.len(),
            Work::SealNode { node, .. } => 300 * node.entries.len(),
            Work::SealRecord(seal) => SIGNATURE_COST + content_len(&seal.content),
            Work::CheckHead(_) | Work::SignGrant { .. } | Work::CheckAuthority(_) => SIGNATURE_COST,
            Work::CheckPair(_) => 2 * SIGNATURE_COST,
            Work::OpenRecord { record, .. } | Work::CheckRecord(record) => {
                SIGNATURE_COST + record.meta.len() + record.content.len()
            }
            Work::OpenMetas { records, .. } => records.len() * (SIGNATURE_COST + META_MAX),
            Work::CountUnread { candidates, .. } => SLOTS * candidates.len(),
            Work::OpenChunk { bytes, .. } => 2 * bytes.len(),
            Work::OpenNode { bytes, .. } => 3 * bytes.len(),
            Work::CheckBlob { bytes, .. } => bytes.len(),
        }
    }

    pub(crate) fn ticket(&self) -> NonZeroU64 {
        self.ticket.0
    }

    /// Which kind of work it is.
    pub(crate) const fn name(&self) -> &'static str {
        match &self.work {
            Work::SealChunk { .. } => "SealChunk",
            Work::SealNode { .. } => "SealNode",
            Work::SealRecord(_) => "SealRecord",
            Work::CheckHead(_) => "CheckHead",
            Work::CheckPair(_) => "CheckPair",
            Work::CheckRecord(_) => "CheckRecord",
            Work::OpenRecord { .. } => "OpenRecord",
            Work::OpenMetas { .. } => "OpenMetas",
            Work::CountUnread { .. } => "CountUnread",
            Work::OpenChunk { .. } => "OpenChunk",
            Work::OpenNode { .. } => "OpenNode",
            Work::CheckBlob { .. } => "CheckBlob",
            Work::SignGrant { .. } => "SignGrant",
            Work::CheckAuthority(_) => "CheckAuthority",
        }
    }

    /// Does the work.
    pub fn run(self) -> JobDone {
        JobDone {
            ticket: self.ticket,
            made: self.work.run(),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("ticket", &self.ticket.0)
            .field("cost", &self.cost())
            .finish_non_exhaustive()
    }
}

/// The result of one [`Job`].
#[must_use = "a job's result must be handed to the node"]
pub struct JobDone {
    pub(crate) ticket: Ticket,
    pub(crate) made: Made,
}

impl fmt::Debug for JobDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobDone")
            .field("ticket", &self.ticket.0)
            .finish_non_exhaustive()
    }
}

/// What there is to seal in a record.
pub(crate) struct SealWork {
    pub(crate) writer: Writer,
    pub(crate) draft: Draft,
    pub(crate) meta: Meta,
    pub(crate) content: Content,
}

/// What opens a record and what lies below it.
#[derive(Clone, Debug)]
pub(crate) enum Opener {
    /// The namespace's read key: any record of it.
    Reader(Reader),
    /// A capability: the one record that it is for.
    File(FileCapability),
}

impl Opener {
    fn open_record(
        &self,
        record: &StoredRecord,
    ) -> Result<Box<(SignedHead, Meta, Content)>, RecordError> {
        let head = SignedHead::from_stored(record)?;
        let (meta, content) = match self {
            Self::Reader(reader) => {
                seal::open_record(reader, &head, &record.meta, &record.content)?
            }
            Self::File(file) => {
                seal::open_shared_record(file, &head, &record.meta, &record.content)?
            }
        };
        Ok(Box::new((head, meta, content)))
    }

    fn open_node(
        &self,
        id: &BlobId,
        key: &BlobKey,
        shape: &Shape,
        bytes: &[u8],
    ) -> Result<seal::Node, OpenError> {
        match self {
            Self::Reader(reader) => seal::open_node(reader, id, key, shape, bytes),
            Self::File(_) => seal::open_shared_node(id, key, shape, bytes),
        }
    }
}

impl From<&Reader> for Opener {
    fn from(reader: &Reader) -> Self {
        Self::Reader(reader.clone())
    }
}

/// The kinds of work.
pub(crate) enum Work {
    SealChunk {
        reader: Reader,
        plain: ChunkBuffer,
        pad: usize,
    },
    SealNode {
        reader: Reader,
        node: PendingNode,
    },
    SealRecord(Box<SealWork>),
    /// Check a head and its signature.
    CheckHead(Box<StoredRecord>),
    /// Check two heads and their signatures.
    CheckPair(Box<[StoredRecord; 2]>),
    /// Check head, signature and hashes, without keys.
    CheckRecord(Box<StoredRecord>),
    /// Check a record and open it.
    OpenRecord {
        opener: Opener,
        record: Box<StoredRecord>,
    },
    /// Check heads and open their metas.
    OpenMetas {
        reader: Reader,
        records: Vec<(u64, StoredRecord)>,
    },
    /// Count the slots of which too few replicas are among those who told.
    CountUnread {
        candidates: Vec<Candidate>,
        replicas: usize,
        told: BTreeSet<NodeId>,
        needed: usize,
    },
    OpenChunk {
        id: BlobId,
        key: BlobKey,
        len: u32,
        bytes: Bytes,
        verified: bool,
    },
    OpenNode {
        opener: Opener,
        id: BlobId,
        key: BlobKey,
        shape: Shape,
        bytes: Bytes,
    },
    CheckBlob {
        id: BlobId,
        bytes: Bytes,
    },
    /// Sign a grant.
    SignGrant {
        writer: Writer,
        grant: Grant,
    },
    /// Check the signature of what a claim shows.
    CheckAuthority(Authority),
}

/// A head and its meta, open.
pub(crate) type MetaResult = Result<Box<(SignedHead, Meta)>, RecordError>;

/// What work makes.
pub(crate) enum Made {
    Sealed(Result<SealedBlob, SealError>),
    Record(Result<Box<SealedRecord>, SealError>),
    Head(Result<SignedHead, RecordError>),
    Pair(Box<[Result<SignedHead, RecordError>; 2]>),
    Checked(Result<StoredRecord, RecordError>),
    Opened(Result<Box<(SignedHead, Meta, Content)>, RecordError>),
    Metas(Vec<(u64, MetaResult)>),
    Unread(u32),
    Chunk(Result<Bytes, OpenError>),
    Node(Result<seal::Node, OpenError>),
    /// The blob, if it is what its id says.
    Blob(Option<Bytes>),
    /// A grant with its signature.
    Grant(Bytes),
    /// Whether it is signed as it says.
    Authority(bool),
}

impl Work {
    fn run(self) -> Made {
        match self {
            Self::SealChunk { reader, plain, pad } => {
                Made::Sealed(seal::seal_chunk(&reader, plain, pad))
            }
            Self::SealNode { reader, node } => Made::Sealed(node.seal(&reader)),
            Self::SealRecord(work) => {
                let SealWork {
                    writer,
                    draft,
                    meta,
                    content,
                } = *work;
                Made::Record(seal::seal_record(&writer, draft, &meta, &content).map(Box::new))
            }
            Self::CheckHead(record) => Made::Head(SignedHead::from_stored(&record)),
            Self::CheckRecord(record) if bug::on(Bug::RecordUnchecked) => {
                Made::Checked(Ok(*record))
            }
            Self::CheckRecord(record) => {
                Made::Checked(SealedRecord::from_stored(*record).map(|sealed| sealed.to_stored()))
            }
            Self::CheckPair(records) => {
                Made::Pair(Box::new(records.each_ref().map(SignedHead::from_stored)))
            }
            Self::OpenRecord { opener, record } => Made::Opened(opener.open_record(&record)),
            Self::OpenMetas { reader, records } => {
                let open = |(number, record)| (number, open_meta(&reader, &record));
                Made::Metas(records.into_iter().map(open).collect())
            }
            Self::CountUnread {
                candidates,
                replicas,
                told,
                needed,
            } => Made::Unread(count_unread(&candidates, replicas, &told, needed)),
            Self::OpenChunk {
                id,
                key,
                len,
                bytes,
                verified,
            } => {
                let verified = verified || bug::on(Bug::ChunkUnchecked);
                Made::Chunk(seal::open_chunk(&id, &key, len, bytes, verified))
            }
            Self::OpenNode {
                opener,
                id,
                key,
                shape,
                bytes,
            } => Made::Node(opener.open_node(&id, &key, &shape, &bytes)),
            Self::CheckBlob { id, bytes } => {
                let right = seal::verify_blob(&id, &bytes) || bug::on(Bug::BlobUnchecked);
                Made::Blob(right.then_some(bytes))
            }
            Self::SignGrant { writer, grant } => Made::Grant(grant.sign(&writer)),
            Self::CheckAuthority(authority) => Made::Authority(match authority {
                Authority::Grant(bytes) => Grant::verify(&bytes).is_ok(),
                Authority::Head(bytes) => SignedHead::verify(Vec::from(bytes).into()).is_ok(),
                Authority::Ask => false,
            }),
        }
    }
}

/// The slots of which fewer than `needed` replicas are among those who told.
fn count_unread(
    candidates: &[Candidate],
    replicas: usize,
    told: &BTreeSet<NodeId>,
    needed: usize,
) -> u32 {
    let mut placement = Placement::new(candidates, replicas, 0);
    let mut is_unread = |slot: u16| {
        let replicas = placement.replicas(Slot(slot)).iter();
        replicas.filter(|node| told.contains(node)).count() < needed
    };
    // Often all slots are alike, and ranking each of them takes milliseconds.
    if told.len() < needed || candidates.len() <= replicas {
        return u32::from(is_unread(0)) * SLOTS as u32;
    }
    (0..=u16::MAX).filter(|slot| is_unread(*slot)).count() as u32
}

fn open_meta(reader: &Reader, record: &StoredRecord) -> MetaResult {
    let head = SignedHead::from_stored(record)?;
    let meta = seal::open_meta(reader, &head, &record.meta)?;
    Ok(Box::new((head, meta)))
}

fn content_len(content: &Content) -> usize {
    match content {
        Content::Inline(bytes) => bytes.len(),
        Content::Root(_) | Content::Removed => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_is_counted_where_all_slots_are_alike_too() {
        let member = |id| Candidate {
            node: NodeId([id; 32]),
            weight: 1,
            zone: 0,
        };
        let unread = |members: u8, told: &[u8]| {
            let members: Vec<Candidate> = (1..=members).map(member).collect();
            let told = told.iter().map(|id| NodeId([*id; 32])).collect();
            count_unread(&members, 3, &told, 2)
        };
        let all = SLOTS as u32;
        // Three members hold every slot.
        assert_eq!(unread(3, &[1]), all);
        assert_eq!(unread(3, &[1, 3]), 0);
        assert_eq!(unread(0, &[]), all);
        // Of five, one is never enough, and two are where both are replicas: for 3 of
        // the 10 choices of three.
        assert_eq!(unread(5, &[2]), all);
        let read = all - unread(5, &[2, 4]);
        assert!(read.abs_diff(all * 3 / 10) < all / 20, "{read}");
        assert_eq!(unread(5, &[1, 2, 3, 4]), 0);
    }
}
