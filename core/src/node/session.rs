//! One connection's session: admission, then frames both ways.
//!
//! A session decodes, encodes and keeps count of requests; what they mean is
//! the business of its callers. It never stops reading because it is busy
//! writing: each request that a peer may have outstanding bounds one answer,
//! which counts until it goes out, updates are flags that are encoded when
//! there is room, and bulk data goes out slice by slice.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::pages::Query;
use super::task::Waiter;
use crate::admission::{Admission, Admitted};
use crate::bug::{self, Bug};
use crate::config::{ANSWERS_SURE, Limits};
use crate::disk::RecordKey;
use crate::id::{ConnId, NodeId, OpId};
use crate::input::{PeerAddr, Role};
use crate::seal::BLOB_MAX;
use crate::time::Instant;
use crate::version::RecordId;
use crate::wire::frame::{self, BODY_MAX, BODY_MAX_UNADMITTED, Decoder, Flags, FrameLimits};
use crate::wire::message::{self, Authority, ClaimBlobs, kind};

/// Bytes of queued control frames beyond which records are not added.
const CONTROL_FULL: usize = 1 << 20;

/// Where a session stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Hellos and proofs.
    Admitting(Admission),
    /// Messages flow.
    Admitted(Admitted),
    /// It is over; what is queued may still go out, nothing is taken.
    Closing,
}

/// A request of this node's that waits for its answer.
#[derive(Debug)]
pub(super) enum Pending {
    Lookup {
        waiter: Waiter,
        /// What whoever is asked had acknowledged before, if the newest is asked for.
        least: Option<(RecordKey, RecordId)>,
    },
    Page {
        waiter: Waiter,
        query: Query,
    },
    Keep {
        waiter: Waiter,
        key: RecordKey,
        id: RecordId,
    },
    Fetch {
        waiter: Waiter,
        max: usize,
        data: BytesMut,
    },
    Claim {
        waiters: Vec<Option<Waiter>>,
    },
    /// Nobody waits any more; what still comes is dropped.
    Abandoned {
        /// How much may still come: bytes of a blob, or answers to a claim.
        left: usize,
    },
}

impl Pending {
    /// The same request with nobody waiting.
    pub(super) fn abandoned(&self) -> Self {
        let left = match self {
            Self::Lookup { .. } | Self::Page { .. } | Self::Keep { .. } => 0,
            Self::Fetch { max, data, .. } => (*max).min(BLOB_MAX).saturating_sub(data.len()),
            Self::Claim { waiters } => waiters.iter().flatten().count(),
            Self::Abandoned { left } => *left,
        };
        Self::Abandoned { left }
    }

    /// Whether it changes nothing, and is this operation's.
    fn is_read_of(&self, op: OpId) -> bool {
        match self {
            Self::Lookup { waiter, .. } | Self::Page { waiter, .. } => {
                matches!(waiter, Waiter::Op(of, _) if *of == op)
            }
            _ => self.is_fetch_of(op),
        }
    }

    /// Whether it is a fetch of this operation's.
    pub(super) fn is_fetch_of(&self, op: OpId) -> bool {
        matches!(self, Self::Fetch { waiter: Waiter::Op(of, _), .. } if *of == op)
    }
}

/// A blob on its way out.
#[derive(Debug)]
struct Stream {
    request: u32,
    rest: Bytes,
}

/// Claims of one put that will go out as one message.
#[derive(Debug)]
pub(super) struct ClaimBatch {
    pub(super) claim: ClaimBlobs,
    pub(super) waiters: Vec<Option<Waiter>>,
    since: Instant,
}

/// A request that waits for the peer to take more.
#[derive(Debug)]
struct Queued {
    kind: u8,
    body: Bytes,
    pending: Pending,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: ConnId,
    pub(super) role: Role,
    pub(super) peer: NodeId,
    /// Where it was dialled.
    pub(super) addr: Option<PeerAddr>,
    pub(super) stage: Stage,
    pub(super) decoder: Decoder,
    /// When the last byte came.
    pub(super) heard: Instant,
    /// Since when a frame is on its way that has not come whole.
    pub(super) unfinished: Option<Instant>,
    /// A request went unanswered for too long, and nothing was since.
    pub(super) lagging: bool,
    pub(super) members_due: bool,
    pub(super) peers_due: bool,
    ping_due: bool,
    pub(super) pong_due: bool,
    control: BytesMut,
    streams: VecDeque<Stream>,
    /// Bytes in their final order: control frames and one data frame's header,
    /// then its body.
    out: VecDeque<Bytes>,
    next_request: u32,
    pub(super) pending: BTreeMap<u32, Pending>,
    /// Requests whose progress is watched.
    pub(super) timed: BTreeSet<u32>,
    batches: Vec<ClaimBatch>,
    backlog: VecDeque<Queued>,
    /// Requests of the peer's whose answer has not gone out.
    pub(super) serving: BTreeSet<u32>,
    /// Those of them whose answer is complete in `control`.
    answered: Vec<u32>,
    /// Since when nothing of what is queued has gone out, as far as is known.
    pub(super) stuck: Option<Instant>,
    /// Streams that have ended since they were last asked for.
    pub(super) sent: Vec<u32>,
}

impl Session {
    pub(super) fn new(
        conn: ConnId,
        role: Role,
        peer: NodeId,
        addr: Option<PeerAddr>,
        admission: Admission,
        now: Instant,
    ) -> Self {
        let mut session = Self {
            conn,
            role,
            peer,
            addr,
            stage: Stage::Closing,
            decoder: Decoder::new(FrameLimits {
                body_max: BODY_MAX_UNADMITTED,
            }),
            heard: now,
            unfinished: None,
            lagging: false,
            members_due: false,
            peers_due: false,
            ping_due: false,
            pong_due: false,
            control: BytesMut::new(),
            streams: VecDeque::new(),
            out: VecDeque::new(),
            next_request: 0,
            pending: BTreeMap::new(),
            timed: BTreeSet::new(),
            batches: Vec::new(),
            backlog: VecDeque::new(),
            serving: BTreeSet::new(),
            answered: Vec::new(),
            stuck: None,
            sent: Vec::new(),
        };
        session.control(kind::HELLO, Flags::NONE, 0, &admission.hello().clone());
        session.stage = Stage::Admitting(admission);
        session
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    pub(super) fn is_admitted(&self) -> bool {
        matches!(self.stage, Stage::Admitted(_))
    }

    /// Begins to speak as an admitted peer.
    pub(super) fn admit(&mut self, admitted: Admitted) {
        self.stage = Stage::Admitted(admitted);
        self.decoder.set_body_max(BODY_MAX);
        //# SESSION-2: Once admitted a node MUST send MEMBERS and PEERS, and then
        //# MEMBERS after every change of its map and PEERS after every address that it
        //# learns.
        self.members_due = true;
        self.peers_due = true;
    }

    /// Queues one control frame.
    pub(super) fn control(&mut self, kind: u8, flags: Flags, request: u32, body: &[u8]) {
        let appended = message::append(&mut self.control, kind, flags, request, body);
        debug_assert!(
            appended.is_ok(),
            "limits keep every control body within a frame"
        );
    }

    /// Answers a request of the peer's; without MORE it is served once that
    /// goes out. A peer that asks and does not read runs into its limit.
    pub(super) fn answer(&mut self, kind: u8, flags: Flags, request: u32, body: &[u8]) {
        self.control(kind, flags | Flags::RESPONSE, request, body);
        if !flags.contains(Flags::MORE) {
            self.answered.push(request);
        }
    }

    /// Whether so much is queued that answers of some size must not be added,
    /// where sessions together have `all` bytes queued.
    pub(super) fn is_full(&self, all: impl FnOnce() -> usize, limits: &Limits) -> bool {
        let queued = self.control.len();
        queued > CONTROL_FULL || (queued > ANSWERS_SURE && all() > limits.answers_common())
    }

    /// Bytes of control frames that have not begun to go out.
    pub(super) fn queued(&self) -> usize {
        self.control.len()
    }

    /// Whether something is queued that the driver has not taken.
    pub(super) fn has_output(&self) -> bool {
        !(self.control.is_empty() && self.streams.is_empty() && self.out.is_empty())
    }

    /// Cuts every blob short that is on its way out.
    pub(super) fn cut_all(&mut self) {
        self.streams.clear();
    }

    /// Answers a fetch with a blob; [`Session::sent`] names it when it has
    /// gone out or been cut short.
    pub(super) fn stream(&mut self, request: u32, blob: Bytes) {
        self.streams.push_back(Stream {
            request,
            rest: blob,
        });
    }

    /// Cuts an answer short: the peer no longer wants it. False if nothing of
    /// it is queued here (it may still be on its way from the disk).
    pub(super) fn cut(&mut self, request: u32) -> bool {
        let Some(at) = self
            .streams
            .iter()
            .position(|stream| stream.request == request)
        else {
            return false;
        };
        self.streams.remove(at);
        self.sent.push(request);
        true
    }

    /// A request has gone unanswered for too long: nothing is offered to the
    /// peer until it gives a sign of life, for which it is asked.
    pub(super) fn lag(&mut self) {
        self.lagging = true;
        self.ping_due = true;
    }

    /// Asks for a sign of life.
    pub(super) fn ping(&mut self) {
        self.ping_due = true;
    }

    /// Queues a request; it goes out when the peer's limit lets it.
    pub(super) fn request(&mut self, kind: u8, body: Bytes, pending: Pending, since: Instant) {
        self.backlog.push_back(Queued {
            kind,
            body,
            pending,
            since,
        });
    }

    /// Takes back the requests that have been queued for as long as `wait` and
    /// have not gone out, and says since when the next one has been.
    pub(super) fn take_overdue(
        &mut self,
        now: Instant,
        wait: Duration,
    ) -> (Vec<Pending>, Option<Instant>) {
        let overdue = |since: Instant| now >= since.saturating_add(wait);
        let batches = self.batches.extract_if(.., |batch| overdue(batch.since));
        let batches = batches.map(|batch| Pending::Claim {
            waiters: batch.waiters,
        });
        let mut taken: Vec<Pending> = batches.collect();
        let (late, queued): (VecDeque<_>, _) = core::mem::take(&mut self.backlog)
            .into_iter()
            .partition(|queued| overdue(queued.since));
        self.backlog = queued;
        taken.extend(late.into_iter().map(|queued| queued.pending));
        let queued = self.backlog.iter().map(|queued| queued.since);
        let batches = self.batches.iter().map(|batch| batch.since);
        (taken, queued.chain(batches).min())
    }

    /// Gives up what `op` has asked to read: what has not gone out is not asked
    /// for. Says which requests the peer has to be told of, those for blobs.
    pub(super) fn call_off(&mut self, op: OpId) -> Vec<u32> {
        // Or what comes next would wait behind them.
        self.backlog.retain(|queued| !queued.pending.is_read_of(op));
        let fetches = self.pending.iter_mut();
        let fetches = fetches.filter(|(_, pending)| pending.is_fetch_of(op));
        let called_off = fetches.map(|(request, pending)| {
            *pending = pending.abandoned();
            *request
        });
        called_off.collect()
    }

    /// Queues a claim; claims of one put and one authority that come before the
    /// next [`Session::issue`] travel together.
    pub(super) fn claim(
        &mut self,
        claim: &crate::disk::Claim,
        authority: &Authority,
        waiter: Waiter,
        now: Instant,
    ) {
        let entry = message::BlobEntry {
            id: claim.blob,
            len: claim.len,
        };
        let open = self.batches.iter_mut().find(|batch| {
            batch.claim.put == claim.put
                && batch.claim.tag == claim.tag
                && batch.claim.authority.as_ref() == Some(authority)
                && batch.waiters.len() < message::CLAIMS_MAX
        });
        match open {
            Some(batch) => {
                batch.claim.blobs.push(entry);
                batch.waiters.push(Some(waiter));
            }
            None => self.batches.push(ClaimBatch {
                claim: ClaimBlobs {
                    namespace: claim.namespace,
                    tag: claim.tag,
                    put: claim.put,
                    blobs: [entry].into(),
                    authority: Some(authority.clone()),
                },
                waiters: [Some(waiter)].into(),
                since: now,
            }),
        }
    }

    /// Sends what is queued and due, as far as the peer's limit lets it, and
    /// says which requests that began.
    pub(super) fn issue(
        &mut self,
        members: impl FnOnce() -> Bytes,
        peers: impl FnOnce() -> Bytes,
    ) -> Vec<u32> {
        let mut issued = Vec::new();
        let Stage::Admitted(admitted) = &self.stage else {
            return issued;
        };
        let allowed = admitted.requests as usize;
        if core::mem::take(&mut self.pong_due) {
            self.control(kind::PONG, Flags::NONE, 0, &[]);
        }
        if core::mem::take(&mut self.ping_due) {
            self.control(kind::PING, Flags::NONE, 0, &[]);
        }
        if core::mem::take(&mut self.members_due) {
            self.control(kind::MEMBERS, Flags::NONE, 0, &members());
        }
        if core::mem::take(&mut self.peers_due) {
            self.control(kind::PEERS, Flags::NONE, 0, &peers());
        }
        for batch in core::mem::take(&mut self.batches) {
            let pending = Pending::Claim {
                waiters: batch.waiters,
            };
            let body = message::encode(&batch.claim);
            self.request(kind::CLAIM, body, pending, batch.since);
        }
        //# MSG-8: A node MUST NOT have more requests outstanding than the peer's HELLO
        //# allows. A request is outstanding until the last frame of its answer,
        //# cancelled or not, and its number is not used for another one before that.
        while self.pending.len() < allowed || bug::on(Bug::RequestsUnlimited) {
            let Some(queued) = self.backlog.pop_front() else {
                break;
            };
            let request = self.next_request();
            self.control(queued.kind, Flags::NONE, request, &queued.body);
            self.pending.insert(request, queued.pending);
            self.timed.insert(request);
            issued.push(request);
        }
        issued
    }

    fn next_request(&mut self) -> u32 {
        // A request id is free again once it is answered; 2^32 lie between two
        // uses of one, far more than may be outstanding.
        if bug::on(Bug::RequestReused) {
            return self.next_request;
        }
        while self.pending.contains_key(&self.next_request) {
            self.next_request = self.next_request.wrapping_add(1);
        }
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        request
    }

    /// Every request of this node's, for the session's end.
    pub(super) fn take_pending(&mut self) -> Vec<Pending> {
        let batches = core::mem::take(&mut self.batches).into_iter();
        let batches = batches.map(|batch| Pending::Claim {
            waiters: batch.waiters,
        });
        let backlog = core::mem::take(&mut self.backlog)
            .into_iter()
            .map(|queued| queued.pending);
        core::mem::take(&mut self.pending)
            .into_values()
            .chain(backlog)
            .chain(batches)
            .collect()
    }

    /// Whether so many answers are overdue that no more should be asked.
    pub(super) fn is_stuck(&self) -> bool {
        let Stage::Admitted(admitted) = &self.stage else {
            return false;
        };
        let abandoned = self
            .pending
            .values()
            .filter(|pending| matches!(pending, Pending::Abandoned { .. }));
        abandoned.count() > admitted.requests as usize / 2
    }

    /// The next bytes of the stream, at most `max`: control frames first, then
    /// a slice of the blob whose turn it is.
    pub(super) fn transmit(&mut self, max: usize) -> Option<Bytes> {
        if max == 0 {
            return None;
        }
        if self.out.is_empty() {
            self.next_data();
        }
        let front = self.out.front_mut()?;
        self.stuck = None;
        if front.len() > max {
            return Some(front.split_to(max));
        }
        self.out.pop_front()
    }

    /// Puts all control frames and one data frame in their final order.
    fn next_data(&mut self) {
        //# MSG-13: Frames of different answers MAY come interleaved in any way. A
        //# sender SHOULD put what is not DATA before DATA, and give each blob that it
        //# sends its turn.
        let stream = self.streams.pop_front();
        let slice = stream.map(|mut stream| {
            let slice = stream
                .rest
                .split_to(stream.rest.len().min(BODY_MAX as usize));
            let more = if stream.rest.is_empty() {
                Flags::NONE
            } else {
                Flags::MORE
            };
            // `slice` is no longer than a body may be.
            let _ = frame::encode_header(
                &mut self.control,
                kind::DATA,
                Flags::RESPONSE | more,
                stream.request,
                slice.len() as u32,
            );
            if stream.rest.is_empty() {
                self.serving.remove(&stream.request);
                self.sent.push(stream.request);
            } else {
                self.streams.push_back(stream);
            }
            slice
        });
        if !self.control.is_empty() {
            self.out.push_back(self.control.split().freeze());
        }
        for request in self.answered.drain(..) {
            if !bug::on(Bug::ServedForEver) {
                self.serving.remove(&request);
            }
        }
        self.out.extend(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let (us, them) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut ids = crate::id::Mint::new();
        let admission = Admission::new(us, Role::Dialer, them, [0; 32], 8);
        let mut session = Session::new(
            ConnId::from_mint(&mut ids),
            Role::Dialer,
            them,
            None,
            admission,
            Instant::ZERO,
        );
        session.admit(Admitted {
            requests: 2,
            features: 0,
            key: [0; 8],
        });
        (session.members_due, session.peers_due) = (false, false);
        session
    }

    fn frames(session: &mut Session, max: usize) -> Vec<frame::Frame> {
        let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
        let mut frames = Vec::new();
        while let Some(mut bytes) = session.transmit(max) {
            assert!(bytes.len() <= max);
            while let Some(frame) = decoder.decode(&mut bytes).unwrap() {
                frames.push(frame);
            }
        }
        assert!(!decoder.is_mid_frame());
        frames
    }

    #[test]
    fn blobs_interleave_and_control_goes_first_whatever_the_cutting() {
        for max in [1, 7, 1000, usize::MAX] {
            let mut session = session();
            session.serving.extend([4, 5]);
            session.stream(4, Bytes::from(alloc::vec![4; 3 * BODY_MAX as usize]));
            session.stream(5, Bytes::from(alloc::vec![5; BODY_MAX as usize + 1]));
            session.control(kind::PONG, Flags::NONE, 0, &[]);
            let frames = frames(&mut session, max);
            let order: Vec<_> = frames
                .iter()
                .map(|frame| (frame.kind, frame.request))
                .collect();
            let data = |request| (kind::DATA, request);
            let hello = (kind::HELLO, 0);
            assert_eq!(
                order,
                [
                    hello,
                    (kind::PONG, 0),
                    data(4),
                    data(5),
                    data(4),
                    data(5),
                    data(4)
                ]
            );
            assert_eq!(session.sent, [5, 4]);
            assert!(session.serving.is_empty());
        }
    }

    #[test]
    fn control_queued_inside_a_data_frame_follows_its_body() {
        let mut session = session();
        session.stream(4, Bytes::from(alloc::vec![4; 100]));
        let mut first = session.transmit(usize::MAX).unwrap();
        session.control(kind::PONG, Flags::NONE, 0, &[]);
        let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
        let mut kinds = Vec::new();
        loop {
            while let Some(frame) = decoder.decode(&mut first).unwrap() {
                kinds.push(frame.kind);
            }
            match session.transmit(usize::MAX) {
                Some(next) => first = next,
                None => break,
            }
        }
        assert_eq!(kinds, [kind::HELLO, kind::DATA, kind::PONG]);
    }

    #[test]
    fn a_request_over_the_peers_limit_waits_for_an_answer() {
        let mut session = session();
        for _ in 0..3 {
            let pending = Pending::Abandoned { left: 0 };
            session.request(kind::LOOKUP, Bytes::new(), pending, Instant::ZERO);
        }
        assert_eq!(session.issue(Bytes::new, Bytes::new), [0, 1]);
        assert!(session.issue(Bytes::new, Bytes::new).is_empty());
        session.pending.remove(&0);
        assert_eq!(session.issue(Bytes::new, Bytes::new), [2]);
    }

    #[test]
    fn a_cut_stream_ends_and_is_accounted_for() {
        let mut session = session();
        session.stream(4, Bytes::from_static(b"blob"));
        assert!(session.cut(4));
        assert!(!session.cut(4));
        assert_eq!(session.sent, [4]);
    }
}
