//! What a node tells everybody who listens.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use peerhold_core::disk::{DiskError, RecordKey};
use peerhold_core::{CloseReason, Damage, Fork, NodeId, PeerAddr, PeerFault, Role};

use crate::foreverstore::Told;
use crate::link::ChannelError;
use crate::lock;

/// Something that happened to a node, beside its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The store is loaded: operations start.
    Ready,
    /// A peer was admitted.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// An admitted peer's session ended.
    PeerDown {
        /// Who.
        peer: NodeId,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
    },
    /// A connection ended before its peer was admitted.
    Refused {
        /// Who its channel said was there.
        peer: Option<NodeId>,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
        /// How it ended.
        reason: Option<CloseReason>,
    },
    /// A channel did not come about.
    Channel {
        /// Which side this node was.
        role: Role,
        /// Why.
        error: ChannelError,
    },
    /// A peer is said to be at an address that this node does not dial: only a
    /// literal `ip:port` can be, as no names are looked up, and only one of
    /// this machine by an `insecure` node. It is told at every attempt.
    Address {
        /// The address.
        addr: PeerAddr,
        /// Who is said to be there, if that is known.
        peer: Option<NodeId>,
    },
    /// More peers come than there are places for: some were closed for others
    /// before they were admitted, or turned away. Told at most once a second.
    Crowded,
    /// The member map changed.
    Members,
    /// A peer has for long placed by other members than this node: most often
    /// their policies differ. See [`peerhold_core::Event::MapDiffers`].
    MapDiffers {
        /// Who.
        peer: NodeId,
    },
    /// A peer sent something whose hash, signature or seal is wrong.
    Lied {
        /// Who.
        peer: NodeId,
    },
    /// A replica that had acknowledged a record of a name tells of an older one
    /// or none. See [`peerhold_core::Event::Unkept`].
    Unkept {
        /// Who.
        peer: NodeId,
        /// The name.
        key: RecordKey,
    },
    /// Replicas told of two different records of one version, both signed. See
    /// [`peerhold_core::Event::Forked`].
    Forked(Box<Fork>),
    /// Something was damaged in this node's store.
    Damaged(Damage),
    /// The store failed at something that no operation of this node waits for.
    /// What peers ask for is told of at most once a second.
    Trouble(DiskError),
    /// Something happened at the second port.
    Foreverstore(Told),
    /// Connections cannot be accepted at the moment: the operating system's
    /// words. It is tried again.
    Accept(String),
    /// A peer could not be dialled for want of something of this machine's, for
    /// instance of file descriptors: the operating system's words. It is tried
    /// again.
    Dial(String),
    /// The tape could not be written any more, by the operating system's
    /// words, and the recording has ended. The node goes on.
    Tape(String),
    /// This subscriber was slow: so many notices after the one before were
    /// dropped.
    Missed(u64),
}

/// A stream of [`Notice`]s, from [`super::Client::events`]. It holds a
/// bounded number of them, and does not keep the node alive.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

impl Events {
    pub(crate) fn new(limit: usize) -> (Self, Arc<Queue>) {
        let queue = Arc::new(Queue {
            limit,
            inner: Mutex::default(),
        });
        (
            Self {
                queue: Arc::clone(&queue),
            },
            queue,
        )
    }

    /// The next notice; `None` when the node has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.queue.poll(cx)
    }

    /// The next notice; `None` when the node has ended.
    pub async fn next(&mut self) -> Option<Notice> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    notices: VecDeque<Notice>,
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl Queue {
    /// Adds a notice, or counts it as missed. Whoever waits is returned, to be
    /// woken outside any lock.
    pub(crate) fn add(&self, notice: &Notice) -> Option<Waker> {
        let mut inner = lock(&self.inner);
        // Once some were missed, those that follow are too until the reader
        // has been told: there is no gap of which it does not know.
        if inner.missed > 0 || inner.notices.len() >= self.limit {
            inner.missed += 1;
        } else {
            inner.notices.push_back(notice.clone());
        }
        inner.waker.take()
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut inner = lock(&self.inner);
            inner.closed = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Notice>> {
        let mut inner = lock(&self.inner);
        if let Some(notice) = inner.notices.pop_front() {
            return Poll::Ready(Some(notice));
        }
        if inner.missed > 0 {
            return Poll::Ready(Some(Notice::Missed(std::mem::take(&mut inner.missed))));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(events: &mut Events) -> Poll<Option<Notice>> {
        events.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_slow_subscriber_learns_how_many_it_missed_and_where() {
        let (mut events, queue) = Events::new(2);
        let peer = |n| Notice::PeerUp {
            peer: NodeId([n; 32]),
        };
        (0..5).for_each(|n| drop(queue.add(&peer(n))));
        assert_eq!(next(&mut events), Poll::Ready(Some(peer(0))));
        queue.add(&peer(5));
        assert_eq!(next(&mut events), Poll::Ready(Some(peer(1))));
        assert_eq!(next(&mut events), Poll::Ready(Some(Notice::Missed(4))));
        queue.add(&peer(6));
        assert_eq!(next(&mut events), Poll::Ready(Some(peer(6))));
        assert_eq!(next(&mut events), Poll::Pending);
        queue.close();
        assert_eq!(next(&mut events), Poll::Ready(None));
    }
}
