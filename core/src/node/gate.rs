//! Who may have a session, as far as that changes while a node runs: the nodes
//! that it denies, and the cluster keys that it accepts.

use alloc::vec::Vec;

use super::Node;
use super::session::Stage;
use crate::admission::key_id;
use crate::config::{Bootstrap, ClusterKey};
use crate::error::{ConfigError, PeerFault};
use crate::id::{ConnId, NodeId};
use crate::ticket::{Ticket, TicketError};
use crate::time::Instant;

impl Node {
    /// Ends every session with `peer`, for [`PeerFault::Denied`], and has no
    /// other with it until [`Node::pardon`]: it is not dialled, and refused
    /// where it comes. False if that was so already, or it is this node itself.
    ///
    /// It is as if the peer were away: its entry in the member map, placement
    /// and what it is owed stay as they are, and it goes on having sessions
    /// with nodes that do not deny it. The node does not keep this: who wants it
    /// to last puts it into [`crate::Config::deny`] too.
    pub fn deny(&mut self, now: Instant, peer: NodeId) -> bool {
        self.at(now);
        let ctx = &mut self.ctx;
        if peer == ctx.me() || !ctx.denied.insert(peer) {
            return false;
        }
        let theirs = ctx.sessions.values().filter(|session| session.peer == peer);
        let conns: Vec<ConnId> = theirs.map(|session| session.conn).collect();
        for conn in conns {
            //# SESSION-9: A node MUST NOT have a session with a node that it denies: it closes
            //# those that stand, does not dial it, and closes a connection as soon as the
            //# channel has proven that it is at the other end.
            ctx.close(conn, Some(PeerFault::Denied));
        }
        ctx.arm_dial();
        self.settle();
        true
    }

    /// Takes [`Node::deny`] back, or [`crate::Config::deny`]. False if the peer
    /// was not denied.
    pub fn pardon(&mut self, now: Instant, peer: NodeId) -> bool {
        self.at(now);
        let ctx = &mut self.ctx;
        let denied = ctx.denied.remove(&peer);
        if denied {
            ctx.book.lost(peer, ctx.now, &ctx.config.timing);
            ctx.arm_dial();
        }
        denied
    }

    /// Accepts these cluster keys from now on, and proves the first. Sessions
    /// whose peer has proven one that is no longer among them end, for
    /// [`PeerFault::WrongKey`]: who holds another key of these is soon back, and
    /// who holds none is out.
    ///
    /// The node does not keep them: they belong into
    /// [`crate::Config::cluster_keys`] too.
    ///
    /// # Errors
    /// [`ConfigError::NoClusterKey`] if there is none; nothing has changed then.
    pub fn set_cluster_keys(
        &mut self,
        now: Instant,
        keys: Vec<ClusterKey>,
    ) -> Result<(), ConfigError> {
        self.at(now);
        if keys.is_empty() {
            return Err(ConfigError::NoClusterKey);
        }
        let ctx = &mut self.ctx;
        let accepted: Vec<[u8; 8]> = keys.iter().map(key_id).collect();
        ctx.config.cluster_keys = keys;
        let outdated = ctx
            .sessions
            .values()
            .filter(|session| match &session.stage {
                Stage::Admitted(admitted) => !accepted.contains(&admitted.key),
                _ => false,
            });
        let conns: Vec<ConnId> = outdated.map(|session| session.conn).collect();
        for conn in conns {
            //# ADMIT-12: A side that no longer accepts a cluster key MUST close the sessions
            //# whose peer has proven that one.
            ctx.close(conn, Some(PeerFault::WrongKey));
        }
        ctx.arm_dial();
        self.settle();
        Ok(())
    }

    /// A ticket for a new node: the cluster key that this node proves, one of
    /// its addresses, and those of peers that it has dialled and that are there
    /// now, so that the ticket serves while one of them is away. At each only
    /// the node that is there now will do.
    ///
    /// # Errors
    /// [`TicketError::Addresses`] if it knows no address that goes into one.
    pub fn ticket(&self) -> Result<Ticket, TicketError> {
        let ctx = &self.ctx;
        let own = ctx.config.advertise.iter().map(|addr| (addr, ctx.me()));
        let dialled = ctx.peers.iter().filter_map(|(peer, conn)| {
            let session = ctx.sessions.get(conn)?;
            session.addr.as_ref().map(|addr| (addr, *peer))
        });
        let mut bootstrap: Vec<Bootstrap> = Vec::new();
        let first = own.clone().take(1);
        for (addr, node) in first.chain(dialled).chain(own.skip(1)) {
            let known = bootstrap.iter().any(|other| other.addr == *addr);
            if !known && bootstrap.len() < Ticket::ADDRESSES_MAX && Ticket::takes(addr) {
                bootstrap.push(Bootstrap::pinned(addr.clone(), node));
            }
        }
        let key = ctx.config.cluster_keys.first().ok_or(TicketError::NoKey)?;
        Ticket::new(key.clone(), bootstrap)
    }
}
