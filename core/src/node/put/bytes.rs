//! The bytes of a put, on their way from the caller to chunks and the nodes
//! above them.

use bytes::{Bytes, BytesMut};

use super::super::ctx::Ctx;
use super::PutOp;
use super::blobs::Place;
use crate::error::{OpError, PushError};
use crate::job::Work;
use crate::seal::{ChunkBuffer, INLINE_MAX, PendingNode};

/// What is not a chunk yet.
#[derive(Debug)]
pub(super) enum Buffer {
    /// It may become the record's content.
    Small(BytesMut),
    Chunk(ChunkBuffer),
    /// Between two chunks.
    Empty,
}

impl PutOp {
    /// Takes bytes; what there is no room for comes back.
    pub(in crate::node) fn push(
        &mut self,
        ctx: &mut Ctx,
        mut data: Bytes,
    ) -> Result<(), PushError> {
        if self.ended || self.over {
            return Err(PushError::Gone(data));
        }
        while !data.is_empty() {
            match &mut self.buffer {
                Buffer::Small(small) if small.len() + data.len() <= INLINE_MAX => {
                    small.extend_from_slice(&data);
                    self.size += data.len() as u64;
                    return Ok(());
                }
                Buffer::Small(_) | Buffer::Empty => {
                    if !ctx.take_put_room(self.id, &mut self.held) {
                        return Err(PushError::Busy(data));
                    }
                    let mut chunk = ChunkBuffer::with_capacity(ctx.config.chunk_bytes as usize);
                    if let Buffer::Small(small) = &self.buffer {
                        // A chunk is larger than what a record holds.
                        let taken = chunk.extend(small);
                        debug_assert_eq!(taken, small.len(), "what was small fits into a chunk");
                    }
                    self.buffer = Buffer::Chunk(chunk);
                }
                Buffer::Chunk(chunk) => {
                    let taken = chunk.extend(&data);
                    let _ = data.split_to(taken);
                    self.size += taken as u64;
                    if chunk.remaining() == 0 {
                        self.cut(ctx);
                    }
                }
            }
        }
        Ok(())
    }

    /// The caller has no more bytes.
    pub(in crate::node) fn finish(&mut self, ctx: &mut Ctx) {
        if self.ended || self.over {
            return;
        }
        self.ended = true;
        if !self.is_inline() {
            self.cut(ctx);
            if self.tree.finish(self.chunks).is_err() {
                return self.fail(ctx, OpError::TooLarge);
            }
            self.seal_nodes(ctx);
        }
        self.progressed(ctx);
        self.advance(ctx);
    }

    /// Whether the file lies in its record.
    fn is_inline(&self) -> bool {
        matches!(self.buffer, Buffer::Small(_))
    }

    /// Seals the chunk that has been gathered.
    fn cut(&mut self, ctx: &mut Ctx) {
        let Buffer::Chunk(plain) = core::mem::replace(&mut self.buffer, Buffer::Empty) else {
            return;
        };
        let (len, place) = (plain.len() as u64, Place::Chunk(self.chunks));
        self.chunks += 1;
        let (reader, pad) = (self.writer.reader().clone(), ctx.config.pad_bytes as usize);
        self.seal(ctx, place, len, Work::SealChunk { reader, plain, pad });
    }

    pub(super) fn seal_nodes(&mut self, ctx: &mut Ctx) {
        while let Some(node) = self.tree.take_full() {
            let PendingNode { level, index, .. } = node;
            let reader = self.writer.reader().clone();
            self.seal(
                ctx,
                Place::Node(level, index),
                0,
                Work::SealNode { reader, node },
            );
        }
    }
}
