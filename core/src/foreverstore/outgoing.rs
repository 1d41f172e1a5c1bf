//! What goes out: messages with their pauses, and one stream after the other.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::ctx::Ctx;
use super::file::{FileData, FileId, FileKind, Waiter};
use super::framing::{Framing, frame_message, frame_stream};
use super::message::Message;
use super::names::{FileKey, FilePath, OwnerId};
use super::output::{Event, Fault, OpError, Outcome, Store, Wake};
use super::pace::Pace;
use crate::ctr::CtrStream;
use crate::disk::DiskError;
use crate::id::OpId;

/// Bytes of the IV in front of a sealed file.
pub(super) const IV_LEN: u64 = 16;

/// A get that waits, or waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) op: OpId,
    pub(super) what: What,
}

/// What is asked for, and what for.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// To have the file of this name.
    Get { name: String },
    /// To see whether the peer has what was sent to it.
    Verify {
        key: FileKey,
        /// Bytes sent.
        size: u64,
        /// BLAKE3 of them.
        hash: blake3::Hash,
    },
}

impl What {
    fn key(&self) -> FileKey {
        match self {
            Self::Get { name } => FileKey::of(name),
            Self::Verify { key, .. } => *key,
        }
    }
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pace: Pace,
    asks: VecDeque<Ask>,
    /// The one that has been asked and not answered.
    asked: Option<Ask>,
    /// An answer may still come to a get that has been given up.
    late: bool,
    streams: VecDeque<Stream>,
    current: Option<Current>,
    /// Stores that are wholly taken and not wholly written.
    sent: Vec<(OpId, u64)>,
    /// The file that was being opened when the connection ended.
    ended_opening: Option<FileId>,
}

/// A file that is to go out.
#[derive(Debug)]
enum Stream {
    Store { op: OpId, store: Store },
    Answer { owner: OwnerId, key: FileKey },
}

/// The stream whose turn it is.
#[derive(Debug)]
struct Current {
    stream: Stream,
    file: FileId,
    step: Step,
    /// Bytes of the file.
    len: u64,
    /// Bytes read of it, those on their way counted.
    read: u64,
    /// Bytes taken of it.
    taken: u64,
    /// A file operation is on its way.
    busy: bool,
    ready: VecDeque<Bytes>,
    /// Of a store.
    seal: Option<Box<Seal>>,
}

/// What seals a file as it goes out.
#[derive(Debug)]
struct Seal {
    cipher: CtrStream,
    /// What the sealed bytes come to, if they are to be compared.
    hasher: Option<blake3::Hasher>,
}

impl Seal {
    fn new(ctx: &Ctx, store: &Store) -> Self {
        let hasher = store.verify.then(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&store.iv);
            hasher
        });
        let cipher = ctx.config.key.stream(&store.iv);
        Self { cipher, hasher }
    }
}

/// What goes out next of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: its file is being opened.
    Open,
    /// Of a store: the message that announces it.
    Announce,
    /// What says that raw bytes follow.
    Mark,
    /// What the raw bytes begin with: an answer's length, a store's IV.
    Head,
    /// The file.
    Body,
}

/// What can go out now.
enum Next {
    Ask,
    Step(Step),
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            pace: Pace::new(),
            asks: VecDeque::new(),
            asked: None,
            late: false,
            streams: VecDeque::new(),
            current: None,
            sent: Vec::new(),
            ended_opening: None,
        }
    }

    pub(super) fn store(&mut self, ctx: &mut Ctx, op: OpId, store: Store) {
        self.streams.push_back(Stream::Store { op, store });
        self.begin(ctx);
    }

    pub(super) fn get(&mut self, op: OpId, name: String) {
        let what = What::Get { name };
        self.asks.push_back(Ask { op, what });
    }

    /// A peer asks for a file. Refused if it waits for too many.
    pub(super) fn serve(
        &mut self,
        ctx: &mut Ctx,
        owner: OwnerId,
        key: FileKey,
    ) -> Result<(), Fault> {
        let answers = self.streams.iter();
        let waiting = answers.filter(|stream| matches!(stream, Stream::Answer { .. }));
        let max = ctx.config.limits.requests;
        if waiting.count() >= max {
            return Err(Fault::TooMany(max));
        }
        self.streams.push_back(Stream::Answer { owner, key });
        self.begin(ctx);
        Ok(())
    }

    /// Whether a stream may be an answer.
    pub(super) fn expects_answer(&self) -> bool {
        self.asked.is_some() || self.late
    }

    /// Whether `len` may be an answer's length, where a stream may also be a
    /// store's: how likely a store's IV is to look like that is how many
    /// lengths may be, of 2^64.
    pub(super) fn may_be_answer(&self, ctx: &Ctx, len: i64) -> bool {
        let lengths = IV_LEN..=ctx.config.limits.file;
        self.expects_answer() && u64::try_from(len).is_ok_and(|len| lengths.contains(&len))
    }

    /// An answer has begun. Whose, or `None` for one that comes too late.
    pub(super) fn answered(&mut self, ctx: &mut Ctx) -> Option<Ask> {
        ctx.timers.cancel(Wake::Answer);
        ctx.timers.cancel(Wake::Late);
        self.late = false;
        self.asked.take()
    }

    /// A file operation for the current stream is done.
    pub(super) fn done(
        &mut self,
        ctx: &mut Ctx,
        file: FileId,
        result: Result<FileData, DiskError>,
    ) {
        let Some(current) = self.current.as_mut().filter(|current| current.file == file) else {
            // The connection ended meanwhile. A file that could not be opened
            // is not open.
            let opening = self.ended_opening.take().is_some_and(|it| it == file);
            if result.is_ok() || !opening {
                ctx.submit(FileKind::Close { file }, Waiter::Nobody);
            }
            return;
        };
        current.busy = false;
        match (result, current.step) {
            (Ok(FileData::Opened { len }), Step::Open) => {
                let extra = if matches!(current.stream, Stream::Store { .. }) {
                    IV_LEN
                } else {
                    0
                };
                let max = ctx.config.limits.file;
                if len.checked_add(extra).is_none_or(|sealed| sealed > max) {
                    return self.give_up(ctx, Failure::TooLong { size: len, max });
                }
                current.opened(ctx, len);
            }
            (Ok(FileData::Read(bytes)), step) if step != Step::Open => {
                if !current.take_in(bytes) {
                    let short = DiskError::Io("a file became shorter while it was read".into());
                    return self.give_up(ctx, Failure::Disk(short));
                }
                current.read_on(ctx);
            }
            (Ok(_), _) => self.give_up(ctx, Failure::Disk(DiskError::Corrupt)),
            (Err(error), _) => self.give_up(ctx, Failure::Disk(error)),
        }
    }

    /// Drops the current stream. If any of it has gone out, the connection
    /// cannot be used any more.
    fn give_up(&mut self, ctx: &mut Ctx, failure: Failure) {
        let Some(current) = self.current.take() else {
            return;
        };
        let opened = current.step != Step::Open || matches!(failure, Failure::TooLong { .. });
        if opened {
            let file = current.file;
            ctx.submit(FileKind::Close { file }, Waiter::Nobody);
        }
        let begun = current.has_begun();
        match current.stream {
            Stream::Store { op, .. } => ctx.finish(op, Err(failure.into_error())),
            Stream::Answer { owner, key } => {
                let why = failure.into_disk();
                ctx.tell(Event::NotServed { owner, key, why });
            }
        }
        if begun {
            ctx.close(Fault::Unreadable);
        } else {
            self.begin(ctx);
        }
    }

    /// Opens the next stream's file, if it is the next one's turn, and what the
    /// peer has just had kept is there.
    pub(super) fn begin(&mut self, ctx: &mut Ctx) {
        if self.current.is_some() || ctx.closed {
            return;
        }
        if let Some(Stream::Answer { owner, key }) = self.streams.front()
            && ctx.keeping.contains(&(*owner, *key))
        {
            return;
        }
        let Some(stream) = self.streams.pop_front() else {
            return;
        };
        let path = match &stream {
            Stream::Store { store, .. } => FilePath::own(&ctx.config.id, &store.name),
            Stream::Answer { owner, key } => FilePath::replica(owner, key),
        };
        let file = ctx.new_file();
        ctx.submit(FileKind::Open { file, path }, Waiter::Out(file));
        let seal = match &stream {
            Stream::Store { store, .. } => Some(Box::new(Seal::new(ctx, store))),
            Stream::Answer { .. } => None,
        };
        self.current = Some(Current {
            stream,
            file,
            step: Step::Open,
            len: 0,
            read: 0,
            taken: 0,
            busy: true,
            ready: VecDeque::new(),
            seal,
        });
    }

    fn next(&self, ctx: &Ctx) -> Option<Next> {
        if ctx.closed {
            return None;
        }
        let begun = self.current.as_ref().filter(|current| current.has_begun());
        let may_ask = begun.is_none() && self.asked.is_none() && !self.late;
        if may_ask && !self.asks.is_empty() && self.pace.message_may_go() {
            return Some(Next::Ask);
        }
        let current = self.current.as_ref()?;
        let may_go = match current.step {
            Step::Open => false,
            Step::Announce => self.pace.message_may_go(),
            Step::Mark => match ctx.config.framing {
                Framing::Marked => self.pace.bytes_may_go(),
                Framing::Envelopes => self.pace.message_may_go(),
            },
            Step::Head => self.pace.bytes_may_go(),
            Step::Body => self.pace.bytes_may_go() && !current.ready.is_empty(),
        };
        may_go.then_some(Next::Step(current.step))
    }

    pub(super) fn has_output(&self, ctx: &Ctx) -> bool {
        self.next(ctx).is_some()
    }

    pub(super) fn poll(&mut self, ctx: &mut Ctx, max: usize) -> Option<Bytes> {
        let next = self.next(ctx)?;
        ctx.arm(Wake::Stalled, ctx.config.timing.silence);
        match next {
            Next::Ask => self.ask(ctx),
            Next::Step(step) => {
                let bytes = self.step(ctx, step, max)?;
                self.end_if_whole(ctx);
                Some(bytes)
            }
        }
    }

    fn ask(&mut self, ctx: &mut Ctx) -> Option<Bytes> {
        let ask = self.asks.pop_front()?;
        //# GO-8: An answer does not say what it answers. A node MUST NOT send a second
        //# MessageGetFile on a connection before the first is answered, or so late that no
        //# answer can come.
        let message = Message::Get {
            id: format!("{}", ctx.config.id),
            key: format!("{}", ask.what.key()),
        };
        self.asked = Some(ask);
        ctx.arm(Wake::Answer, ctx.config.timing.answer);
        self.pace.gave_message(ctx);
        Some(frame_message(ctx.config.framing, &message))
    }

    fn step(&mut self, ctx: &mut Ctx, step: Step, max: usize) -> Option<Bytes> {
        let current = self.current.as_mut()?;
        match step {
            Step::Open => None,
            Step::Announce => {
                let Stream::Store { store, .. } = &current.stream else {
                    return None;
                };
                let message = Message::Store {
                    id: format!("{}", ctx.config.id),
                    key: format!("{}", FileKey::of(&store.name)),
                    size: i64::try_from(current.sealed()).unwrap_or(i64::MAX),
                };
                current.step = Step::Mark;
                self.pace.gave_message(ctx);
                Some(frame_message(ctx.config.framing, &message))
            }
            Step::Mark => {
                current.step = Step::Head;
                self.pace.gave_message(ctx);
                Some(frame_stream(ctx.config.framing).into())
            }
            Step::Head => {
                current.step = Step::Body;
                self.pace.gave_bytes(ctx);
                Some(current.head().into())
            }
            Step::Body => {
                let mut first = current.ready.pop_front()?;
                if first.len() > max.max(1) {
                    let rest = first.split_off(max.max(1));
                    current.ready.push_front(rest);
                }
                current.taken = current.taken.saturating_add(first.len() as u64);
                current.read_on(ctx);
                self.pace.gave_bytes(ctx);
                Some(first)
            }
        }
    }

    /// Ends the current stream if all of it has been taken.
    fn end_if_whole(&mut self, ctx: &mut Ctx) {
        let whole = |current: &mut Current| {
            current.step == Step::Body && current.taken == current.len && !current.busy
        };
        let Some(current) = self.current.take_if(whole) else {
            return;
        };
        let file = current.file;
        ctx.submit(FileKind::Close { file }, Waiter::Nobody);
        let size = current.sealed();
        match current.stream {
            Stream::Store { op, store } => match current.seal.and_then(|seal| seal.hasher) {
                Some(hasher) => {
                    let key = FileKey::of(&store.name);
                    let hash = hasher.finalize();
                    let what = What::Verify { key, size, hash };
                    self.asks.push_front(Ask { op, what });
                }
                None => self.sent.push((op, size)),
            },
            Stream::Answer { owner, key } => ctx.tell(Event::Served { owner, key, size }),
        }
        self.begin(ctx);
    }

    /// Everything that was taken is written.
    pub(super) fn written(&mut self, ctx: &mut Ctx) {
        ctx.timers.cancel(Wake::Stalled);
        self.pace.written(ctx);
        for (op, size) in core::mem::take(&mut self.sent) {
            ctx.finish(op, Ok(Outcome::Sent { size }));
        }
    }

    pub(super) fn on_pause_over(&mut self) {
        self.pace.pause_over();
    }

    /// No answer has begun in time.
    pub(super) fn on_answer_timeout(&mut self, ctx: &mut Ctx) {
        if let Some(ask) = self.asked.take() {
            //# GO-9: A peer that lacks a file does not answer. Whoever asks MUST bound how long
            //# it waits, and take what begins only after that, as an answer to what it has
            //# given up, for nothing.
            self.late = true;
            ctx.arm(Wake::Late, ctx.config.timing.late);
            ctx.finish(ask.op, Err(OpError::Silent));
        }
    }

    pub(super) fn awaits(&self, op: OpId) -> bool {
        self.asks.iter().chain(&self.asked).any(|ask| ask.op == op)
    }

    /// Gives up a get that has no answer.
    pub(super) fn cancel(&mut self, ctx: &mut Ctx, op: OpId) {
        let is_it = |ask: &Ask| ask.op == op && matches!(ask.what, What::Get { .. });
        if let Some(at) = self.asks.iter().position(is_it) {
            self.asks.remove(at);
        } else if self.asked.take_if(|ask| is_it(ask)).is_some() {
            ctx.timers.cancel(Wake::Answer);
            self.late = true;
            let timing = &ctx.config.timing;
            ctx.arm(Wake::Late, timing.answer.saturating_add(timing.late));
        } else {
            return;
        }
        ctx.finish(op, Err(OpError::Cancelled));
    }

    pub(super) fn on_late_timeout(&mut self) {
        self.late = false;
    }

    /// The connection has ended.
    pub(super) fn end(&mut self, ctx: &mut Ctx) {
        for (op, _) in core::mem::take(&mut self.sent) {
            ctx.finish(op, Err(OpError::Closed { unknown: true }));
        }
        let asks = self.asked.take().into_iter().chain(self.asks.drain(..));
        for ask in asks {
            let unknown = matches!(ask.what, What::Verify { .. });
            ctx.finish(ask.op, Err(OpError::Closed { unknown }));
        }
        let mut streams = Vec::new();
        if let Some(current) = self.current.take() {
            let file = current.file;
            if !current.busy {
                ctx.submit(FileKind::Close { file }, Waiter::Nobody);
            } else if current.step == Step::Open {
                self.ended_opening = Some(file);
            }
            streams.push((current.has_begun(), current.stream));
        }
        streams.extend(self.streams.drain(..).map(|stream| (false, stream)));
        for (unknown, stream) in streams {
            if let Stream::Store { op, .. } = stream {
                ctx.finish(op, Err(OpError::Closed { unknown }));
            }
        }
        self.late = false;
    }
}

impl Current {
    fn opened(&mut self, ctx: &mut Ctx, len: u64) {
        self.len = len;
        self.step = match self.stream {
            Stream::Store { .. } => Step::Announce,
            Stream::Answer { .. } => Step::Mark,
        };
        self.read_on(ctx);
    }

    /// Whether any of it has gone out.
    fn has_begun(&self) -> bool {
        match self.step {
            Step::Open | Step::Announce => false,
            Step::Mark => matches!(self.stream, Stream::Store { .. }),
            Step::Head | Step::Body => true,
        }
    }

    /// Bytes of the stream behind an answer's length.
    fn sealed(&self) -> u64 {
        match self.stream {
            Stream::Store { .. } => self.len.saturating_add(IV_LEN),
            Stream::Answer { .. } => self.len,
        }
    }

    //# GO-7: The raw bytes of a store are as many as its `Size` says: an IV of 16 bytes,
    //# then the file under AES-256-CTR, the IV being the first counter block. Those of an
    //# answer to MessageGetFile are a length, 8 bytes, little-endian, and that many bytes:
    //# what a store has left there.
    fn head(&self) -> Vec<u8> {
        match &self.stream {
            Stream::Store { store, .. } => store.iv.into(),
            Stream::Answer { .. } => self.len.to_le_bytes().into(),
        }
    }

    /// Asks for the next bytes of the file, if there is room for them.
    fn read_on(&mut self, ctx: &mut Ctx) {
        let limits = &ctx.config.limits;
        let held = self.read.saturating_sub(self.taken);
        let left = self.len.saturating_sub(self.read);
        if self.busy || left == 0 || held >= limits.window as u64 {
            return;
        }
        let len = usize::try_from(left).map_or(limits.chunk, |left| left.min(limits.chunk));
        let (file, at) = (self.file, self.read);
        self.busy = true;
        self.read = self.read.saturating_add(len as u64);
        ctx.submit(FileKind::Read { file, at, len }, Waiter::Out(file));
    }

    /// Takes what has been read. Whether it is as much as was asked for.
    fn take_in(&mut self, bytes: Bytes) -> bool {
        let come = self.ready.iter().chain([&bytes]).map(Bytes::len);
        let come: usize = come.sum();
        if self.taken.saturating_add(come as u64) != self.read {
            return false;
        }
        let bytes = match &mut self.seal {
            None => bytes,
            Some(seal) => {
                let mut sealed = BytesMut::from(bytes);
                if seal.cipher.apply(&mut sealed).is_err() {
                    return false;
                }
                if let Some(hasher) = &mut seal.hasher {
                    hasher.update(&sealed);
                }
                sealed.freeze()
            }
        };
        self.ready.push_back(bytes);
        true
    }
}

/// Why a stream was given up.
enum Failure {
    TooLong { size: u64, max: u64 },
    Disk(DiskError),
}

impl Failure {
    fn into_error(self) -> OpError {
        match self {
            Self::TooLong { size, max } => OpError::TooLong { size, max },
            Self::Disk(error) => OpError::Disk(error),
        }
    }

    fn into_disk(self) -> DiskError {
        match self {
            Self::TooLong { .. } => DiskError::Io("the file is longer than the limit".into()),
            Self::Disk(error) => error,
        }
    }
}
