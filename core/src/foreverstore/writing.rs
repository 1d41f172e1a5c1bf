//! Files that are being written, each behind the bytes that come for it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::ctx::Ctx;
use super::file::{FileId, FileKind, Waiter};
use super::names::{FileKey, FilePath, OwnerId};
use super::output::{Event, NotKept, OpError, Outcome};
use crate::disk::DiskError;
use crate::id::OpId;

/// What a file is written for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A peer wants it kept.
    Keep { owner: OwnerId, key: FileKey },
    /// The embedder wants it.
    Get { op: OpId, name: String },
}

#[derive(Debug, Default)]
pub(super) struct Writings(BTreeMap<FileId, Writing>);

#[derive(Debug)]
struct Writing {
    purpose: Purpose,
    /// What has come and is not on its way to the file.
    buffer: BytesMut,
    /// Bytes in the file, or on their way to it.
    appended: u64,
    /// Of those, bytes on their way.
    in_flight: usize,
    /// An operation is on its way.
    busy: bool,
    /// No more bytes come: it is to be committed, or not.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Committing,
    Discard,
}

impl Writings {
    /// Files of which all has come.
    pub(super) fn ended(&self) -> usize {
        let ended = |writing: &&Writing| writing.end.is_some();
        self.0.values().filter(ended).count()
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let held = |writing: &Writing| writing.buffer.len().saturating_add(writing.in_flight);
        self.0.values().map(held).sum()
    }

    pub(super) fn create(&mut self, ctx: &mut Ctx, purpose: Purpose) -> FileId {
        let file = ctx.new_file();
        if let Purpose::Keep { owner, key } = &purpose {
            ctx.keeping.push((*owner, *key));
        }
        ctx.submit(FileKind::Create { file }, Waiter::In(file));
        let writing = Writing {
            purpose,
            buffer: BytesMut::new(),
            appended: 0,
            in_flight: 0,
            busy: true,
            end: None,
        };
        self.0.insert(file, writing);
        file
    }

    /// Takes the next bytes of a file. One that has failed takes none.
    pub(super) fn push(
        &mut self,
        ctx: &mut Ctx,
        file: FileId,
        bytes: &[u8],
        open: impl FnOnce(&mut [u8]),
    ) {
        if let Some(writing) = self
            .0
            .get_mut(&file)
            .filter(|writing| writing.end.is_none())
        {
            let from = writing.buffer.len();
            writing.buffer.extend_from_slice(bytes);
            open(writing.buffer.get_mut(from..).unwrap_or_default());
            self.go_on(ctx, file);
        }
    }

    /// All bytes of a file have come.
    pub(super) fn end(&mut self, ctx: &mut Ctx, file: FileId) {
        if let Some(writing) = self
            .0
            .get_mut(&file)
            .filter(|writing| writing.end.is_none())
        {
            writing.end = Some(End::Commit);
            self.go_on(ctx, file);
        }
    }

    /// The rest of a file will not come.
    pub(super) fn cut(&mut self, ctx: &mut Ctx, file: FileId) {
        if let Some(writing) = self
            .0
            .get_mut(&file)
            .filter(|writing| writing.end.is_none())
        {
            writing.give_up(ctx, None);
            self.forget_if_idle(ctx, file);
        }
    }

    /// Gives up a file if it comes for this operation and has not come whole.
    pub(super) fn cancel(&mut self, ctx: &mut Ctx, file: FileId, op: OpId) -> bool {
        let Some(writing) = self.0.get_mut(&file) else {
            return false;
        };
        let is_it = matches!(&writing.purpose, Purpose::Get { op: of, .. } if *of == op);
        if !is_it || writing.end.is_some() {
            return false;
        }
        writing.discard();
        ctx.finish(op, Err(OpError::Cancelled));
        self.forget_if_idle(ctx, file);
        true
    }

    /// An operation on a file is done.
    pub(super) fn done(&mut self, ctx: &mut Ctx, file: FileId, result: Result<(), DiskError>) {
        let Some(writing) = self.0.get_mut(&file) else {
            return;
        };
        writing.busy = false;
        writing.in_flight = 0;
        match (result, writing.end) {
            (_, Some(End::Discard)) => {}
            (Ok(()), Some(End::Committing)) => {
                let event = writing.purpose.success(writing.appended);
                self.remove(ctx, file);
                return settle(ctx, event);
            }
            (Err(error), Some(End::Committing)) => {
                let event = writing.purpose.failure(Some(error));
                self.remove(ctx, file);
                return settle(ctx, event);
            }
            (Ok(()), _) => return self.go_on(ctx, file),
            (Err(error), _) => writing.give_up(ctx, Some(error)),
        }
        self.forget_if_idle(ctx, file);
    }

    /// Asks for a file's next operation, if there is one to ask for.
    fn go_on(&mut self, ctx: &mut Ctx, file: FileId) {
        let last = self.is_last(file);
        let Some(writing) = self.0.get_mut(&file).filter(|writing| !writing.busy) else {
            return;
        };
        let all = writing.end.is_some() && !writing.buffer.is_empty();
        if writing.buffer.len() >= ctx.config.limits.chunk || all {
            let bytes: Bytes = core::mem::take(&mut writing.buffer).freeze();
            let at = writing.appended;
            writing.in_flight = bytes.len();
            writing.appended = at.saturating_add(bytes.len() as u64);
            ctx.submit(FileKind::Append { file, at, bytes }, Waiter::In(file));
        } else if writing.end == Some(End::Commit) && last {
            writing.end = Some(End::Committing);
            let path = writing.purpose.path(&ctx.config.id);
            ctx.submit(FileKind::Commit { file, path }, Waiter::In(file));
        } else {
            return;
        }
        writing.busy = true;
    }

    //# GO-14: What a connection brings later takes its place later, and a MessageGetFile is
    //# answered with what the stores before it on the connection have left.
    /// Whether no file that came before it is still to take the same place.
    fn is_last(&self, file: FileId) -> bool {
        let Some(this) = self.0.get(&file) else {
            return true;
        };
        let mut before = self.0.range(..file);
        !before.any(|(_, other)| other.purpose.is_for_place_of(&this.purpose))
    }

    /// Forgets a file. Others may have waited for its place.
    fn remove(&mut self, ctx: &mut Ctx, file: FileId) {
        let Some(writing) = self.0.remove(&file) else {
            return;
        };
        if let Purpose::Keep { owner, key } = writing.purpose {
            ctx.kept(owner, key);
        }
        let waiting: Vec<FileId> = self.0.keys().copied().collect();
        for file in waiting {
            self.go_on(ctx, file);
        }
    }

    fn forget_if_idle(&mut self, ctx: &mut Ctx, file: FileId) {
        if self.0.get(&file).is_some_and(|writing| !writing.busy) {
            self.remove(ctx, file);
            ctx.submit(FileKind::Discard { file }, Waiter::Nobody);
        }
    }
}

impl Writing {
    fn give_up(&mut self, ctx: &mut Ctx, error: Option<DiskError>) {
        self.discard();
        settle(ctx, self.purpose.failure(error));
    }

    fn discard(&mut self) {
        self.end = Some(End::Discard);
        self.buffer = BytesMut::new();
    }
}

impl Purpose {
    fn path(&self, me: &OwnerId) -> FilePath {
        match self {
            Self::Keep { owner, key } => FilePath::replica(owner, key),
            Self::Get { name, .. } => FilePath::own(me, name),
        }
    }

    fn is_for_place_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep { owner, key }, Self::Keep { owner: o, key: k }) => (owner, key) == (o, k),
            (Self::Get { name, .. }, Self::Get { name: other, .. }) => name == other,
            _ => false,
        }
    }

    fn success(&self, size: u64) -> Event {
        match self {
            Self::Keep { owner, key } => Event::Kept {
                owner: *owner,
                key: *key,
                size,
            },
            Self::Get { op, .. } => Event::Finished {
                op: *op,
                result: Ok(Outcome::Got { size }),
            },
        }
    }

    /// Without an error: the connection ended.
    fn failure(&self, error: Option<DiskError>) -> Event {
        match self {
            Self::Keep { owner, key } => Event::NotKept {
                owner: *owner,
                key: *key,
                why: error.map_or(NotKept::Cut, NotKept::Disk),
            },
            Self::Get { op, .. } => Event::Finished {
                op: *op,
                result: Err(error.map_or(OpError::Closed { unknown: false }, OpError::Disk)),
            },
        }
    }
}

fn settle(ctx: &mut Ctx, event: Event) {
    match event {
        Event::Finished { op, result } => ctx.finish(op, result),
        event => ctx.tell(event),
    }
}
