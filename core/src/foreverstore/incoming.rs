//! What comes in: messages, and the streams that they announce or that answer
//! ours.
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

use bytes::{Buf, Bytes};

use super::ctx::Ctx;
use super::file::FileId;
use super::framing::{Reader, Unit};
use super::message::Message;
use super::names::{FileKey, OwnerId};
use super::outgoing::{Ask, IV_LEN, Outgoing, What};
use super::output::{Event, Fault, NotKept, OpError, Outcome};
use super::writing::{Purpose, Writings};
use crate::ctr::CtrStream;
use crate::disk::DiskError;
use crate::id::OpId;

#[derive(Debug)]
pub(super) struct Incoming {
    reader: Reader,
    state: State,
    /// Stores whose streams have not begun, in order.
    announced: VecDeque<Announced>,
    pub(super) writings: Writings,
    /// Units and streams that have begun or ended: signs of life.
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Announced {
    owner: OwnerId,
    key: FileKey,
    size: u64,
}

#[derive(Debug)]
enum State {
    /// Messages, and the marks of streams.
    Units,
    /// The first bytes of a stream that may be an answer: its length.
    Length { bytes: [u8; 8], have: usize },
    /// A stream of which so many bytes are left.
    Stream { left: u64, sink: Sink },
}

/// Where the bytes of a stream go.
#[derive(Debug)]
enum Sink {
    /// To a file, as they are.
    Keep(FileId),
    /// To a file, opened: the first are the IV.
    Open {
        file: FileId,
        iv: [u8; 16],
        have: usize,
        cipher: Option<Box<CtrStream>>,
    },
    /// They should come to this hash.
    Compare {
        op: OpId,
        size: u64,
        hash: blake3::Hash,
        hasher: Box<blake3::Hasher>,
    },
    /// Nowhere.
    Nothing,
}

impl Incoming {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self {
            reader: Reader::new(ctx.config.framing, ctx.config.limits.gob),
            state: State::Units,
            announced: VecDeque::new(),
            writings: Writings::default(),
            steps: 0,
        }
    }

    /// Whether the peer owes bytes: it is within something, or has announced
    /// what has not begun.
    pub(super) fn is_owed(&self) -> bool {
        !matches!(self.state, State::Units)
            || self.reader.is_mid_unit()
            || !self.announced.is_empty()
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn received(
        &mut self,
        ctx: &mut Ctx,
        out: &mut Outgoing,
        mut input: Bytes,
    ) -> Result<(), Fault> {
        while input.has_remaining() {
            match &mut self.state {
                State::Units => {
                    let Some(unit) = self.reader.read(&mut input)? else {
                        break;
                    };
                    self.steps = self.steps.saturating_add(1);
                    match unit {
                        Unit::Message(message) => self.on_message(ctx, out, message)?,
                        Unit::Stream => self.on_stream(ctx, out)?,
                    }
                }
                State::Length { bytes, have } => {
                    if let Some(place) = bytes.get_mut(*have) {
                        *place = input.get_u8();
                    }
                    *have = have.saturating_add(1);
                    if *have == bytes.len() {
                        let bytes = *bytes;
                        self.on_length(ctx, out, bytes)?;
                    }
                }
                State::Stream { left, .. } => {
                    let take =
                        usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    let piece = input.split_to(take);
                    self.on_piece(ctx, &piece);
                }
            }
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        ctx: &mut Ctx,
        out: &mut Outgoing,
        message: Message,
    ) -> Result<(), Fault> {
        let (Message::Store { id, key, .. } | Message::Get { id, key }) = &message;
        let owner = OwnerId::from_hex(id).ok_or(Fault::Name)?;
        let key = FileKey::from_hex(key).ok_or(Fault::Name)?;
        //# GO-10: A node MUST NOT keep, and MUST NOT send, under its own id what a peer asks
        //# it to: its own files are plaintext, and a key can be a file's name.
        let ours = owner == ctx.config.id;
        match message {
            Message::Get { .. } if ours => {
                let why = DiskError::NotFound;
                ctx.tell(Event::NotServed { owner, key, why });
                Ok(())
            }
            Message::Get { .. } => out.serve(ctx, owner, key),
            Message::Store { size, .. } => {
                let limits = &ctx.config.limits;
                //# GO-13: A receiver MUST refuse a store whose `Size` is below 16 or above its
                //# limit.
                let fits = |size: &u64| (IV_LEN..=limits.file).contains(size);
                let sealed = u64::try_from(size).ok().filter(fits);
                let sealed = sealed.ok_or(Fault::Size(size))?;
                if self.announced.len() >= limits.requests {
                    return Err(Fault::TooMany(limits.requests));
                }
                self.announced.push_back(Announced {
                    owner,
                    key,
                    size: sealed,
                });
                Ok(())
            }
        }
    }

    /// Raw bytes begin. If they can be an answer, their first eight tell.
    fn on_stream(&mut self, ctx: &mut Ctx, out: &Outgoing) -> Result<(), Fault> {
        if out.expects_answer() {
            let (bytes, have) = ([0; 8], 0);
            self.state = State::Length { bytes, have };
            return Ok(());
        }
        let announced = self.announced.pop_front().ok_or(Fault::Unrequested)?;
        self.start_keeping(ctx, announced);
        Ok(())
    }

    //# GO-12: Raw bytes that begin while an answer may come are the answer if no store is
    //# announced, or if the first eight of them are a length that an answer can have: 16 or
    //# more, and within the limit. Otherwise they are the first of the announced stores.
    fn on_length(
        &mut self,
        ctx: &mut Ctx,
        out: &mut Outgoing,
        bytes: [u8; 8],
    ) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(1);
        let length = i64::from_le_bytes(bytes);
        let may_be_answer = out.may_be_answer(ctx, length);
        if !may_be_answer && let Some(announced) = self.announced.pop_front() {
            self.start_keeping(ctx, announced);
            self.on_piece(ctx, &bytes);
            return Ok(());
        }
        if !out.expects_answer() {
            return Err(Fault::Unrequested);
        }
        let max = ctx.config.limits.file;
        let len = u64::try_from(length).ok().filter(|len| *len <= max);
        let len = len.ok_or(Fault::Length(length))?;
        let sink = match out.answered(ctx) {
            Some(ask) => self.sink_of(ctx, ask, len),
            None => Sink::Nothing,
        };
        self.state = State::Stream { left: len, sink };
        self.end_if_whole(ctx);
        Ok(())
    }

    fn sink_of(&mut self, ctx: &mut Ctx, Ask { op, what }: Ask, len: u64) -> Sink {
        match what {
            _ if len < IV_LEN => {
                ctx.finish(op, Err(OpError::NotSealed(len)));
                Sink::Nothing
            }
            What::Get { name } => Sink::Open {
                file: self.writings.create(ctx, Purpose::Get { op, name }),
                iv: [0; 16],
                have: 0,
                cipher: None,
            },
            What::Verify { size, hash, .. } if size == len => Sink::Compare {
                op,
                size,
                hash,
                hasher: Box::default(),
            },
            What::Verify { .. } => {
                ctx.finish(op, Err(OpError::Differs));
                Sink::Nothing
            }
        }
    }

    fn start_keeping(&mut self, ctx: &mut Ctx, Announced { owner, key, size }: Announced) {
        let sink = if owner == ctx.config.id {
            let why = NotKept::Ours;
            ctx.tell(Event::NotKept { owner, key, why });
            Sink::Nothing
        } else {
            Sink::Keep(self.writings.create(ctx, Purpose::Keep { owner, key }))
        };
        self.state = State::Stream { left: size, sink };
    }

    fn on_piece(&mut self, ctx: &mut Ctx, piece: &[u8]) {
        let State::Stream { left, sink } = &mut self.state else {
            return;
        };
        *left = left.saturating_sub(piece.len() as u64);
        match sink {
            Sink::Nothing => {}
            Sink::Keep(file) => self.writings.push(ctx, *file, piece, |_| {}),
            Sink::Compare { hasher, .. } => {
                hasher.update(piece);
            }
            Sink::Open {
                file,
                iv,
                have,
                cipher,
            } => {
                let missing = iv.get_mut(*have..).unwrap_or_default();
                let (head, body) = piece.split_at(piece.len().min(missing.len()));
                for (place, byte) in missing.iter_mut().zip(head) {
                    *place = *byte;
                }
                *have = have.saturating_add(head.len());
                if *have == iv.len() {
                    let key = &ctx.config.key;
                    let cipher = cipher.get_or_insert_with(|| Box::new(key.stream(iv)));
                    self.writings.push(ctx, *file, body, |body| {
                        // Streams are far shorter than 2^64 bytes.
                        let _ = cipher.apply(body);
                    });
                }
            }
        }
        self.end_if_whole(ctx);
    }

    /// Ends the stream if all of it has come.
    fn end_if_whole(&mut self, ctx: &mut Ctx) {
        if !matches!(self.state, State::Stream { left: 0, .. }) {
            return;
        }
        self.steps = self.steps.saturating_add(1);
        let State::Stream { sink, .. } = core::mem::replace(&mut self.state, State::Units) else {
            return;
        };
        match sink {
            Sink::Nothing => {}
            Sink::Keep(file) | Sink::Open { file, .. } => self.writings.end(ctx, file),
            Sink::Compare {
                op,
                size,
                hash,
                hasher,
            } => {
                let same = hasher.finalize() == hash;
                let outcome = Outcome::Verified { size };
                ctx.finish(
                    op,
                    if same {
                        Ok(outcome)
                    } else {
                        Err(OpError::Differs)
                    },
                );
            }
        }
    }

    /// Gives up a get whose answer is coming.
    pub(super) fn cancel(&mut self, ctx: &mut Ctx, op: OpId) {
        if let State::Stream { sink, .. } = &mut self.state
            && let Sink::Open { file, .. } = sink
            && self.writings.cancel(ctx, *file, op)
        {
            *sink = Sink::Nothing;
        }
    }

    /// The connection has ended. What has come whole is still kept.
    pub(super) fn end(&mut self, ctx: &mut Ctx) {
        self.announced.clear();
        let State::Stream { sink, .. } = core::mem::replace(&mut self.state, State::Units) else {
            return;
        };
        match sink {
            Sink::Nothing => {}
            Sink::Keep(file) | Sink::Open { file, .. } => self.writings.cut(ctx, file),
            Sink::Compare { op, .. } => ctx.finish(op, Err(OpError::Closed { unknown: true })),
        }
    }
}
