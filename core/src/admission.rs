//! Admission: two peers prove to each other that they hold the cluster key.
//!
//! The channel below has already proven the node ids. The first frame each
//! way is a [`Hello`], the second a [`Proof`] bound to the sender's role, both
//! ids and both hellos, so that no proof serves in another session, in the
//! other direction, or for another node (DESIGN section 6).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;

use crate::config::ClusterKey;
use crate::error::PeerFault;
use crate::id::NodeId;
use crate::input::Role;
use crate::wire::VERSION;
use crate::wire::message::{self, Hello, Proof};

/// One side of an admission, from the opening of a connection to the peer's
/// accepted proof. Pure: it is fed bodies of frames and makes bodies of frames.
#[derive(Debug)]
pub struct Admission {
    ours: Party,
    theirs: NodeId,
    hello: Bytes,
    peer_hello: Option<(Bytes, Hello)>,
}

/// Who plays which part.
#[derive(Clone, Copy, Debug)]
struct Party {
    node: NodeId,
    role: Role,
}

/// What one side learns of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// How many requests this node may have outstanding at the peer.
    pub requests: u32,
    /// Features that both know.
    pub features: u64,
    /// The short id of the cluster key that the other has proven.
    pub key: [u8; 8],
}

/// The features that this version knows.
pub const FEATURES: u64 = 0;

impl Admission {
    /// Starts one side. `nonce` must be fresh randomness.
    pub fn new(node: NodeId, role: Role, peer: NodeId, nonce: [u8; 32], requests: u32) -> Self {
        let hello = message::encode(&Hello {
            version: VERSION,
            features: FEATURES,
            nonce,
            requests,
        });
        Self {
            ours: Party { node, role },
            theirs: peer,
            hello,
            peer_hello: None,
        }
    }

    /// The body of this side's first frame.
    pub fn hello(&self) -> &Bytes {
        &self.hello
    }

    /// Takes the peer's hello and makes the body of this side's second frame,
    /// a proof of `key`.
    pub fn take_hello(&mut self, body: &[u8], key: &ClusterKey) -> Result<Bytes, PeerFault> {
        //# ADMIT-2: A second HELLO is a fault.
        if self.peer_hello.is_some() {
            return Err(PeerFault::OutOfTurn);
        }
        let hello: Hello = message::decode(body).map_err(|_| PeerFault::BadMessage)?;
        //# ADMIT-9: A HELLO of another version is a fault. A receiver MUST NOT make
        //# anything of features that it does not know: in force are those that both
        //# HELLOs name.
        if hello.version != VERSION {
            return Err(PeerFault::Version(hello.version));
        }
        //# ADMIT-3: A HELLO that equals this side's own, or that comes from this node's
        //# own id, is a reflection and a fault.
        if body == self.hello.as_ref() || self.theirs == self.ours.node {
            return Err(PeerFault::Myself);
        }
        //# ADMIT-8: A HELLO MUST allow at least 8 requests; one that allows fewer is a fault.
        if hello.requests < message::REQUESTS_MIN {
            return Err(PeerFault::BadMessage);
        }
        self.peer_hello = Some((Bytes::copy_from_slice(body), hello));
        let mac = self.mac(key, self.ours.role).ok_or(PeerFault::OutOfTurn)?;
        Ok(message::encode(&Proof {
            key: key_id(key),
            mac: *mac.as_bytes(),
        }))
    }

    /// Checks the peer's proof against each of `keys`.
    pub fn take_proof(&self, body: &[u8], keys: &[ClusterKey]) -> Result<Admitted, PeerFault> {
        //# ADMIT-4: A PROOF before the HELLO is a fault.
        let Some((_, hello)) = &self.peer_hello else {
            return Err(PeerFault::OutOfTurn);
        };
        //# ADMIT-7: A side MUST accept a PROOF only if it is right for a cluster key
        //# that the side accepts and whose id the PROOF names. It compares macs in
        //# constant time.
        let proof: Proof = message::decode(body).map_err(|_| PeerFault::BadMessage)?;
        let proven = keys
            .iter()
            .filter(|key| key_id(key) == proof.key)
            .filter_map(|key| self.mac(key, self.ours.role.other()))
            // `blake3::Hash` compares in constant time.
            .any(|mac| mac == blake3::Hash::from_bytes(proof.mac));
        if !proven {
            return Err(PeerFault::WrongKey);
        }
        Ok(Admitted {
            requests: hello.requests,
            features: hello.features & FEATURES,
            key: proof.key,
        })
    }

    /// The proof that the side playing `prover` makes.
    ///
    //# ADMIT-5: A PROOF's mac MUST be keyed_hash(proof key, prover's role ‖ dialler's id ‖
    //# listener's id ‖ len(dialler's HELLO) ‖ dialler's HELLO ‖ len(listener's HELLO) ‖
    //# listener's HELLO): the bodies as they were sent, lengths in 32 bits, the role one
    //# byte, 0 for the dialler and 1 for the listener.
    fn mac(&self, key: &ClusterKey, prover: Role) -> Option<blake3::Hash> {
        let (peer_hello, _) = self.peer_hello.as_ref()?;
        let (dialer, listener) = match self.ours.role {
            Role::Dialer => ((&self.ours.node, &self.hello), (&self.theirs, peer_hello)),
            Role::Listener => ((&self.theirs, peer_hello), (&self.ours.node, &self.hello)),
        };
        //# ADMIT-6: The proof key MUST be derive_key("peerhold 2026-11 admission
        //# proof", cluster key), and the key's id in a PROOF derive_key("peerhold
        //# 2026-11 cluster key id", cluster key)[..8].
        let proof_key = zeroize::Zeroizing::new(blake3::derive_key(
            "peerhold 2026-11 admission proof",
            key.expose(),
        ));
        let mut hasher = blake3::Hasher::new_keyed(&proof_key);
        hasher.update(&[match prover {
            Role::Dialer => 0,
            Role::Listener => 1,
        }]);
        hasher
            .update(dialer.0.as_bytes())
            .update(listener.0.as_bytes());
        for hello in [dialer.1, listener.1] {
            hasher
                .update(&(hello.len() as u32).to_be_bytes())
                .update(hello);
        }
        Some(hasher.finalize())
    }
}

/// A short name of a key, which says nothing about it.
pub(crate) fn key_id(key: &ClusterKey) -> [u8; 8] {
    let hash = blake3::derive_key("peerhold 2026-11 cluster key id", key.expose());
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::from_bytes([byte; 32])
    }

    fn pair() -> (Admission, Admission) {
        (
            Admission::new(A, Role::Dialer, B, [7; 32], 100),
            Admission::new(B, Role::Listener, A, [8; 32], 200),
        )
    }

    #[test]
    fn holders_of_one_key_admit_each_other() {
        let (mut a, mut b) = pair();
        let proof_a = a.take_hello(&b.hello().clone(), &key(5)).unwrap();
        let proof_b = b.take_hello(&a.hello().clone(), &key(5)).unwrap();
        assert_eq!(a.take_proof(&proof_b, &[key(5)]).unwrap().requests, 200);
        assert_eq!(b.take_proof(&proof_a, &[key(5)]).unwrap().requests, 100);
    }

    #[test]
    fn a_list_of_keys_accepts_the_old_and_the_new_one() {
        let (mut a, mut b) = pair();
        let proof_a = a.take_hello(&b.hello().clone(), &key(5)).unwrap();
        b.take_hello(&a.hello().clone(), &key(6)).unwrap();
        assert!(b.take_proof(&proof_a, &[key(6), key(5)]).is_ok());
        assert_eq!(b.take_proof(&proof_a, &[key(6)]), Err(PeerFault::WrongKey));
    }

    #[test]
    fn a_reflected_proof_is_refused() {
        let (mut a, b) = pair();
        let proof_a = a.take_hello(&b.hello().clone(), &key(5)).unwrap();
        assert_eq!(a.take_proof(&proof_a, &[key(5)]), Err(PeerFault::WrongKey));
    }

    #[test]
    fn a_reflected_hello_is_refused() {
        let (mut a, _) = pair();
        let own = a.hello().clone();
        assert_eq!(a.take_hello(&own, &key(5)), Err(PeerFault::Myself));
    }

    #[test]
    fn a_proof_from_another_session_is_refused() {
        let (mut a, mut b) = pair();
        let old = a.take_hello(&b.hello().clone(), &key(5)).unwrap();
        b = Admission::new(B, Role::Listener, A, [9; 32], 200);
        b.take_hello(&a.hello().clone(), &key(5)).unwrap();
        assert_eq!(b.take_proof(&old, &[key(5)]), Err(PeerFault::WrongKey));
    }

    #[test]
    fn a_proof_made_for_another_node_is_refused() {
        let (mut a, mut b) = pair();
        let proof = a.take_hello(&b.hello().clone(), &key(5)).unwrap();
        let mut other = Admission::new(NodeId([3; 32]), Role::Listener, A, [8; 32], 200);
        other.take_hello(&a.hello().clone(), &key(5)).unwrap();
        assert_eq!(
            other.take_proof(&proof, &[key(5)]),
            Err(PeerFault::WrongKey)
        );
        b.take_hello(&a.hello().clone(), &key(5)).unwrap();
        assert!(b.take_proof(&proof, &[key(5)]).is_ok());
    }

    #[test]
    fn a_hello_that_allows_too_few_requests_is_a_fault() {
        let few = |requests| Admission::new(B, Role::Listener, A, [8; 32], requests);
        let (mut a, _) = pair();
        let result = a.take_hello(few(7).hello(), &key(5));
        assert_eq!(result, Err(PeerFault::BadMessage));
        assert!(a.take_hello(few(8).hello(), &key(5)).is_ok());
    }

    #[test]
    fn out_of_turn_and_foreign_versions_are_faults() {
        let (mut a, b) = pair();
        assert_eq!(a.take_proof(b"", &[key(5)]), Err(PeerFault::OutOfTurn));
        let hello = message::encode(&Hello {
            version: 9,
            features: 0,
            nonce: [0; 32],
            requests: 1,
        });
        assert_eq!(a.take_hello(&hello, &key(5)), Err(PeerFault::Version(9)));
        assert!(a.take_hello(b.hello(), &key(5)).is_ok());
        assert_eq!(a.take_hello(b.hello(), &key(5)), Err(PeerFault::OutOfTurn));
    }
}
