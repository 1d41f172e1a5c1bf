//! The member map's life: kept, merged, told, and how a cluster begins.
//!
//! A storing member starts as joining. It makes itself active once, when it
//! has met R - 1 other storing members and neither it nor any of them holds
//! anything: then there is nothing to hand over. Where something is held, a
//! newcomer stays joining until it has taken its slots over.

use super::Node;
use super::ctx::Ctx;
use super::peers::tell_members;
use super::task::DiskTask;
use crate::disk::{DiskData, DiskError, DiskKind};
use crate::error::PeerFault;
use crate::id::ConnId;
use crate::members::{Member, Members, State};
use crate::output::Event;
use crate::wire::message::{self, MembersUpdate};

impl Node {
    /// Takes the kept map up, with what peers have told since, and this node's
    /// own entry as it is configured.
    pub(super) fn load_members(&mut self, kept: Option<&[u8]>) {
        let ctx = &mut self.ctx;
        // A kept map that cannot be read is like none: peers will tell it.
        let kept = kept.and_then(Members::decode).unwrap_or_default();
        for (node, member) in kept.iter() {
            ctx.members.merge(node, member, usize::MAX);
        }
        let own = match self.ctx.members.get(&self.ctx.me()).copied() {
            Some(own) if self.is_as_configured(&own) => return self.members_changed(),
            Some(own) => self.configured(&own),
            None => Member {
                counter: 1,
                state: State::Joining,
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
            // A peer may have told the greatest counter there is.
            counter: own.counter.saturating_add(1),
            weight: self.ctx.config.weight,
            zone: self.ctx.config.zone,
            ..*own
        }
    }

    //# MEMBER-2: Whoever changes an entry MUST raise its counter.
    fn set_own(&mut self, own: Member) {
        let (me, max) = (self.ctx.me(), usize::MAX);
        self.ctx.members.merge(me, own, max);
        self.members_changed();
    }

    /// Placement, peers, disk and embedder follow the map.
    fn members_changed(&mut self) {
        let ctx = &mut self.ctx;
        ctx.replace_placement();
        tell_members(ctx);
        ctx.events.members();
        ctx.arm_dial();
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
        let map = self.ctx.members.encode();
        self.ctx
            .submit(DiskKind::PutMembers(map), DiskTask::Members);
    }

    pub(super) fn members_kept(&mut self, result: Result<DiskData, DiskError>) {
        self.members_writing = false;
        if let Err(error) = result {
            self.ctx.events.push(Event::Trouble(error));
        }
        if self.members_unkept {
            self.keep_members();
        }
    }

    pub(super) fn on_members(&mut self, conn: ConnId, body: &[u8]) -> Result<(), PeerFault> {
        let update: MembersUpdate = message::decode(body).map_err(|_| PeerFault::BadMessage)?;
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        let mut told = Members::new();
        for entry in &update.entries {
            told.merge(entry.node, entry.member, usize::MAX);
        }
        session.map = Some(told.digest());
        ctx.heard.insert(session.peer, update.holding);
        let max = ctx.config.limits.members as usize;
        let mut changed = false;
        for entry in update.entries {
            changed |= ctx.members.merge(entry.node, entry.member, max);
        }
        let own = self.ctx.members.get(&self.ctx.me()).copied();
        if let Some(own) = own.filter(|own| self.ctx.ready && !self.is_as_configured(own))
            && own.counter < u64::MAX
        {
            // How much it stores and where it stands is a node's own to say.
            self.set_own(self.configured(&own));
        } else if changed {
            self.members_changed();
        } else {
            self.consider_founding();
        }
        Ok(())
    }

    /// Makes this node active if the cluster begins now.
    pub(super) fn consider_founding(&mut self) {
        let ctx = &self.ctx;
        let Some(own) = ctx.members.get(&ctx.me()) else {
            return;
        };
        if ctx.ready && own.state == State::Joining && own.weight > 0 && can_found(ctx) {
            let own = Member {
                counter: own.counter.saturating_add(1),
                state: State::Active,
                ..*own
            };
            self.set_own(own);
        }
    }
}

fn can_found(ctx: &Ctx) -> bool {
    //# MEMBER-7: A joining member of weight above 0 MUST NOT make itself active unless,
    //# counting itself, it knows R joining or active members of weight above 0 whose
    //# MEMBERS have come in sessions that stand, and neither it nor any peer with such a
    //# session holds a record or a blob.
    let met = ctx.heard.keys().filter(|node| {
        ctx.members
            .get(node)
            .is_some_and(|member| member.is_storing() && member.state != State::Leaving)
    });
    let nothing_held = !ctx.holding && ctx.heard.values().all(|holding| !holding);
    nothing_held && met.count() + 1 >= usize::from(ctx.config.replicas)
}
