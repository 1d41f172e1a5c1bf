//! Machines that lie: what their disks tell their nodes, and so their nodes
//! tell others, is not so, and between what their nodes send stands what nobody
//! asked for.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use chacha20::ChaCha20Rng;
use peerhold_core::disk::{
    DiskData, DiskDone, DiskError, DiskKind, DiskOp, Part, RecordKey, StoredRecord,
};
use peerhold_core::seal::Head;
use peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::{self, Keep, RecordParts, kind};
use peerhold_store::Prepared;
use rand_core::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::net::End;

/// Bytes of a signature, behind the head that it signs.
const SIGNATURE: usize = 64;

/// Requests that are remembered to be made again.
const REPEATED: usize = 16;

/// How a machine lies. Every lie that is on is told one time out of four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// It says that it keeps what it does not keep.
    pub keeps_nothing: bool,
    /// It tells of the oldest record that it knows rather than of the newest.
    pub old_records: bool,
    /// It tells of no record, or no blob, where it has one.
    pub denies: bool,
    /// It changes a byte of what it tells, or leaves some away.
    pub wrong_bytes: bool,
    /// It sends what nobody asked for, more than anybody may, and nonsense.
    pub unrequested: bool,
    /// It tells of a record of another name.
    pub other_names: bool,
    /// It asks again, in any session, for what it has asked for before.
    pub repeats: bool,
    /// It tells of a record whose head it has changed and cannot sign.
    pub forges: bool,
}

impl Lies {
    /// All of them.
    pub const ALL: Self = Self {
        keeps_nothing: true,
        old_records: true,
        denies: true,
        wrong_bytes: true,
        unrequested: true,
        other_names: true,
        repeats: true,
        forges: true,
    };

    /// Without those for which others end a session.
    pub(crate) fn quiet(self) -> Self {
        Self {
            unrequested: false,
            repeats: false,
            ..self
        }
    }
}

#[derive(Debug)]
pub(crate) struct Liar {
    lies: Lies,
    rng: ChaCha20Rng,
    /// The first record that it was told of each name.
    oldest: BTreeMap<RecordKey, StoredRecord>,
    /// What it sends, taken apart.
    streams: BTreeMap<End, Stream>,
    /// Requests that it has made.
    asked: VecDeque<Frame>,
}

#[derive(Debug)]
struct Stream {
    decoder: Decoder,
    frames: u32,
}

impl Liar {
    pub(crate) fn new(lies: Lies, seed: u64) -> Self {
        Self {
            lies,
            rng: ChaCha20Rng::seed_from_u64(seed),
            oldest: BTreeMap::new(),
            streams: BTreeMap::new(),
            asked: VecDeque::new(),
        }
    }

    pub(crate) fn lies(&self) -> Lies {
        self.lies
    }

    /// Remembers a request.
    fn note(&mut self, frame: &Frame) {
        let asks = matches!(
            frame.kind,
            kind::KEEP | kind::CLAIM | kind::LOOKUP | kind::LIST
        );
        if self.lies.repeats && asks && !frame.flags.contains(Flags::RESPONSE) {
            self.asked.push_back(frame.clone());
            if self.asked.len() > REPEATED {
                self.asked.pop_front();
            }
        }
    }

    /// What it slips in between two frames, if anything; how that is called,
    /// and whether it must end the session.
    fn slip_in(&mut self, out: &mut BytesMut) -> Option<(&'static str, bool)> {
        let word = self.rng.next_u32();
        match word % 128 {
            0 | 1 if self.lies.unrequested => Some(self.unrequested(out)),
            3..8 if self.lies.unrequested && self.lies.forges => Some(self.forged(out)),
            2 if self.lies.repeats => {
                let frame = self.asked.pop_front()?;
                let request = self.rng.next_u32();
                let sent = message::append(out, frame.kind, frame.flags, request, &frame.body);
                debug_assert!(sent.is_ok(), "it was decoded under the same limit");
                self.asked.push_back(frame);
                Some(("liar: repeats", false))
            }
            _ => None,
        }
    }

    /// The first record that it was told of some other name.
    fn other(&mut self, key: &RecordKey) -> Option<StoredRecord> {
        let others = self.oldest.iter().filter(|(of, _)| *of != key);
        let at = self.rng.next_u32() as usize % self.oldest.len().max(1);
        others.cycle().nth(at).map(|(_, record)| record.clone())
    }

    /// Whether a lie that is on is told now.
    fn tells(&mut self, on: bool) -> bool {
        on && self.rng.next_u32().is_multiple_of(4)
    }

    fn change(&mut self, bytes: &Bytes) -> Bytes {
        let mut changed = bytes.to_vec();
        let at = self.rng.next_u32() as usize % changed.len().max(1);
        match self.rng.next_u32() % 4 {
            0 => changed.truncate(at),
            1 => changed.push(at as u8),
            _ => {
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1 << (self.rng.next_u32() % 8);
                }
            }
        }
        changed.into()
    }

    fn change_record(&mut self, mut record: StoredRecord) -> StoredRecord {
        let parts = [&mut record.head, &mut record.meta, &mut record.content];
        let part = &mut *parts[self.rng.next_u32() as usize % 3];
        if !part.is_empty() {
            *part = self.change(part);
        }
        record
    }

    /// A record with another head that can be read, and is not signed.
    fn forge(&mut self, mut record: StoredRecord) -> StoredRecord {
        let signed = record.head.len().saturating_sub(SIGNATURE);
        for _ in 0..64 {
            let mut head = record.head.to_vec();
            let at = self.rng.next_u32() as usize % signed.max(1);
            head[at] ^= 1 << (self.rng.next_u32() % 8);
            if Head::decode(&head[..signed]).is_ok() {
                record.head = head.into();
                break;
            }
        }
        record
    }

    /// What is answered to a disk operation instead of what is so.
    fn answer(
        &mut self,
        kind: &DiskKind,
        truth: impl FnOnce(DiskKind) -> Option<DiskData>,
    ) -> Option<(&'static str, Result<DiskData, DiskError>)> {
        let lies = self.lies;
        let changed = ("liar: wrong bytes", lies.wrong_bytes);
        match kind {
            DiskKind::PutRecord(record) => {
                self.oldest
                    .entry(record.key)
                    .or_insert_with(|| record.clone());
                self.tells(lies.keeps_nothing)
                    .then_some(("liar: keeps nothing", Ok(DiskData::Done)))
            }
            DiskKind::PutBlob { .. } => self
                .tells(lies.keeps_nothing)
                .then_some(("liar: keeps nothing", Ok(DiskData::Done))),
            DiskKind::Claim(_) | DiskKind::HasBlob(_) => {
                let held = Ok(DiskData::Claimed { held: true });
                self.tells(lies.keeps_nothing)
                    .then_some(("liar: keeps nothing", held))
            }
            DiskKind::GetBlob(_) if self.tells(lies.denies) => {
                Some(("liar: denies", Err(DiskError::NotFound)))
            }
            DiskKind::GetBlob(_) if self.tells(changed.1) => match truth(kind.clone())? {
                DiskData::Blob(bytes) => Some((changed.0, Ok(DiskData::Blob(self.change(&bytes))))),
                _ => None,
            },
            DiskKind::GetRecord { .. } if self.tells(lies.denies) => {
                Some(("liar: denies", Ok(DiskData::Record(None))))
            }
            DiskKind::GetRecord {
                key,
                at: None,
                part,
            } if self.tells(lies.old_records) => {
                let record = cut(self.oldest.get(key)?.clone(), *part);
                Some(("liar: old record", Ok(DiskData::Record(Some(record)))))
            }
            DiskKind::GetRecord { key, part, .. } if self.tells(lies.other_names) => {
                let record = cut(self.other(key)?, *part);
                Some(("liar: another name", Ok(DiskData::Record(Some(record)))))
            }
            DiskKind::GetRecord { .. } if self.tells(lies.forges) => match truth(kind.clone())? {
                DiskData::Record(Some(record)) => {
                    let record = self.forge(record);
                    Some(("liar: forged record", Ok(DiskData::Record(Some(record)))))
                }
                _ => None,
            },
            DiskKind::GetRecord { .. } if self.tells(changed.1) => match truth(kind.clone())? {
                DiskData::Record(Some(record)) => {
                    let record = self.change_record(record);
                    Some((changed.0, Ok(DiskData::Record(Some(record)))))
                }
                _ => None,
            },
            DiskKind::ListNames { .. } | DiskKind::ListVersions { .. }
                if self.tells(lies.denies) =>
            {
                let DiskData::Page(mut page) = truth(kind.clone())? else {
                    return None;
                };
                page.rows.retain(|_| self.rng.next_u32().is_multiple_of(2));
                page.more &= !page.rows.is_empty();
                Some(("liar: denies", Ok(DiskData::Page(page))))
            }
            _ => None,
        }
    }

    /// Something that nobody asked for; how that is called, and whether it must
    /// end the session.
    fn unrequested(&mut self, out: &mut BytesMut) -> (&'static str, bool) {
        let request = self.rng.next_u32();
        let mut junk = [0; 64];
        self.rng.fill_bytes(&mut junk);
        let sort = self.rng.next_u32() % 5;
        let appended = match sort {
            0 => message::append(out, kind::DATA, Flags::RESPONSE, request, &junk),
            1 => message::append(out, kind::LOOKUP, Flags::NONE, request, &junk),
            2 => {
                // A body longer than any may be.
                out.put_u32(BODY_MAX + 1 + request % 1024);
                out.put_slice(&junk[..6]);
                return ("liar: oversize", true);
            }
            3 => message::append(out, junk[0], Flags::NONE, request, &junk[1..]),
            _ => return self.forged(out),
        };
        debug_assert!(appended.is_ok(), "a short frame");
        ("liar: unrequested", sort == 0)
    }

    /// Has a record kept that nobody has signed; how that is called, and that it
    /// need not end the session.
    fn forged(&mut self, out: &mut BytesMut) -> (&'static str, bool) {
        let Some(record) = self.oldest.values().next().cloned() else {
            return ("liar: silent", false);
        };
        let (request, forged) = (self.rng.next_u32(), self.forge(record));
        let record = RecordParts::from(&forged);
        let keep = Keep {
            record,
            repair: true,
        };
        let body = message::encode(&keep);
        // One that is too large for a frame is not sent.
        match message::append(out, kind::KEEP, Flags::NONE, request, &body) {
            Ok(_) => ("liar: forged record", false),
            Err(_) => ("liar: silent", false),
        }
    }
}

/// As much of a record as was asked for.
fn cut(mut record: StoredRecord, part: Part) -> StoredRecord {
    if part < Part::All {
        record.content = Bytes::new();
    }
    if part < Part::Meta {
        record.meta = Bytes::new();
    }
    record
}

impl Cluster {
    /// What a liar's disk answers at once, if it lies, or the operation.
    pub(crate) fn lie_to_disk(&mut self, at: usize, op: DiskOp) -> Result<DiskOp, Box<DiskDone>> {
        let machine = &mut self.machines[at];
        let (Some(liar), Some(live)) = (&mut machine.liar, &machine.live) else {
            return Ok(op);
        };
        let truth = |kind| match live.store.prepare(DiskOp::detached(kind)) {
            Prepared::Done(done) => done.result().clone().ok(),
            Prepared::Write(_) => None,
        };
        match liar.answer(op.kind(), truth) {
            Some((name, answer)) => {
                self.fired.count(name);
                Err(Box::new(op.complete(answer)))
            }
            None => Ok(op),
        }
    }

    /// What a liar sends in the place of what its node sends: whole frames, and
    /// between them what nobody asked for.
    pub(crate) fn lie_to_peer(&mut self, end: End, mut bytes: Bytes) -> Bytes {
        let liar = self.machines[end.at].liar.as_mut();
        let Some(liar) = liar.filter(|liar| liar.lies.unrequested || liar.lies.repeats) else {
            return bytes;
        };
        let limits = FrameLimits { body_max: BODY_MAX };
        let mut stream = liar.streams.remove(&end).unwrap_or_else(|| Stream {
            decoder: Decoder::new(limits),
            frames: 0,
        });
        let mut out = BytesMut::new();
        while let Ok(Some(frame)) = stream.decoder.decode(&mut bytes) {
            let sent = message::append(
                &mut out,
                frame.kind,
                frame.flags,
                frame.request,
                &frame.body,
            );
            debug_assert!(sent.is_ok(), "it was decoded under the same limit");
            stream.frames += 1;
            liar.note(&frame);
            // Hello and proof go first.
            let slipped = (stream.frames > 2).then(|| liar.slip_in(&mut out));
            if let Some((name, offends)) = slipped.flatten() {
                self.fired.count(name);
                self.offended.extend(self.net.peer(end).filter(|_| offends));
            }
        }
        liar.streams.insert(end, stream);
        out.freeze()
    }
}
