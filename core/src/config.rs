//! What a node is told when it is made: who it is, its cluster, its limits and
//! its deadlines. Everything is checked by [`Config::check`], which
//! [`crate::Node::new`] calls; nothing here changes afterwards.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rand_core::TryCryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::disk::Row;
use crate::error::ConfigError;
use crate::id::NodeId;
use crate::input::PeerAddr;
use crate::members::{MEMBERS_MAX, Member, State};
use crate::node::spares::SPARES;
use crate::policy::{Policy, Storing};
use crate::seal::{BLOB_MAX, INLINE_MAX, PAYLOAD_MAX};
use crate::wire::message::REQUESTS_MIN;

/// The secret that members and clients of one cluster share: 32 generated
/// bytes. Whoever proves it may open sessions.
///
/// It is never a passphrase: whoever has watched one admission as a party to
/// it could try guesses at leisure, and nothing here slows that down. As text
/// it has one form, with a checksum ([`ClusterKey::to_text`]).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClusterKey([u8; 32]);

impl PartialEq for ClusterKey {
    fn eq(&self, other: &Self) -> bool {
        // In constant time.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for ClusterKey {}

impl ClusterKey {
    /// A new key.
    ///
    /// # Errors
    /// The generator's.
    pub fn generate<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, R::Error> {
        let mut key = Self([0; 32]);
        rng.try_fill_bytes(&mut key.0)?;
        Ok(key)
    }

    /// The key with these bytes, which [`ClusterKey::generate`] or another
    /// generator has made.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for writing the key down in a place as secret as it is.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

/// An address at which a node looks for its first peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Where.
    pub addr: PeerAddr,
    /// Who must be there. `None`: whoever is.
    pub expect: Option<NodeId>,
}

impl Bootstrap {
    /// An address at which only `node` will do: the channel opens to nobody
    /// else.
    pub fn pinned(addr: impl Into<PeerAddr>, node: NodeId) -> Self {
        Self {
            addr: addr.into(),
            expect: Some(node),
        }
    }
}

impl From<PeerAddr> for Bootstrap {
    /// Whoever is there will do.
    fn from(addr: PeerAddr) -> Self {
        Self { addr, expect: None }
    }
}

impl From<String> for Bootstrap {
    fn from(addr: String) -> Self {
        PeerAddr::from(addr).into()
    }
}

impl From<&str> for Bootstrap {
    fn from(addr: &str) -> Self {
        PeerAddr::from(addr).into()
    }
}

/// Everything a node is made from, beside the seed of its randomness.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is. Its channel proves it.
    pub node: NodeId,
    /// The keys it accepts from peers; it proves the first. More than one
    /// while a key is being changed: first every node accepts the new one too,
    /// then each proves it, then each drops the old one
    /// ([`crate::Node::set_cluster_keys`], or a start anew).
    pub cluster_keys: Vec<ClusterKey>,
    /// R: how many members hold each blob and record. The same in the whole
    /// cluster.
    pub replicas: u8,
    /// W: how many durable copies finish a put. More than half of R.
    pub durable: u8,
    /// How much this node stores, relative to others. 0 makes it a client: it
    /// holds nothing and counts nowhere. `policy` may allow less.
    pub weight: u16,
    /// Where it stands (a room, a site): replicas spread over zones first.
    /// `policy` may say otherwise.
    pub zone: u16,
    /// Who may store. The same in the whole cluster.
    pub policy: Policy,
    /// Nodes that get no session. Being denied is like being away: a member
    /// stays one, and placement goes on naming it. At run time,
    /// [`crate::Node::deny`].
    pub deny: BTreeSet<NodeId>,
    /// Addresses at which peers can reach it, as told to them.
    pub advertise: Vec<PeerAddr>,
    /// Addresses at which it looks for its first peers, for ever.
    pub bootstrap: Vec<Bootstrap>,
    /// Plaintext bytes in one chunk of the files that it writes: a power of
    /// two from 64 KiB to 1 MiB.
    pub chunk_bytes: u32,
    /// The last chunk of a file is padded to a multiple of this, so that its
    /// length says less about the file's. 1 pads nothing.
    pub pad_bytes: u32,
    /// Its ceilings.
    pub limits: Limits,
    /// Its deadlines.
    pub timing: Timing,
}

impl Config {
    /// A node of weight 1 with the cluster's defaults (3 replicas, durable at
    /// 2), no addresses, default limits and deadlines.
    pub fn new(node: NodeId, cluster_key: ClusterKey) -> Self {
        Self {
            node,
            cluster_keys: [cluster_key].into(),
            replicas: 3,
            durable: 2,
            weight: 1,
            zone: 0,
            policy: Policy::default(),
            deny: BTreeSet::new(),
            advertise: Vec::new(),
            bootstrap: Vec::new(),
            chunk_bytes: PAYLOAD_MAX as u32,
            pad_bytes: 4096,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }

    /// How many agreeing answers confirm a read: R - W + 1, so that it meets
    /// every finished put.
    pub const fn read_quorum(&self) -> usize {
        (self.replicas - self.durable) as usize + 1
    }

    /// Checks every value against every other.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.cluster_keys.is_empty() {
            return Err(ConfigError::NoClusterKey);
        }
        let half = self.replicas / 2;
        if self.replicas == 0 || self.durable > self.replicas || self.durable <= half {
            return Err(ConfigError::Quorum {
                replicas: self.replicas,
                durable: self.durable,
            });
        }
        let chunk = self.chunk_bytes as usize;
        if !chunk.is_power_of_two() || !(4 * INLINE_MAX..=PAYLOAD_MAX).contains(&chunk) {
            return Err(ConfigError::ChunkBytes(self.chunk_bytes));
        }
        if self.pad_bytes == 0 || self.pad_bytes > self.chunk_bytes {
            return Err(ConfigError::PadBytes(self.pad_bytes));
        }
        let bootstrap = self.bootstrap.iter().map(|bootstrap| &bootstrap.addr);
        let addresses = self.advertise.iter().chain(bootstrap);
        if let Some(long) = addresses
            .map(|addr| addr.as_str().len())
            .find(|len| *len > PeerAddr::MAX)
        {
            return Err(ConfigError::LongAddress { bytes: long });
        }
        if self.deny.contains(&self.node) {
            return Err(ConfigError::DeniesItself);
        }
        self.limits.check()?;
        self.check_policy()?;
        self.timing.check()
    }

    fn check_policy(&self) -> Result<(), ConfigError> {
        if self.policy.weight_max == 0 {
            return Err(ConfigError::ZeroLimit("weight_max"));
        }
        if let Storing::Allow(list) = &self.policy.storing {
            let allowed = list.len() + usize::from(!list.contains_key(&self.node));
            let members = self.limits.members;
            if allowed > members as usize {
                return Err(ConfigError::ManyAllowed { allowed, members });
            }
        }
        Ok(())
    }

    /// Weight and zone as the policy allows them.
    pub(crate) fn allowed(&self) -> (u16, u16) {
        let own = Member {
            counter: 0,
            state: State::Joining,
            weight: self.weight,
            zone: self.zone,
        };
        let allowed = self.policy.apply(&self.node, own);
        (allowed.weight, allowed.zone)
    }
}

/// A node's ceilings, in users' units. Inner bounds derive from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, both ways, admitted or not. Half of them, at
    /// most, are of peers that have come and are not admitted yet; where more
    /// come, the one gives way that has been on its way for longest.
    pub connections: u32,
    /// Operations that the embedder runs at once.
    pub operations: u32,
    /// Bytes of files in memory at once: 1 MiB for each operation, and the
    /// rest in equal shares for puts, gets, blobs that arrive and blobs that
    /// are served. A list of more than 123 members takes from the gets' share:
    /// 1 MiB for each further 123.
    pub memory: usize,
    /// Disk operations in flight at once.
    pub disk_operations: u32,
    /// Requests that one peer may have outstanding here, as told to it.
    pub requests: u32,
    /// Members that the map may hold.
    pub members: u32,
    /// Peers' addresses remembered, bootstrap included.
    pub addresses: u32,
    /// Copies owed to members that are away, remembered durably.
    pub debts: u32,
    /// Bytes of blobs that one peer's claims may have on their way here at
    /// once; `None`: as many as there is memory for.
    pub peer_bytes: Option<u64>,
    /// Names of which is remembered, durably, what was seen of them, so that
    /// no get answers with less later; about 300 bytes of memory each. Of more
    /// names those that were not read or written for longest are forgotten. As
    /// many acknowledgements of replicas are remembered until a restart
    /// ([`crate::Event::Unkept`]), at some 250 bytes each.
    pub seen: u32,
    /// Bytes of sessions that go out in a second, to all peers together, or
    /// `None` for as many as they take: at least 64 KiB. Peers that wait have
    /// equal parts of it. Secure channels add some 2 percent, and 4 KiB for each
    /// that opens.
    pub upload: Option<u64>,
    /// The same of bytes that come in: what is above it is left to wait in its
    /// socket, which slows its sender down.
    pub download: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            operations: 32,
            memory: 64 << 20,
            disk_operations: 64,
            requests: 512,
            members: 256,
            addresses: 512,
            debts: 65_536,
            peer_bytes: None,
            seen: 16_384,
            upload: None,
            download: None,
        }
    }
}

/// Bytes of answers that a session may have queued whatever others have: as
/// long as the longest.
pub(crate) const ANSWERS_SURE: usize = 64 << 10;

/// The least bandwidth, in bytes per second: with less, a session's requests
/// and signs of life would be late.
pub const BANDWIDTH_MIN: u64 = 64 << 10;

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        let zero = [
            ("connections", self.connections),
            ("operations", self.operations),
            ("disk_operations", self.disk_operations),
            ("members", self.members),
            ("addresses", self.addresses),
            ("debts", self.debts),
            ("seen", self.seen),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::ZeroLimit(name));
        }
        if self.members > MEMBERS_MAX {
            return Err(ConfigError::TooManyMembers {
                members: self.members,
                max: MEMBERS_MAX,
            });
        }
        if self.requests < REQUESTS_MIN {
            return Err(ConfigError::FewRequests(self.requests));
        }
        if let Some(bytes) = self.peer_bytes.filter(|bytes| *bytes < BLOB_MAX as u64) {
            return Err(ConfigError::PeerBytes(bytes));
        }
        for bandwidth in [self.upload, self.download].into_iter().flatten() {
            if bandwidth < BANDWIDTH_MIN {
                return Err(ConfigError::LittleBandwidth(bandwidth));
            }
        }
        // A share has room for two chunks, and for what a list of the most members
        // takes beside its operation's own room.
        let share = (listing_blocks(self.members as usize) - 1).max(2) * BLOB_MAX;
        let needed = (self.operations as usize)
            .saturating_mul(BLOB_MAX)
            .saturating_add(4 * share);
        if self.memory < needed {
            return Err(ConfigError::LittleMemory {
                memory: self.memory,
                needed,
            });
        }
        Ok(())
    }

    /// The most bytes of answers, beside the blobs that `memory` counts, that
    /// wait in sessions for their peers to take them: where peers take nothing,
    /// look-ups and lists beyond an eighth of `memory` are refused as busy, but
    /// for the first 64 KiB of each session.
    pub const fn answers_max(&self) -> usize {
        let sure = (self.connections as usize).saturating_mul(2 * ANSWERS_SURE);
        self.answers_common().saturating_add(sure)
    }

    /// The most bytes of blobs' buffers, beside those that `memory` counts, that
    /// wait to be used again.
    pub const fn spares_max(&self) -> usize {
        SPARES * BLOB_MAX
    }

    /// Beyond so many bytes of answers in all sessions, a session has only those
    /// of which it is sure.
    pub(crate) const fn answers_common(&self) -> usize {
        self.memory / 8
    }

    /// One of the four equal shares of the memory that operations' own blobs
    /// leave: at least two blobs, and room for a list of all members.
    pub(crate) fn share(&self) -> usize {
        (self.memory - self.operations as usize * BLOB_MAX) / 4
    }
}

/// How many blobs' room the rows of a list take: of each member two of the
/// longest, so that it can be asked for more while one is left. That is one
/// blob's, which every operation is sure of, for up to 123 members, and three
/// for up to 369.
pub(crate) const fn listing_blocks(members: usize) -> usize {
    let blocks = (2 * Row::COST_MAX * members).div_ceil(BLOB_MAX);
    if blocks == 0 { 1 } else { blocks }
}

/// A node's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From a connection's opening to its admission.
    pub admission: Duration,
    /// A session that has been silent this long is asked for a sign of life..
    pub keep_alive: Duration,
    /// ..and closed when it has been silent this long.
    pub idle: Duration,
    /// A peer that makes no progress on a request for this long is passed
    /// over for the next one.
    pub request: Duration,
    /// A read that lacks agreeing answers waits this long for the rest.
    pub answer: Duration,
    /// An operation that gets no nearer to its end for this long fails.
    pub operation: Duration,
    /// How long a grant for a put's blobs holds; a longer put makes further
    /// ones. So long may one that was stolen be used.
    pub grant: Duration,
    /// The first wait before an address is dialled again..
    pub dial_min: Duration,
    /// ..which doubles up to this.
    pub dial_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            admission: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            idle: Duration::from_secs(45),
            request: Duration::from_secs(15),
            answer: Duration::from_secs(5),
            operation: Duration::from_secs(60),
            grant: Duration::from_secs(4 * 60 * 60),
            dial_min: Duration::from_millis(200),
            dial_max: Duration::from_secs(30),
        }
    }
}

impl Timing {
    fn check(&self) -> Result<(), ConfigError> {
        let all = [
            ("admission", self.admission),
            ("keep_alive", self.keep_alive),
            ("idle", self.idle),
            ("request", self.request),
            ("answer", self.answer),
            ("operation", self.operation),
            ("grant", self.grant),
            ("dial_min", self.dial_min),
            ("dial_max", self.dial_max),
        ];
        if let Some((name, _)) = all.iter().find(|(_, value)| value.is_zero()) {
            return Err(ConfigError::ZeroDeadline(name));
        }
        if self.keep_alive >= self.idle {
            return Err(ConfigError::Order {
                shorter: "keep_alive",
                longer: "idle",
            });
        }
        if self.dial_min > self.dial_max {
            return Err(ConfigError::Order {
                shorter: "dial_min",
                longer: "dial_max",
            });
        }
        Ok(())
    }
}
