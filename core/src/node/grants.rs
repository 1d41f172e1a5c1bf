//! Authority, as a replica looks at it: what a peer shows with its claims is
//! checked once for each session, and counted against for as long as it is
//! remembered.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::Node;
use super::task::JobTask;
use crate::disk::Claim;
use crate::id::{ConnId, NamespaceId, PutId};
use crate::job::Work;
use crate::seal::{Allowance, Grant, Head};
use crate::time::UnixMillis;
use crate::wire::message::{Authority, ClaimBlobs, Refusal};

/// How far clocks may be apart: so long after its end a grant is still taken.
const TOLERANCE_MILLIS: u64 = 10 * 60 * 1000;

/// Checked grants and heads that are remembered of one session.
const CHECKED_MAX: usize = 64;

/// Puts whose bytes are counted at once.
const PUTS_MAX: usize = 4096;

/// The hash of what a claim shows.
type Shown = [u8; 32];

/// What peers have shown.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    checked: BTreeMap<ConnId, Oldest<Shown, Allowance>>,
    /// Claims that wait for a signature to be checked.
    checking: BTreeMap<(ConnId, Shown), Checking>,
    /// Bytes kept, or on their way here, for each put.
    used: Oldest<(NamespaceId, PutId), u64>,
}

impl Authorities {
    /// A connection has ended: what was shown there counts no more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.checked.remove(&conn);
        self.checking.retain(|(of, _), _| *of != conn);
    }

    /// Counts a claim's bytes for its put, if as many may be.
    pub(super) fn take(&mut self, claim: &Claim, allowed: u64) -> bool {
        let used = self.used.entry((claim.namespace, claim.put), PUTS_MAX);
        let more = used.saturating_add(u64::from(claim.len));
        let fits = more <= allowed;
        if fits {
            *used = more;
        }
        fits
    }

    /// A claim has had nothing kept.
    pub(super) fn give(&mut self, claim: &Claim) {
        if let Some(used) = self.used.map.get_mut(&(claim.namespace, claim.put)) {
            *used = used.saturating_sub(u64::from(claim.len));
        }
    }
}

/// What waits for a signature to be checked.
#[derive(Debug)]
struct Checking {
    allowance: Allowance,
    /// Requests and their claims.
    claims: Vec<(u32, ClaimBlobs)>,
}

/// A map that forgets what came first when it is full.
#[derive(Debug)]
struct Oldest<K, V> {
    map: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Oldest<K, V> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Ord + Copy, V: Default> Oldest<K, V> {
    fn entry(&mut self, key: K, max: usize) -> &mut V {
        self.make_room(&key, max);
        self.map.entry(key).or_default()
    }
}

impl<K: Ord + Copy, V> Oldest<K, V> {
    fn insert(&mut self, key: K, value: V, max: usize) {
        self.make_room(&key, max);
        self.map.insert(key, value);
    }

    fn make_room(&mut self, key: &K, max: usize) {
        if self.map.contains_key(key) {
            return;
        }
        if self.map.len() >= max
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
        }
        self.order.push_back(*key);
    }
}

impl Node {
    /// Looks at a claim's authority, and goes on with the claim when it holds.
    pub(super) fn authorize(&mut self, conn: ConnId, request: u32, claim: ClaimBlobs) {
        //# GRANT-3: A replica MUST fetch and keep nothing for a claim that shows neither a
        //# grant for its namespace and put, nor the head of a record with its namespace, name
        //# and put id, signed by the namespace. It refuses such a claim as unauthorized.
        let shown = match &claim.authority {
            Some(Authority::Ask) => return self.on_ask(conn, request, &claim),
            Some(authority) => allowance(authority, &claim).map(|found| (authority, found)),
            None => None,
        };
        let Some((authority, allowance)) = shown.filter(|(_, found)| self.is_current(found)) else {
            return self.refuse_claim(conn, request, Refusal::Unauthorized);
        };
        let shown = hash(authority);
        let checked = self.authorities.checked.get(&conn);
        if checked.is_some_and(|checked| checked.map.contains_key(&shown)) {
            return self.take_claim(conn, request, &claim, &allowance);
        }
        let authority = authority.clone();
        let checking = &mut self.authorities.checking;
        let checking = checking.entry((conn, shown)).or_insert_with(|| Checking {
            allowance,
            claims: Vec::new(),
        });
        checking.claims.push((request, claim));
        if checking.claims.len() == 1 {
            let task = JobTask::Authority(conn, shown);
            self.ctx.job(Work::CheckAuthority(authority), task);
        }
    }

    /// Whether a grant still holds.
    fn is_current(&self, allowance: &Allowance) -> bool {
        //# GRANT-4: A replica MUST refuse a grant that expired more than ten minutes before
        //# its own clock.
        let limit = |at: UnixMillis| at.0.saturating_add(TOLERANCE_MILLIS);
        let expires = allowance.expires;
        expires.is_none_or(|expires| self.ctx.wall.0 <= limit(expires))
    }

    /// The signature of what a peer has shown was checked.
    pub(super) fn authority_checked(&mut self, conn: ConnId, shown: Shown, signed: bool) {
        let checking = self.authorities.checking.remove(&(conn, shown));
        let Some(Checking { allowance, claims }) = checking else {
            return;
        };
        if signed {
            let checked = self.authorities.checked.entry(conn).or_default();
            checked.insert(shown, allowance, CHECKED_MAX);
        } else if let Some(session) = self.ctx.sessions.get(&conn) {
            let peer = session.peer;
            self.ctx.lied(peer);
        }
        for (request, claim) in claims {
            if signed {
                self.take_claim(conn, request, &claim, &allowance);
            } else {
                self.refuse_claim(conn, request, Refusal::Unauthorized);
            }
        }
    }
}

/// What the authority would allow if it were signed; `None` if it is not for
/// this claim.
fn allowance(authority: &Authority, claim: &ClaimBlobs) -> Option<Allowance> {
    let allowance = match authority {
        Authority::Grant(bytes) => Allowance::from(&Grant::peek(bytes).ok()?),
        Authority::Head(bytes) => {
            let (signed, _) = bytes.split_last_chunk::<64>()?;
            let head = Head::decode(signed).ok()?;
            Allowance::of_head(&head).filter(|_| head.tag == claim.tag)?
        }
        Authority::Ask => return None,
    };
    let fits = allowance.namespace == claim.namespace && allowance.put == claim.put;
    fits.then_some(allowance)
}

fn hash(authority: &Authority) -> Shown {
    let (kind, bytes): (u8, &[u8]) = match authority {
        Authority::Grant(bytes) => (0, bytes),
        Authority::Head(bytes) => (1, bytes),
        Authority::Ask => (2, &[]),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
}
