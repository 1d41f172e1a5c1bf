//! The member map's life: kept, heard, told, and how a cluster begins.
//!
//! A storing member starts as joining. It makes itself active once, when it
//! has met R - 1 other storing members and neither it nor any of them holds
//! anything: then there is nothing to hand over. Where something is held, a
//! newcomer stays joining until it has taken its slots over.

use alloc::vec::Vec;

use super::Node;
use super::ctx::{Ctx, Timer};
use super::peers::tell_members;
use super::roll::fingerprint;
use super::task::DiskTask;
use crate::bug::{self, Bug};
use crate::disk::{DiskData, DiskError, DiskKind};
use crate::error::PeerFault;
use crate::id::{ConnId, NodeId};
use crate::members::{Member, Members, State};
use crate::output::Event;
use crate::time::Instant;
use crate::wire::message::{self, MembersUpdate};

/// What a peer has told in the session that stands.
#[derive(Debug)]
pub(super) struct Heard {
    /// Whether it holds anything.
    holding: bool,
    /// Whether it has told of itself.
    itself: bool,
    /// What its placement chooses from.
    candidates: [u8; 32],
    /// Since when that is not what this node's chooses from.
    pub(super) differs: Option<Instant>,
}

impl Ctx {
    /// What `peer` has told counts no more as its own word.
    pub(super) fn unhear(&mut self, peer: &NodeId) {
        self.heard.remove(peer);
        self.timers.cancel(Timer::Map(*peer));
    }

    /// Whether the peer of `conn` has told that it places by the same members
    /// as this node.
    pub(super) fn is_map_shared(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(&conn);
        let heard = session.and_then(|session| self.heard.get(&session.peer));
        heard.is_some_and(|heard| heard.candidates == self.candidates)
    }

    /// Notes which peers place by other members than this node.
    fn compare(&mut self) {
        let ours = self.candidates;
        let patience = self.config.timing.operation;
        for (peer, heard) in &mut self.heard {
            let timer = Timer::Map(*peer);
            if heard.candidates == ours {
                heard.differs = None;
                self.timers.cancel(timer);
            } else if heard.differs.is_none() {
                heard.differs = Some(self.now);
                self.timers.set(timer, self.now.saturating_add(patience));
            }
        }
    }
}

impl Node {
    /// Takes the kept map up, with what peers have told since, and this node's
    /// own entry as it is configured.
    pub(super) fn load_members(&mut self, kept: Option<&[u8]>) {
        let ctx = &mut self.ctx;
        // A kept map that cannot be read is like none: peers will tell it.
        let kept = kept.and_then(Members::decode).unwrap_or_default();
        let spoken = |node: &NodeId| ctx.heard.get(node).is_some_and(|heard| heard.itself);
        ctx.members.load(&kept, spoken);
        // Only who was active has been given anything to hold, though a crash
        // may have come before that was written down.
        let state = match ctx.holding {
            true => State::Active,
            false => State::Joining,
        };
        let own = match ctx.members.own() {
            Some(own) if own.state == State::Joining && state == State::Active => Member {
                state,
                ..self.configured(&own)
            },
            Some(own) if self.is_as_configured(&own) => return self.members_changed(),
            Some(own) => self.configured(&own),
            None => Member {
                counter: 1,
                state,
                weight: self.ctx.config.weight,
                zone: self.ctx.config.zone,
            },
        };
        self.set_own(own);
    }

    fn is_as_configured(&self, own: &Member) -> bool {
        let config = &self.ctx.config;
        own.weight == config.weight && own.zone == config.zone
    }

    /// This node's entry with its weight and zone as they are configured.
    fn configured(&self, own: &Member) -> Member {
        Member {
            counter: own.counter.saturating_add(1),
            weight: self.ctx.config.weight,
            zone: self.ctx.config.zone,
            ..*own
        }
    }

    fn set_own(&mut self, own: Member) {
        self.ctx.members.set_own(own);
        self.members_changed();
    }

    /// Placement, peers, disk and embedder follow the map.
    fn members_changed(&mut self) {
        let ctx = &mut self.ctx;
        ctx.replace_placement();
        ctx.compare();
        tell_members(ctx);
        ctx.events.members();
        ctx.arm_dial();
        self.forgive();
        self.keep_members();
        self.consider_founding();
        self.members_news = true;
    }

    /// Writes the map down, once at a time however often it changes, and not
    /// before it has been read: it would take the place of what was kept.
    fn keep_members(&mut self) {
        if !self.ctx.ready || self.members_writing {
            self.members_unkept = true;
            return;
        }
        (self.members_writing, self.members_unkept) = (true, false);
        let map = self.ctx.members.write();
        if bug::on(Bug::MembersUnkept) {
            return self.members_kept(Ok(DiskData::Done));
        }
        self.ctx
            .submit(DiskKind::PutMembers(map), DiskTask::Members);
    }

    pub(super) fn members_kept(&mut self, result: Result<DiskData, DiskError>) {
        self.members_writing = false;
        match result {
            Ok(_) if self.ctx.members.written() => tell_members(&mut self.ctx),
            Ok(_) => {}
            Err(error) => {
                self.members_unkept = true;
                return self.ctx.unwritten_books(error);
            }
        }
        if self.members_unkept {
            self.keep_members();
        }
    }

    /// Another try at what could not be written down.
    pub(super) fn write_books(&mut self) {
        self.ctx.write_seen();
        if self.members_unkept {
            self.keep_members();
        }
    }

    pub(super) fn on_members(&mut self, conn: ConnId, body: &[u8]) -> Result<(), PeerFault> {
        let update: MembersUpdate = message::decode(body).map_err(|_| PeerFault::BadMessage)?;
        let ctx = &mut self.ctx;
        let Some(peer) = ctx.sessions.get(&conn).map(|session| session.peer) else {
            return Ok(());
        };
        let entries = update.entries.into_iter();
        let told: Members = entries.map(|entry| (entry.node, entry.member)).collect();
        let heard = Heard {
            holding: update.holding,
            itself: told.get(&peer).is_some(),
            candidates: fingerprint(&told.candidates()),
            differs: ctx.heard.get(&peer).and_then(|heard| heard.differs),
        };
        ctx.heard.insert(peer, heard);
        let spoken = |node: &NodeId| ctx.heard.get(node).is_some_and(|heard| heard.itself);
        if ctx.members.hear(peer, &told, spoken) {
            self.members_changed();
        } else {
            ctx.compare();
            self.consider_founding();
        }
        Ok(())
    }

    /// A peer has placed by other members for long.
    pub(super) fn on_map_differs(&mut self, peer: NodeId) {
        //# MEMBER-11: A node SHOULD tell its operator of a peer whose MEMBERS have named other
        //# candidates than its own for a time of its own (60 seconds unless configured).
        self.ctx.events.push(Event::MapDiffers { peer });
    }

    /// Makes this node active if the cluster begins now.
    pub(super) fn consider_founding(&mut self) {
        let ctx = &self.ctx;
        let Some(own) = ctx.members.own() else {
            return;
        };
        if ctx.ready && own.state == State::Joining && own.weight > 0 && can_found(ctx) {
            let own = Member {
                counter: own.counter.saturating_add(1),
                state: State::Active,
                ..own
            };
            self.set_own(own);
        }
    }
}

fn can_found(ctx: &Ctx) -> bool {
    //# MEMBER-7: A joining member of weight above 0 MUST NOT make itself active unless,
    //# counting itself, it knows R joining or active members of weight above 0 whose
    //# MEMBERS have come in sessions that stand, and neither it nor any of these, nor a
    //# leaving one with such a session, holds a record or a blob.
    let storing = ctx.heard.iter().filter_map(|(node, heard)| {
        let member = ctx.members.get(node).filter(Member::is_storing)?;
        Some((member.state, heard.holding))
    });
    let met: Vec<(State, bool)> = storing.collect();
    let nothing_held = !ctx.holding && met.iter().all(|(_, holding)| !holding);
    let joining = met.iter().filter(|(state, _)| *state != State::Leaving);
    nothing_held && joining.count() + 1 >= usize::from(ctx.config.replicas)
}
