//! The grant of a put: what its claims show to replicas, so that they keep
//! bytes for it. How long the file will be is not known when the first is
//! signed: a greater one follows while half of it is left.

use super::super::ctx::Ctx;
use super::super::task::{JobTask, Step};
use super::PutOp;
use crate::job::Work;
use crate::seal::Grant;
use crate::time::UnixMillis;
use crate::wire::message::Authority;

/// The least that a grant allows, in bytes.
const LEAST: u64 = 32 << 20;

/// A put's leave to have bytes kept.
#[derive(Debug, Default)]
pub(super) struct Granting {
    signed: Option<(Grant, Authority)>,
    /// What the one that is being signed will say.
    signing: Option<Grant>,
    /// Bytes that were claimed.
    claimed: u64,
}

impl Granting {
    /// The authority for claims, if there is one now.
    fn current(&self, now: UnixMillis) -> Option<&Authority> {
        let (grant, authority) = self.signed.as_ref()?;
        (now < grant.expires).then_some(authority)
    }

    /// Whether it is time for another.
    fn is_due(&self, now: UnixMillis, lifetime: u64) -> bool {
        let Some((grant, _)) = &self.signed else {
            return true;
        };
        let used_up = self.claimed > grant.limit / 2;
        used_up || now.0.saturating_add(lifetime / 2) > grant.expires.0
    }
}

impl PutOp {
    /// The authority for more bytes; `None`: it is being signed, and the put
    /// hears of it as [`Step::Grant`].
    pub(super) fn authority(&mut self, ctx: &mut Ctx, more: u64) -> Option<Authority> {
        self.granting.claimed = self.granting.claimed.saturating_add(more);
        self.renew_grant(ctx);
        let current = self.granting.current(ctx.wall).cloned();
        if current.is_none() {
            // It is counted when it is asked for again.
            self.granting.claimed = self.granting.claimed.saturating_sub(more);
        }
        current
    }

    /// Has a grant signed, if one will be needed.
    pub(super) fn renew_grant(&mut self, ctx: &mut Ctx) {
        let lifetime = u64::try_from(ctx.config.timing.grant.as_millis()).unwrap_or(u64::MAX);
        let granting = &mut self.granting;
        if granting.signing.is_some() || !granting.is_due(ctx.wall, lifetime) {
            return;
        }
        //# GRANT-6: A grant SHOULD allow no more than four times what its put has claimed, or
        //# 32 MiB, and hold for no more than the writer's own time (4 hours unless configured).
        let grant = Grant {
            namespace: self.key.namespace,
            put: self.put,
            limit: granting.claimed.saturating_mul(4).max(LEAST),
            expires: UnixMillis(ctx.wall.0.saturating_add(lifetime)),
        };
        granting.signing = Some(grant);
        let writer = self.writer.clone();
        let task = JobTask::Op(self.id, Step::Grant);
        ctx.job(Work::SignGrant { writer, grant }, task);
    }

    /// A grant is signed: what waited for it is offered.
    pub(super) fn granted(&mut self, ctx: &mut Ctx, signed: &[u8]) {
        if let Some(grant) = self.granting.signing.take() {
            let authority = Authority::Grant(signed.to_vec().into());
            self.granting.signed = Some((grant, authority));
            self.retry_blobs(ctx, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NamespaceId, PutId};

    fn granting(claimed: u64, limit: u64, expires: u64) -> Granting {
        let grant = Grant {
            namespace: NamespaceId([1; 32]),
            put: PutId([2; 16]),
            limit,
            expires: UnixMillis(expires),
        };
        Granting {
            signed: Some((grant, Authority::Ask)),
            signing: None,
            claimed,
        }
    }

    #[test]
    fn a_grant_is_renewed_while_half_of_its_bytes_and_time_are_left() {
        assert!(Granting::default().is_due(UnixMillis(0), 100));
        assert!(!granting(50, 100, 1000).is_due(UnixMillis(950), 100));
        assert!(granting(51, 100, 1000).is_due(UnixMillis(950), 100));
        assert!(granting(50, 100, 1000).is_due(UnixMillis(951), 100));
    }

    #[test]
    fn an_expired_grant_is_not_shown() {
        assert!(granting(0, 1, 1000).current(UnixMillis(999)).is_some());
        assert!(granting(0, 1, 1000).current(UnixMillis(1000)).is_none());
    }
}
