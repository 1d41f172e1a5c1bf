//! Connections and sessions: dialling, admission, one session for each peer,
//! signs of life, and the way from bytes to messages.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Node;
use super::answers::answer;
use super::ctx::{Ctx, Timer};
use super::session::{Pending, Session, Stage};
use super::task::No;
use crate::admission::{Admission, Admitted};
use crate::bug::{self, Bug};
use crate::error::PeerFault;
use crate::id::{ConnId, NodeId};
use crate::input::{CloseReason, PeerAddr, Role};
use crate::output::Event;
use crate::time::Instant;
use crate::wire::frame::{Flags, Frame};
use crate::wire::message::{self, PeersUpdate, kind};

/// How often it is told that those who come are too many.
const CROWDED_EVERY: Duration = Duration::from_secs(1);

impl Ctx {
    /// Dials every address that is due and whose node has no session.
    pub(super) fn dial_due(&mut self) {
        while self.may_dial() {
            let Some(addr) = self.book.due(self.now, |node, at| self.wants(node, at)) else {
                break;
            };
            let conn = ConnId::from_mint(&mut self.mint);
            let expect = self.book.dial(&addr, conn);
            self.dialling.insert(conn);
            self.events.push(Event::Dial { conn, addr, expect });
        }
        self.arm_dial();
    }

    /// Sets the deadline for the next dial.
    pub(super) fn arm_dial(&mut self) {
        match self.book.next(|node, at| self.wants(node, at)) {
            Some(at) if self.may_dial() => {
                self.timers.set(Timer::Dial, at);
            }
            _ => {
                self.timers.cancel(Timer::Dial);
            }
        }
    }

    /// Whether there is room for one more dial. Addresses are hearsay: dialling
    /// them leaves room for those who come.
    fn may_dial(&self) -> bool {
        let limit = self.config.limits.connections as usize;
        self.connections() < limit && self.dialling.len() < limit.div_ceil(4)
    }

    /// Whether a session is wanted with who is at an address, which may have
    /// been configured.
    fn wants(&self, node: Option<NodeId>, configured: bool) -> bool {
        // Clients are not sought out: they come when they need something. What
        // is configured is, to hear of others from it.
        node.is_none_or(|node| {
            node != self.config.node
                && !self.peers.contains_key(&node)
                && !self.denied.contains(&node)
                && (configured || !self.members.is_client(&node))
        })
    }

    /// Makes a place for one more who comes. False if there is none.
    ///
    /// Who comes and says nothing, or little, would otherwise keep everybody out
    /// for as long as admission may take; and those that are admitted, or
    /// dialled by this node, are to have places whoever comes.
    pub(super) fn make_place(&mut self) -> bool {
        let limit = self.config.limits.connections as usize;
        let full = self.connections() >= limit;
        if !full && self.coming.len() < limit.div_ceil(2) {
            return true;
        }
        let due = |told: Instant| self.now >= told.saturating_add(CROWDED_EVERY);
        if self.crowded.is_none_or(due) {
            self.crowded = Some(self.now);
            self.events.push(Event::Crowded);
        }
        // Names rise: it is the one that came first.
        let Some(first) = self.coming.pop_first() else {
            return false;
        };
        if self.accepted.remove(&first) {
            self.timers.cancel(Timer::Admission(first));
            self.events.push(Event::Close { conn: first });
            return true;
        }
        // It counts until the driver has closed it.
        self.close(first, None);
        !full
    }

    /// The next bytes for a connection, at most `max`, as far as it is its
    /// turn. What a session that is over still has to say is not much, and
    /// does not wait.
    pub(super) fn transmit(&mut self, conn: ConnId, max: usize) -> Option<Bytes> {
        let session = self.sessions.get_mut(&conn)?;
        let room = match session.is_closing() {
            true => usize::MAX,
            false => self.upload.room(conn, self.now),
        };
        let bytes = session.transmit(max.min(room))?;
        if self.upload.is_over(self.now) {
            self.next_upload();
        }
        if let Some(next) = self.upload.moved(conn, bytes.len(), self.now) {
            self.timers.set(Timer::Upload, next);
        }
        Some(bytes)
    }

    /// Bytes have come.
    fn downloaded(&mut self, conn: ConnId, bytes: usize) {
        if !self.sessions.contains_key(&conn) {
            return;
        }
        if self.download.is_over(self.now) {
            self.next_download();
        }
        if let Some(next) = self.download.moved(conn, bytes, self.now) {
            self.timers.set(Timer::Download, next);
        }
    }

    /// Who has waited for its turn may send again.
    pub(super) fn next_upload(&mut self) {
        self.dirty.extend(self.upload.next_turn());
    }

    /// Who has waited for its turn is read from again.
    pub(super) fn next_download(&mut self) {
        for conn in self.download.next_turn() {
            if let Some(session) = self.sessions.get_mut(&conn) {
                // That its frame is not here yet is this node's doing.
                session.unfinished = session.unfinished.map(|_| self.now);
            }
            self.dirty.insert(conn);
        }
    }

    /// Connections that stand, are being made, or were accepted and not
    /// opened yet.
    pub(super) fn connections(&self) -> usize {
        self.sessions.len() + self.dialling.len() + self.accepted.len()
    }

    /// Sets the deadline by which a connection must have become a session.
    pub(super) fn arm_admission(&mut self, conn: ConnId) {
        if !bug::on(Bug::AdmissionUnlimited) {
            self.arm(Timer::Admission(conn), self.config.timing.admission);
        }
    }

    /// Ends a session. What it owes and is owed is settled at once; the
    /// driver sends what is queued, closes, and reports that it is closed.
    pub(super) fn close(&mut self, conn: ConnId, fault: Option<PeerFault>) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        if matches!(session.stage, Stage::Closing) {
            return;
        }
        let was_admitted = session.is_admitted();
        self.coming.remove(&conn);
        //# MSG-1: What is called a fault MUST end the session: the receiver closes the
        //# connection and acts neither on the frame at fault nor on any later one. What
        //# came before stands.
        session.stage = Stage::Closing;
        session.cut_all();
        let (peer, pending) = (session.peer, session.take_pending());
        self.parted.push(conn);
        if !bug::on(Bug::CloseForgotten) {
            self.events.push(Event::Close { conn });
        }
        if was_admitted {
            self.part(conn, peer, fault);
        } else {
            self.events.push(Event::Refused {
                conn,
                peer: Some(peer),
                fault,
                reason: None,
            });
        }
        //# SESSION-6: With a session end all its requests: whether those that were not
        //# answered have been done is unknown.
        for pending in pending {
            self.give_up(peer, pending, &No::Unreachable);
        }
        self.timers.cancel(Timer::Admission(conn));
        self.timers.cancel(Timer::Alive(conn));
        self.timers.cancel(Timer::Queue(conn));
    }

    /// An admitted session no longer serves its peer.
    fn part(&mut self, conn: ConnId, peer: NodeId, fault: Option<PeerFault>) {
        //# MEMBER-3: That a node is out of reach, for however long, MUST NOT change its
        //# entry.
        // One that gave way to another leaves what that one has heard.
        if self.peers.get(&peer) == Some(&conn) {
            self.peers.remove(&peer);
            self.unhear(&peer);
            self.events.push(Event::PeerDown { peer, fault });
            self.book.lost(peer, self.now, &self.config.timing);
        }
    }

    /// Whether the session by `new` replaces the one that stands.
    ///
    /// Both sides must decide alike. Of two that one side dialled the later is
    /// better: the earlier is dead, or it would not have dialled again. Of two
    /// dialled from both sides the one from the lesser node id stays.
    fn replaces(&self, new: Role, old: Role, peer: NodeId) -> bool {
        //# SESSION-1: Of two sessions with one peer that the same side dialled, the one
        //# admitted later MUST stay; of two that were dialled from both sides, the one
        //# dialled by the lesser node id. The other is closed.
        let dialled_by_lesser = (new == Role::Dialer) == (self.config.node < peer);
        new == old || dialled_by_lesser
    }
}

impl Node {
    pub(super) fn on_opened(&mut self, conn: ConnId, role: Role, peer: NodeId) {
        let ctx = &mut self.ctx;
        let expected = ctx.accepted.remove(&conn) || ctx.dialling.remove(&conn);
        if !expected || ctx.sessions.contains_key(&conn) {
            return;
        }
        let addr = ctx.book.addr(conn).cloned();
        let requests = ctx.config.limits.requests;
        //# ADMIT-10: A side MUST send HELLO as its first frame, without waiting for the
        //# other's, with a nonce of 32 fresh random bytes.
        let admission = Admission::new(ctx.me(), role, peer, ctx.random(), requests);
        ctx.sessions.insert(
            conn,
            Session::new(conn, role, peer, addr, admission, ctx.now),
        );
        ctx.dirty.insert(conn);
        //# ADMIT-11: A side MUST close a connection on which the peer's PROOF has not
        //# been accepted within the side's own deadline (10 seconds unless configured).
        ctx.arm_admission(conn);
        if peer == ctx.me() {
            ctx.book.found(conn, peer);
            ctx.close(conn, Some(PeerFault::Myself));
        } else if ctx.denied.contains(&peer) {
            ctx.book.found(conn, peer);
            ctx.close(conn, Some(PeerFault::Denied));
        } else if ctx
            .book
            .expected(conn)
            .is_some_and(|expected| expected != peer)
        {
            ctx.close(conn, Some(PeerFault::WrongPeer));
        }
        // The dial has come to its end, well or not.
        ctx.arm_dial();
    }

    pub(super) fn on_closed(&mut self, conn: ConnId, reason: Option<CloseReason>) {
        let ctx = &mut self.ctx;
        let waited = ctx.accepted.remove(&conn) || ctx.dialling.remove(&conn);
        ctx.coming.remove(&conn);
        let random = u32::from_be_bytes(ctx.random());
        let mut failed = true;
        if waited {
            let reason = reason.filter(|reason| *reason != CloseReason::Local);
            if let Some(reason) = reason {
                ctx.events.push(Event::Refused {
                    conn,
                    peer: None,
                    fault: None,
                    reason: Some(reason),
                });
            }
        } else if let Some(mut session) = ctx.sessions.remove(&conn) {
            let peer = session.peer;
            match session.stage {
                Stage::Admitted(_) => {
                    failed = false;
                    ctx.part(conn, peer, None);
                }
                Stage::Admitting(_) => ctx.events.push(Event::Refused {
                    conn,
                    peer: Some(peer),
                    fault: None,
                    reason,
                }),
                Stage::Closing => {}
            }
            for pending in session.take_pending() {
                ctx.give_up(peer, pending, &No::Unreachable);
            }
            for request in &session.timed {
                ctx.timers.cancel(Timer::Request(conn, *request));
            }
        }
        ctx.timers.cancel(Timer::Admission(conn));
        ctx.timers.cancel(Timer::Alive(conn));
        ctx.timers.cancel(Timer::Queue(conn));
        ctx.dirty.remove(&conn);
        ctx.spares.shrink(ctx.sessions.is_empty());
        ctx.upload.forget(conn);
        ctx.download.forget(conn);
        ctx.book
            .ended(conn, failed, ctx.now, random, &ctx.config.timing);
        ctx.arm_dial();
        self.serves.forget(ctx, conn);
        self.authorities.forget(conn);
    }

    pub(super) fn on_received(&mut self, conn: ConnId, mut data: Bytes) {
        self.ctx.downloaded(conn, data.len());
        loop {
            let Some(session) = self.ctx.sessions.get_mut(&conn) else {
                return;
            };
            if matches!(session.stage, Stage::Closing) {
                return;
            }
            session.heard = self.ctx.now;
            let result = match session.decoder.decode(&mut data) {
                Ok(None) => {
                    if session.decoder.is_mid_frame() {
                        session.unfinished.get_or_insert(self.ctx.now);
                    }
                    return;
                }
                Ok(Some(frame)) => {
                    session.unfinished = None;
                    self.on_frame(conn, frame)
                }
                Err(_) => Err(PeerFault::BadFrame),
            };
            if let Err(fault) = result {
                self.ctx.close(conn, Some(fault));
            }
        }
    }

    fn on_frame(&mut self, conn: ConnId, frame: Frame) -> Result<(), PeerFault> {
        let Some(session) = self.ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        // Any sign of life will do; what was not offered meanwhile is now.
        if core::mem::take(&mut session.lagging) {
            self.ctx.ups.push(session.peer);
        }
        match &mut session.stage {
            Stage::Closing => Ok(()),
            Stage::Admitting(_) => self.on_admission(conn, &frame),
            Stage::Admitted(_) if frame.flags.contains(Flags::RESPONSE) => {
                self.on_response(conn, frame)
            }
            //# MSG-5: A frame without RESPONSE is a whole message: with MORE it is
            //# a fault.
            Stage::Admitted(_) if frame.flags.contains(Flags::MORE) => Err(PeerFault::OutOfTurn),
            Stage::Admitted(_) => match frame.kind {
                kind::PING => {
                    //# SESSION-4: PING MUST be answered by PONG. Several
                    //# that come together may be answered by one.
                    session.pong_due = true;
                    self.ctx.dirty.insert(conn);
                    Ok(())
                }
                kind::PONG => Ok(()),
                kind::MEMBERS => self.on_members(conn, &frame.body),
                kind::PEERS => self.on_peers(&frame.body),
                kind::CANCEL => {
                    self.on_cancel(conn, frame.request);
                    Ok(())
                }
                _ => self.on_request(conn, &frame),
            },
        }
    }

    fn on_admission(&mut self, conn: ConnId, frame: &Frame) -> Result<(), PeerFault> {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        let Stage::Admitting(admission) = &mut session.stage else {
            return Ok(());
        };
        //# ADMIT-1: Until it has accepted the peer's PROOF a side MUST take only HELLO
        //# and PROOF, each once, without flags and with request 0; anything else is a
        //# fault.
        if frame.flags != Flags::NONE || frame.request != 0 {
            return Err(PeerFault::OutOfTurn);
        }
        match frame.kind {
            kind::HELLO => {
                let Some(key) = ctx.config.cluster_keys.first() else {
                    return Err(PeerFault::WrongKey);
                };
                let proof = admission.take_hello(&frame.body, key)?;
                session.control(kind::PROOF, Flags::NONE, 0, &proof);
                ctx.dirty.insert(conn);
                Ok(())
            }
            kind::PROOF => {
                let admitted = admission.take_proof(&frame.body, &ctx.config.cluster_keys)?;
                self.admit(conn, admitted);
                Ok(())
            }
            _ => Err(PeerFault::OutOfTurn),
        }
    }

    fn admit(&mut self, conn: ConnId, admitted: Admitted) {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return;
        };
        session.admit(admitted);
        ctx.coming.remove(&conn);
        let (peer, role) = (session.peer, session.role);
        ctx.timers.cancel(Timer::Admission(conn));
        let news = ctx.book.admitted(conn, peer);
        ctx.dirty.insert(conn);
        let old = ctx.peers.get(&peer).copied();
        let old_role = old
            .and_then(|old| ctx.sessions.get(&old))
            .map(|old| old.role);
        if old_role.is_some_and(|old_role| !ctx.replaces(role, old_role, peer)) {
            return ctx.close(conn, None);
        }
        ctx.peers.insert(peer, conn);
        ctx.arm(Timer::Alive(conn), ctx.config.timing.keep_alive);
        if let Some(old) = old {
            // The peer tells its map again in this session.
            ctx.unhear(&peer);
            ctx.close(old, None);
        } else {
            ctx.events.push(Event::PeerUp { peer });
        }
        ctx.ups.push(peer);
        if news {
            // Peers who came before have not been told of an address at which
            // nobody was known to be.
            tell_peers(ctx);
        }
        ctx.arm_dial();
    }

    /// An answer to a request of this node's.
    fn on_response(&mut self, conn: ConnId, frame: Frame) -> Result<(), PeerFault> {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        let peer = session.peer;
        //# MSG-3: An answer to a request that is not outstanding is a fault.
        let Some(pending) = session.pending.remove(&frame.request) else {
            let fault = Err(PeerFault::Unrequested);
            return bug::or(Bug::UnrequestedTaken, Ok(()), fault);
        };
        let more = frame.flags.contains(Flags::MORE);
        let kept = match answer(ctx, peer, pending, &frame) {
            Ok(kept) => kept,
            // The one who waits is told, then the session ends.
            Err((pending, fault)) => {
                ctx.give_up(peer, pending, &No::Unreachable);
                return Err(fault);
            }
        };
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        let timer = Timer::Request(conn, frame.request);
        match kept {
            Some(pending) if more => {
                // Frames that bring nothing are no progress.
                let abandoned = matches!(pending, Pending::Abandoned { .. });
                session.pending.insert(frame.request, pending);
                if !abandoned && !frame.body.is_empty() {
                    ctx.arm(timer, ctx.config.timing.request);
                }
                Ok(())
            }
            None if !more => {
                session.timed.remove(&frame.request);
                ctx.timers.cancel(timer);
                // There is room for a request that waited.
                ctx.dirty.insert(conn);
                Ok(())
            }
            // An answer that ends too early or goes on too long.
            Some(pending) => {
                ctx.give_up(peer, pending, &No::Unreachable);
                Err(PeerFault::BadMessage)
            }
            None => Err(PeerFault::Unrequested),
        }
    }

    fn on_peers(&mut self, body: &[u8]) -> Result<(), PeerFault> {
        let update = message::decode::<PeersUpdate>(body).map_err(|_| PeerFault::BadMessage)?;
        let ctx = &mut self.ctx;
        let mut news = false;
        for entry in update.peers {
            //# SESSION-7: An address told in PEERS is a hint about where a node may
            //# be, never about who is there. One that is empty, longer than 256
            //# bytes or of the receiver itself, or that has a blank, a control
            //# character or one of Unicode's Bidi_Control in it, MUST be passed over.
            for addr in entry.addresses {
                if PeerAddr::may_be_told(&addr) && entry.node != ctx.me() {
                    news |= ctx.book.learn(entry.node, addr.into(), ctx.now);
                }
            }
        }
        if news {
            tell_peers(ctx);
            ctx.arm_dial();
        }
        Ok(())
    }

    /// A session's deadline for a sign of life.
    pub(super) fn on_alive(&mut self, conn: ConnId) {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return;
        };
        ctx.spares.shrink(false);
        let (keep_alive, idle) = (ctx.config.timing.keep_alive, ctx.config.timing.idle);
        //# SESSION-3: A node SHOULD send PING when it has heard nothing for its own
        //# keep-alive time (15 seconds unless configured), and MUST close the session
        //# when it has heard nothing for its own idle time (45 seconds). Every byte is
        //# a sign of life.
        if ctx.now >= session.heard.saturating_add(idle) {
            return ctx.close(conn, Some(PeerFault::Silent));
        }
        // A peer that takes nothing holds memory here, however much it says.
        //# SESSION-8: A node MAY close a session whose peer has taken nothing, for the
        //# node's own idle time, of what waits to go out to it.
        match session.stuck {
            _ if !session.has_output() => session.stuck = None,
            None => session.stuck = Some(ctx.now),
            Some(since) if ctx.now >= since.saturating_add(idle) => {
                return ctx.close(conn, Some(PeerFault::Silent));
            }
            Some(_) => {}
        }
        if bug::on(Bug::AliveNotRearmed) {
            return;
        }
        //# SESSION-10: A node MAY close a session on which a frame has been on its way for
        //# the node's own idle time, but for time in which the node itself did not read.
        let unfinished = session.unfinished.map(|since| since.saturating_add(idle));
        if unfinished.is_some_and(|end| ctx.now >= end) {
            return ctx.close(conn, Some(PeerFault::Silent));
        }
        let stuck = session.stuck.map(|since| since.saturating_add(idle));
        let next = if ctx.now >= session.heard.saturating_add(keep_alive) {
            session.ping();
            ctx.dirty.insert(conn);
            let last = session.heard.saturating_add(idle);
            last.min(ctx.now.saturating_add(keep_alive))
        } else {
            session.heard.saturating_add(keep_alive)
        };
        let next = [unfinished, stuck]
            .into_iter()
            .flatten()
            .fold(next, Instant::min);
        ctx.timers.set(Timer::Alive(conn), next);
    }

    /// A request has seen no progress for too long.
    pub(super) fn on_request_timeout(&mut self, conn: ConnId, request: u32) {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return;
        };
        session.timed.remove(&request);
        let Some(pending) = session.pending.remove(&request) else {
            return;
        };
        session.pending.insert(request, pending.abandoned());
        //# SESSION-5: A node SHOULD send CANCEL for a request that has seen no progress
        //# for its own request time (15 seconds unless configured), and ask another
        //# replica. Where more than half of the requests that a peer allows are
        //# cancelled and unanswered, it SHOULD close the session.
        session.lag();
        if !matches!(pending, Pending::Abandoned { .. }) {
            session.control(kind::CANCEL, Flags::NONE, request, &[]);
            ctx.dirty.insert(conn);
        }
        let (peer, stuck) = (session.peer, session.is_stuck());
        ctx.give_up(peer, pending, &No::Silent);
        if stuck {
            ctx.close(conn, Some(PeerFault::Silent));
        }
    }

    /// Requests wait for the peer to take or to answer others.
    pub(super) fn on_queue_timeout(&mut self, conn: ConnId) {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return;
        };
        let wait = ctx.config.timing.request;
        let (overdue, next) = session.take_overdue(ctx.now, wait);
        if !overdue.is_empty() {
            session.lag();
            ctx.dirty.insert(conn);
        }
        let peer = session.peer;
        for pending in overdue {
            ctx.give_up(peer, pending, &No::Silent);
        }
        if let Some(since) = next {
            ctx.timers
                .set(Timer::Queue(conn), since.saturating_add(wait));
        }
    }
}

/// Every admitted session has new addresses to tell.
fn tell_peers(ctx: &mut Ctx) {
    let admitted = ctx
        .sessions
        .values_mut()
        .filter(|session| session.is_admitted());
    for session in admitted {
        session.peers_due = true;
        ctx.dirty.insert(session.conn);
    }
}

/// Every admitted session has something new to tell of the members.
pub(super) fn tell_members(ctx: &mut Ctx) {
    let conns: Vec<ConnId> = ctx.peers.values().copied().collect();
    for conn in conns {
        if let Some(session) = ctx.sessions.get_mut(&conn) {
            session.members_due = true;
            ctx.dirty.insert(conn);
        }
    }
}
