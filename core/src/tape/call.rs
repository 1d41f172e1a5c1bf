//! Every call that can change a node. A command that is added to the node has
//! to be added here, in [`Told`] and in [`Told::perform`], and to
//! [`super::Taped`].
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
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use bytes::Bytes;

use super::value::{Decoder, Malformed, Out, Readable, Written, fields, variants};
use crate::config::ClusterKey;
use crate::disk::{DiskData, DiskDone, DiskError, Ticket};
use crate::id::{ConnId, NodeId, OpId};
use crate::input::{CloseReason, Input, Role};
use crate::job::Job;
use crate::node::Node;
use crate::output::{Forget, Get, History, List, Put, Remove, Restore};
use crate::time::{Instant, UnixMillis};

/// A fact or a command.
pub(super) enum Told {
    Accept,
    Opened(Box<Opened>),
    Received { conn: ConnId, data: Bytes },
    Closed { conn: ConnId, reason: CloseReason },
    DialFailed(ConnId),
    Disk(Box<Executed>),
    Job(NonZeroU64),
    Wall(UnixMillis),
    Timeout,
    Put(Put),
    Push { op: OpId, data: Bytes },
    Finish(OpId),
    Get(Get),
    List(List),
    History(History),
    Remove(Remove),
    Restore(Restore),
    Forget(Forget),
    Cancel(OpId),
    Deny(NodeId),
    Pardon(NodeId),
    Keys(Vec<ClusterKey>),
}

variants!(Told {
    Accept,
    Opened(opened),
    Received { conn, data },
    Closed { conn, reason },
    DialFailed(conn),
    Disk(done),
    Job(ticket),
    Wall(wall),
    Timeout,
    Put(put),
    Push { op, data },
    Finish(op),
    Get(get),
    List(list),
    History(history),
    Remove(remove),
    Restore(restore),
    Forget(forget),
    Cancel(op),
    Deny(peer),
    Pardon(peer),
    Keys(keys),
});

pub(super) struct Opened {
    conn: ConnId,
    role: Role,
    peer: NodeId,
}

fields!(Opened { conn, role, peer });

/// What came of a disk operation.
pub(super) struct Executed {
    ticket: NonZeroU64,
    result: Result<DiskData, DiskError>,
}

fields!(Executed { ticket, result });

/// A request for an output.
#[derive(Clone, Copy)]
pub(super) enum Drain {
    Dirty,
    Transmit { conn: ConnId, max: usize },
    Data { op: OpId, max: usize },
    Entry(OpId),
    Disk,
    Job,
    Event,
}

variants!(Drain {
    Dirty,
    Transmit { conn, max },
    Data { op, max },
    Entry(op),
    Disk,
    Job,
    Event,
});

/// The outputs of calls in the form in which a tape has them.
pub(super) type Output = Vec<u8>;

/// Jobs that the node has given and not been told the results of.
pub(super) type Jobs = BTreeMap<NonZeroU64, Job>;

/// A job is completed that was never given.
#[derive(Debug)]
pub(super) struct NoSuchJob;

impl Told {
    //# TAPE-7: The result of a job is not on the tape: a job is a pure function of what it was
    //# made from, and a replayer MUST run it when its completion comes.
    pub(super) fn of(input: &Input) -> Self {
        match input {
            Input::Opened { conn, role, peer } => Self::Opened(Box::new(Opened {
                conn: *conn,
                role: *role,
                peer: *peer,
            })),
            Input::Received { conn, data } => Self::Received {
                conn: *conn,
                data: data.clone(),
            },
            Input::Closed { conn, reason } => Self::Closed {
                conn: *conn,
                reason: *reason,
            },
            Input::DialFailed { conn } => Self::DialFailed(*conn),
            Input::Disk(done) => Self::Disk(Box::new(Executed {
                ticket: done.ticket.0,
                result: done.result.clone(),
            })),
            Input::Job(done) => Self::Job(done.ticket.0),
            Input::Wall(wall) => Self::Wall(*wall),
        }
    }

    /// Makes the call. What it gave, if it gives anything.
    pub(super) fn perform(
        self,
        node: &mut Node,
        now: Instant,
        jobs: &mut Jobs,
    ) -> Result<Option<Output>, NoSuchJob> {
        let input = match self {
            Self::Accept => return gave(&node.accept(now)),
            Self::Put(put) => return gave(&node.put(now, put)),
            Self::Push { op, data } => return gave(&node.push(now, op, data)),
            Self::Get(get) => return gave(&node.get(now, get)),
            Self::List(list) => return gave(&node.list(now, list)),
            Self::History(history) => return gave(&node.history(now, history)),
            Self::Restore(restore) => return gave(&node.restore(now, restore)),
            Self::Remove(remove) => return gave(&node.remove(now, remove)),
            Self::Forget(forget) => return gave(&node.forget(now, forget)),
            Self::Deny(peer) => return gave(&node.deny(now, peer)),
            Self::Pardon(peer) => return gave(&node.pardon(now, peer)),
            Self::Keys(keys) => return gave(&node.set_cluster_keys(now, keys).is_ok()),
            Self::Timeout => {
                node.handle_timeout(now);
                return Ok(None);
            }
            Self::Finish(op) => {
                node.finish(now, op);
                return Ok(None);
            }
            Self::Cancel(op) => {
                node.cancel(now, op);
                return Ok(None);
            }
            Self::Opened(opened) => {
                let Opened { conn, role, peer } = *opened;
                Input::Opened { conn, role, peer }
            }
            Self::Received { conn, data } => Input::Received { conn, data },
            Self::Closed { conn, reason } => Input::Closed { conn, reason },
            Self::DialFailed(conn) => Input::DialFailed { conn },
            Self::Disk(done) => {
                let Executed { ticket, result } = *done;
                let ticket = Ticket(ticket);
                Input::Disk(DiskDone { ticket, result })
            }
            Self::Job(ticket) => Input::Job(jobs.remove(&ticket).ok_or(NoSuchJob)?.run()),
            Self::Wall(wall) => Input::Wall(wall),
        };
        node.handle(now, input);
        Ok(None)
    }

    /// What a call is, for people.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Opened(_) => "handle(Opened)",
            Self::Received { .. } => "handle(Received)",
            Self::Closed { .. } => "handle(Closed)",
            Self::DialFailed(_) => "handle(DialFailed)",
            Self::Disk(_) => "handle(Disk)",
            Self::Job(_) => "handle(Job)",
            Self::Wall(_) => "handle(Wall)",
            Self::Timeout => "handle_timeout",
            Self::Put(_) => "put",
            Self::Push { .. } => "push",
            Self::Finish(_) => "finish",
            Self::Get(_) => "get",
            Self::List(_) => "list",
            Self::History(_) => "history",
            Self::Remove(_) => "remove",
            Self::Restore(_) => "restore",
            Self::Forget(_) => "forget",
            Self::Cancel(_) => "cancel",
            Self::Deny(_) => "deny",
            Self::Pardon(_) => "pardon",
            Self::Keys(_) => "set_cluster_keys",
        }
    }

    /// Bytes that it hands over: from peers and from the embedder.
    pub(super) fn bytes(&self) -> (usize, usize) {
        match self {
            Self::Received { data, .. } => (data.len(), 0),
            Self::Push { data, .. } => (0, data.len()),
            _ => (0, 0),
        }
    }

    /// Whether it starts an operation.
    pub(super) const fn starts(&self) -> bool {
        matches!(
            self,
            Self::Put(_)
                | Self::Get(_)
                | Self::List(_)
                | Self::History(_)
                | Self::Remove(_)
                | Self::Restore(_)
                | Self::Forget(_)
        )
    }
}

impl Drain {
    /// Asks for the output, and how many bytes for peers and for the embedder
    /// it has.
    pub(super) fn perform(self, node: &mut Node, jobs: &mut Jobs) -> (Output, (usize, usize)) {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        match self {
            Self::Dirty => (brief(&node.poll_dirty()), (0, 0)),
            Self::Transmit { conn, max } => {
                let bytes = node.poll_transmit(conn, max);
                (brief(&bytes), (len(&bytes), 0))
            }
            Self::Data { op, max } => {
                let bytes = node.poll_data(op, max);
                (brief(&bytes), (0, len(&bytes)))
            }
            Self::Entry(op) => (brief(&node.poll_entry(op)), (0, 0)),
            Self::Disk => (brief(&node.poll_disk()), (0, 0)),
            Self::Job => {
                let job = node.poll_job();
                let output = brief(&job);
                jobs.extend(job.map(|job| (job.ticket(), job)));
                (output, (0, 0))
            }
            Self::Event => (brief(&node.poll_event()), (0, 0)),
        }
    }

    /// What a call is, for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dirty => "poll_dirty",
            Self::Transmit { .. } => "poll_transmit",
            Self::Data { .. } => "poll_data",
            Self::Entry(_) => "poll_entry",
            Self::Disk => "poll_disk",
            Self::Job => "poll_job",
            Self::Event => "poll_event",
        }
    }
}

fn gave(output: &impl Written) -> Result<Option<Output>, NoSuchJob> {
    Ok(Some(brief(output)))
}

fn brief(output: &impl Written) -> Output {
    let mut bytes = Vec::new();
    output.write(&mut Out::new(&mut bytes, true));
    bytes
}
