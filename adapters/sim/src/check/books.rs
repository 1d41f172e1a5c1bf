//! What nodes have written down for themselves: what a start would know.

use peerhold_core::{Member, Members};

use super::{Check, holds};
use crate::cluster::Cluster;
use crate::model::Model;
use crate::violation::Invariant::{Convergence, Freshness};

/// Whether a machine's books agree with what its node knows, now that it rests:
/// nothing is owed, unless its disk has `failed` to strike that out, all members
/// are there, and what it has seen of names, as far as it remembers that. The
/// store counts this look as a start.
pub(crate) fn is_written_down(at: usize, cluster: &Cluster, model: &Model, failed: bool) -> Check {
    let (Some(kept), Some(status)) = (cluster.books(at), cluster.status(at)) else {
        return Ok(());
    };
    holds(failed || kept.debts.is_empty(), Convergence, || {
        format!(
            "node{at} owes nothing, and on its disk stands {:?}",
            kept.debts
        )
    })?;
    let members = kept.members.as_deref().and_then(Members::decode);
    let members = members.unwrap_or_default();
    let mut storing = status
        .members
        .iter()
        .filter(|(_, member)| member.weight > 0);
    let same = |(node, member): &(_, Member)| members.get(node) == Some(member);
    holds(storing.all(same), Convergence, || {
        format!(
            "node{at} knows {:?}, and has kept {members:?}",
            status.members
        )
    })?;
    let life = (at, cluster.machines[at].starts);
    for (name, named) in model.names.iter().enumerate() {
        let noted = kept.seen.iter().find(|seen| seen.key == named.key);
        let noted = noted.map(|seen| seen.id.version);
        let seen = model.has_seen(name, life, model.now());
        let seen = seen.map(|top| top.version);
        holds(noted >= seen, Freshness, || {
            format!("node{at} has seen {seen:?} of a name, and noted {noted:?}")
        })?;
    }
    Ok(())
}
