//! Answers to this node's requests: each frame of one goes to whoever waits.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::ctx::Ctx;
use super::promises::is_less;
use super::reach::stored;
use super::session::Pending;
use super::spares::Spares;
use super::task::{Answer, No, Waiter};
use crate::disk::StoredRecord;
use crate::error::PeerFault;
use crate::id::NodeId;
use crate::seal::BLOB_MAX;
use crate::wire::frame::{BODY_MAX, Flags, Frame};
use crate::wire::message::{self, Claimed, Found, Refused, kind};

/// The request as it goes on, `None` at the end of its answer; or the request
/// as it was, and the fault.
type Kept = Result<Option<Pending>, (Pending, PeerFault)>;

/// Hands one frame of an answer to who waits.
#[expect(
    clippy::result_large_err,
    reason = "the request comes back as it was, on a path that ends the session"
)]
pub(super) fn answer(ctx: &mut Ctx, peer: NodeId, pending: Pending, frame: &Frame) -> Kept {
    //# MSG-7: An answer MUST be frames of the kind that the table names, all but the last
    //# with MORE, or REFUSED instead of the rest of it, without MORE; anything else is a
    //# fault. Only CLAIM and FETCH have answers of more than one frame: each of a CLAIM's
    //# is a message by itself, a FETCH's together are the blob.
    if frame.flags.contains(Flags::MORE) && !matches!(frame.kind, kind::CLAIM | kind::DATA) {
        return Err((pending, PeerFault::BadMessage));
    }
    if frame.kind == kind::REFUSED {
        let Ok(Refused { reason }) = message::decode(&frame.body) else {
            return Err((pending, PeerFault::BadMessage));
        };
        ctx.give_up(peer, pending, &No::Refused(reason));
        return Ok(None);
    }
    let answers = &mut ctx.answers;
    let mut tell = |waiter: Waiter, answer| answers.push_back((waiter, peer, answer));
    match (pending, frame.kind) {
        (Pending::Lookup { waiter, least }, kind::LOOKUP) => match found(&frame.body) {
            Some(record) => {
                let unkept = least.filter(|least| is_less(record.as_deref(), *least));
                tell(waiter, Answer::Record(record));
                if let Some((key, _)) = unkept {
                    ctx.unkept(peer, key);
                }
                Ok(None)
            }
            None => Err((Pending::Lookup { waiter, least }, PeerFault::BadMessage)),
        },
        (Pending::Page { waiter, query }, of) if of == query.kind() => {
            match query.read(&frame.body) {
                Some(page) => {
                    tell(waiter, Answer::Page(page));
                    Ok(None)
                }
                None => Err((Pending::Page { waiter, query }, PeerFault::BadMessage)),
            }
        }
        (Pending::Keep { waiter, key, id }, kind::KEEP) => {
            tell(waiter, Answer::Held);
            ctx.promised(peer, key, id);
            Ok(None)
        }
        (Pending::Fetch { waiter, max, data }, kind::DATA) => {
            fetched(&mut ctx.spares, waiter, max, data, frame, tell)
        }
        (Pending::Claim { waiters }, kind::CLAIM) => claimed(waiters, frame, tell),
        (Pending::Abandoned { left }, of) => abandoned(left, of, frame),
        (pending, _) => Err((pending, PeerFault::BadMessage)),
    }
}

/// What a look-up has found; `None` if it is malformed.
fn found(body: &[u8]) -> Option<Option<Box<StoredRecord>>> {
    let Found { record } = message::decode(body).ok()?;
    match record {
        None => Some(None),
        Some(parts) => Some(Some(stored(parts)?.into())),
    }
}

/// A piece of a blob, or all of it.
#[expect(
    clippy::result_large_err,
    reason = "the request comes back as it was, on a path that ends the session"
)]
fn fetched(
    spares: &mut Spares,
    waiter: Waiter,
    max: usize,
    mut data: BytesMut,
    frame: &Frame,
    mut tell: impl FnMut(Waiter, Answer),
) -> Kept {
    let more = frame.flags.contains(Flags::MORE);
    //# MSG-6: Data beyond the length that was asked for is a fault.
    if data.len() + frame.body.len() > max.min(BLOB_MAX) {
        return Err((Pending::Fetch { waiter, max, data }, PeerFault::Unrequested));
    }
    let bytes = if !more && data.is_empty() {
        // A blob of one frame is not copied unless it pins much more.
        if frame.body.len() < BODY_MAX as usize / 2 {
            Bytes::copy_from_slice(&frame.body)
        } else {
            frame.body.clone()
        }
    } else {
        if data.is_empty() {
            data = spares.take(max.min(BLOB_MAX));
        }
        data.extend_from_slice(&frame.body);
        if more {
            return Ok(Some(Pending::Fetch { waiter, max, data }));
        }
        data.freeze()
    };
    let verified = false;
    tell(waiter, Answer::Blob { bytes, verified });
    Ok(None)
}

/// Some answers to a claim.
#[expect(
    clippy::result_large_err,
    reason = "the request comes back as it was, on a path that ends the session"
)]
fn claimed(
    mut waiters: Vec<Option<Waiter>>,
    frame: &Frame,
    mut tell: impl FnMut(Waiter, Answer),
) -> Kept {
    let Ok(Claimed { answers }) = message::decode(&frame.body) else {
        return Err((Pending::Claim { waiters }, PeerFault::BadMessage));
    };
    for claimed in answers {
        let waiter = waiters
            .get_mut(usize::from(claimed.index))
            .and_then(Option::take);
        let Some(waiter) = waiter else {
            return Err((Pending::Claim { waiters }, PeerFault::Unrequested));
        };
        let held = claimed
            .refusal
            .map_or(Answer::Held, |refusal| Answer::No(No::Refused(refusal)));
        tell(waiter, held);
    }
    let left = waiters.iter().any(Option::is_some);
    Ok(left.then_some(Pending::Claim { waiters }))
}

/// Something that nobody waits for any more: it may go on for as long as the
/// answer could have been.
#[expect(
    clippy::result_large_err,
    reason = "the request comes back as it was, on a path that ends the session"
)]
fn abandoned(left: usize, of: u8, frame: &Frame) -> Kept {
    let data = of == kind::DATA;
    let more = frame.flags.contains(Flags::MORE);
    let part = if data { frame.body.len() } else { 1 };
    match left.checked_sub(part.max(usize::from(more))) {
        Some(left) => Ok(more.then_some(Pending::Abandoned { left })),
        None if more || data => Err((Pending::Abandoned { left }, PeerFault::Unrequested)),
        None => Ok(None),
    }
}
