//! A get: the record, then the chunks of the range in order, each from the
//! first replica that has it undamaged, with as much read-ahead as there is
//! room for. A chunk handed to the caller makes room for the next.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

use bytes::Bytes;

use super::ctx::{Ctx, Timer};
use super::open::{Open, Opening, Opens};
use super::sources::Sources;
use super::task::{Answer, JobTask, Step, Waiter};
use crate::bug::{self, Bug};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, Opener, Work};
use crate::output::{Access, Event, FileInfo, Get, Outcome, Unconfirmed};
use crate::seal::{BLOB_MAX, Content, Need, RangeWalk};

#[derive(Debug)]
pub(super) struct GetOp {
    id: OpId,
    opener: Opener,
    wanted: Option<Range<u64>>,
    opening: Opening,
    file: Option<FileInfo>,
    walk: Option<RangeWalk>,
    pieces: BTreeMap<u64, Piece>,
    /// Numbers of the next piece to ask for and to hand over.
    next: u64,
    out: u64,
    /// Bytes for the caller, in order, each with whether its end frees a
    /// chunk's room.
    ready: VecDeque<(Bytes, bool)>,
    /// Bytes handed over.
    handed: u64,
    held: usize,
    over: bool,
}

/// One blob that the range needs.
#[derive(Debug)]
struct Piece {
    need: Need,
    sources: Sources,
    plain: Option<Bytes>,
}

impl GetOp {
    pub(super) fn new(ctx: &mut Ctx, id: OpId, get: Get) -> Self {
        let (opener, key, version) = match get.access {
            Access::Name {
                reader,
                name,
                version,
            } => {
                let key = reader.key(&name);
                (Opener::Reader(reader), key, version)
            }
            Access::File(file) => {
                let (key, id) = (file.key(), file.id());
                (Opener::File(file), key, Some(id))
            }
        };
        let mut opening = Opening::new(ctx, id, opener.clone(), key, version, get.confirmed);
        if version.is_none() {
            opening.freshly(ctx, get.older);
        }
        ctx.arm(Timer::Progress(id), ctx.config.timing.operation);
        Self {
            id,
            opener,
            wanted: get.range,
            opening,
            file: None,
            walk: None,
            pieces: BTreeMap::new(),
            next: 0,
            out: 0,
            ready: VecDeque::new(),
            handed: 0,
            held: 0,
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    // Answers.

    pub(super) fn answer(&mut self, ctx: &mut Ctx, step: Step, from: NodeId, answer: Answer) {
        if self.over {
            return;
        }
        if let Step::Piece(number) = step {
            return self.fetched(ctx, number, from, answer);
        }
        self.open_with(ctx, |opening, ctx| opening.answer(ctx, step, from, answer));
    }

    pub(super) fn made(&mut self, ctx: &mut Ctx, step: Step, made: Made) {
        if self.over {
            return;
        }
        match (step, made) {
            (Step::Piece(number), Made::Chunk(chunk)) => self.chunk_opened(ctx, number, chunk.ok()),
            (Step::Piece(number), Made::Node(Ok(node))) => {
                let expanded = self
                    .walk
                    .as_mut()
                    .is_some_and(|walk| walk.expand(node).is_ok());
                self.pieces.remove(&number);
                if expanded {
                    self.progressed(ctx);
                    self.pump(ctx);
                } else {
                    self.end(
                        ctx,
                        Err(OpError::Unreadable("its manifest contradicts itself")),
                    );
                }
            }
            (Step::Piece(number), _) => self.damaged(ctx, number),
            (_, made) => self.open_with(ctx, |opening, ctx| opening.made(ctx, made)),
        }
    }

    // Pieces.

    /// Asks for pieces as far ahead as there is room.
    fn pump(&mut self, ctx: &mut Ctx) {
        while !self.over {
            let Some(walk) = self
                .walk
                .as_mut()
                .filter(|walk| !walk.is_waiting() && !walk.is_done())
            else {
                return;
            };
            if !take_room(ctx, &mut self.held) {
                ctx.get_waiting.insert(self.id);
                return;
            }
            let need = walk.next_need();
            // Only chunks wait for the caller.
            if need.as_ref().is_none_or(|need| need.level > 0) {
                give_room(ctx, &mut self.held);
            }
            let Some(need) = need else { return };
            let sources = Sources::new(ctx.blob_sources(&need.id));
            let number = self.next;
            self.next += 1;
            self.pieces.insert(
                number,
                Piece {
                    need,
                    sources,
                    plain: None,
                },
            );
            if !fetch_next(ctx, self.id, &mut self.pieces, number) {
                self.missing(ctx, number);
            }
        }
    }

    fn fetched(&mut self, ctx: &mut Ctx, number: u64, from: NodeId, answer: Answer) {
        let Some(piece) = self.pieces.get_mut(&number) else {
            return;
        };
        if !piece.sources.is_asked(from) {
            return;
        }
        match answer {
            Answer::Blob { bytes, verified } => {
                let (id, key) = (piece.need.id, piece.need.key.clone());
                let work = if piece.need.level > 0 {
                    Work::OpenNode {
                        opener: self.opener.clone(),
                        id,
                        key,
                        shape: piece.need.shape(),
                        bytes,
                    }
                } else {
                    let len = u32::try_from(piece.need.covers()).unwrap_or(u32::MAX);
                    Work::OpenChunk {
                        id,
                        key,
                        len,
                        bytes,
                        verified,
                    }
                };
                ctx.job(work, JobTask::Op(self.id, Step::Piece(number)));
            }
            Answer::No(no) => {
                piece.sources.failed(&no);
                if !fetch_next(ctx, self.id, &mut self.pieces, number) {
                    self.missing(ctx, number);
                }
            }
            Answer::Record(_) | Answer::Page(_) | Answer::Held => {}
        }
    }

    /// What a source sent is not what it should be.
    fn damaged(&mut self, ctx: &mut Ctx, number: u64) {
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.sources.lied(ctx);
        }
        if !fetch_next(ctx, self.id, &mut self.pieces, number) {
            self.missing(ctx, number);
        }
    }

    /// No source is left. Where one could not be asked, it may be asked later.
    fn missing(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(piece) = self.pieces.get(&number) else {
            return;
        };
        if !piece.sources.is_passing() {
            return self.end(ctx, Err(OpError::Missing));
        }
        ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
    }

    fn chunk_opened(&mut self, ctx: &mut Ctx, number: u64, plain: Option<Bytes>) {
        let Some(plain) = plain else {
            return self.damaged(ctx, number);
        };
        let Some(piece) = self.pieces.get_mut(&number) else {
            return;
        };
        let mut part = piece.need.part();
        if part.start > 0 && bug::on(Bug::RangeShifted) {
            part = part.start - 1..part.end - 1;
        }
        if part.end > plain.len() {
            return self.damaged(ctx, number);
        }
        ctx.spares.keep(&plain);
        piece.plain = Some(plain.slice(part));
        self.progressed(ctx);
        self.hand_over(ctx);
    }

    /// Puts what is next in order into the caller's reach.
    fn hand_over(&mut self, ctx: &mut Ctx) {
        loop {
            match self.pieces.get_mut(&self.out) {
                Some(piece) => match piece.plain.take() {
                    Some(plain) => {
                        self.ready.push_back((plain, true));
                        self.pieces.remove(&self.out);
                    }
                    None => break,
                },
                // A manifest node that is done.
                None if self.out < self.next => {}
                None => break,
            }
            self.out += 1;
        }
        if !self.ready.is_empty() {
            ctx.events.readable(self.id);
        }
        self.check_end(ctx);
    }

    /// The caller takes bytes.
    pub(super) fn data(&mut self, ctx: &mut Ctx, max: usize) -> Option<Bytes> {
        if max == 0 || self.over {
            return None;
        }
        let (front, holds) = self.ready.front_mut()?;
        let part = front.split_to(front.len().min(max));
        let (spent, holds) = (front.is_empty(), *holds);
        self.handed += part.len() as u64;
        ctx.events.progress(self.id, self.handed);
        if spent {
            self.ready.pop_front();
            if holds {
                give_room(ctx, &mut self.held);
                self.progressed(ctx);
                self.pump(ctx);
            }
        }
        self.check_end(ctx);
        Some(part)
    }

    fn check_end(&mut self, ctx: &mut Ctx) {
        let Some(file) = &self.file else { return };
        if !self.over && self.handed == file.range.end - file.range.start {
            let file = file.clone();
            self.end(ctx, Ok(Outcome::Read(file)));
        }
    }

    // Time, peers, ends.

    fn progressed(&self, ctx: &mut Ctx) {
        ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
    }

    /// There is room again for what it waits for.
    pub(super) fn room(&mut self, ctx: &mut Ctx) {
        if !self.over {
            self.pump(ctx);
        }
    }

    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if self.over {
            return;
        }
        if self.file.is_none() {
            return self.opening.retry(ctx, peer);
        }
        let stuck = |piece: &Piece| piece.plain.is_none() && piece.sources.is_exhausted();
        let stuck: alloc::vec::Vec<u64> = self
            .pieces
            .iter()
            .filter(|(_, piece)| stuck(piece))
            .map(|(number, _)| *number)
            .collect();
        for number in stuck {
            if let Some(piece) = self.pieces.get_mut(&number) {
                piece.sources = Sources::new(ctx.blob_sources(&piece.need.id));
            }
            if !fetch_next(ctx, self.id, &mut self.pieces, number) {
                self.missing(ctx, number);
            }
        }
    }

    pub(super) fn timer(&mut self, ctx: &mut Ctx, timer: Timer) {
        if self.over {
            return;
        }
        match timer {
            Timer::Answer(_) if self.file.is_none() => {
                self.open_with(ctx, Opening::late);
            }
            Timer::Retry(_) => self.retry(ctx, None),
            Timer::Progress(_) => {
                let (answered, needed) = self.opening.answers();
                match &self.file {
                    None => self.end(ctx, Err(OpError::Unconfirmed { answered, needed })),
                    // It is the caller's turn.
                    Some(_) if self.pieces.values().all(|piece| piece.plain.is_some()) => {
                        self.progressed(ctx)
                    }
                    Some(_) => self.end(ctx, Err(OpError::Missing)),
                }
            }
            _ => {}
        }
    }

    pub(super) fn cancel(&mut self, ctx: &mut Ctx) {
        self.end(ctx, Err(OpError::Cancelled { unknown: false }));
    }
}

impl Opens for GetOp {
    fn opening(&mut self) -> &mut Opening {
        &mut self.opening
    }

    fn opened(&mut self, ctx: &mut Ctx, open: Open) {
        //# REMOVE-2: A reader whose newest record is of kind 2 MUST say that
        //# there is no such file.
        if matches!(open.content, Content::Removed) {
            let error = open.unconfirmed.map_or(OpError::NotFound, doubted);
            return self.end(ctx, Err(error));
        }
        let size = open.meta.size;
        let range = match &self.wanted {
            None => 0..size,
            Some(range) if range.start <= range.end && range.start <= size => {
                range.start..range.end.min(size)
            }
            Some(Range { start, end }) => {
                return self.end(
                    ctx,
                    Err(OpError::Range {
                        start: *start,
                        end: *end,
                        size,
                    }),
                );
            }
        };
        let file = FileInfo {
            key: open.head.key(),
            siv: open.head.head().siv,
            name: open.meta.name,
            size,
            modified: open.meta.modified,
            id: open.head.id(),
            put: open.head.head().put,
            range: range.clone(),
            unconfirmed: open.unconfirmed,
        };
        match open.content {
            Content::Removed => {}
            Content::Inline(bytes) => {
                // The content's length is the file's: opening has checked it.
                let part = bytes.slice(range.start as usize..range.end as usize);
                self.ready
                    .extend((!part.is_empty()).then_some((part, false)));
            }
            Content::Root(root) if !range.is_empty() => {
                self.walk = Some(RangeWalk::new(&root, open.meta.chunk_size, range));
            }
            Content::Root(_) => {}
        }
        ctx.events.push(Event::Opened {
            op: self.id,
            file: file.clone(),
        });
        self.file = Some(file);
        self.progressed(ctx);
        self.pump(ctx);
        self.hand_over(ctx);
    }

    fn end(&mut self, ctx: &mut Ctx, result: Result<Outcome, OpError>) {
        if self.over {
            return;
        }
        self.over = true;
        self.pieces.clear();
        self.ready.clear();
        while self.held > 0 {
            give_room(ctx, &mut self.held);
        }
        ctx.events.finished(self.id, result);
    }
}

/// What a removal comes to that may not be found again, or not be the newest.
fn doubted(doubt: Unconfirmed) -> OpError {
    let Unconfirmed {
        answered,
        needed,
        copies,
        durable,
    } = doubt;
    if answered < needed {
        OpError::Unconfirmed { answered, needed }
    } else {
        OpError::Unavailable {
            copies,
            needed: durable,
            unknown: false,
        }
    }
}

/// Asks the next source for a piece. False if there is none.
fn fetch_next(ctx: &mut Ctx, op: OpId, pieces: &mut BTreeMap<u64, Piece>, number: u64) -> bool {
    let Some(piece) = pieces.get_mut(&number) else {
        return true;
    };
    //# READ-6: A reader MUST ask for a blob at one member after another, in the order of
    //# its slot, itself first, before it calls it missing; one that sends a wrong blob is
    //# passed over.
    let source = piece.sources.next(ctx);
    if let Some(source) = source {
        let waiter = Waiter::Op(op, Step::Piece(number));
        ctx.fetch(source, piece.need.id, BLOB_MAX, waiter);
    }
    source.is_some()
}

/// Takes the room of one chunk. A reader that takes nothing holds one of its
/// own; what is beyond comes from a common pool.
fn take_room(ctx: &mut Ctx, held: &mut usize) -> bool {
    let room = *held == 0 || ctx.get_pool.take(BLOB_MAX);
    *held += usize::from(room);
    room
}

/// Gives back the room of one chunk.
fn give_room(ctx: &mut Ctx, held: &mut usize) {
    *held -= 1;
    if *held > 0 {
        ctx.get_pool.give(BLOB_MAX);
        ctx.get_room = true;
    }
}
