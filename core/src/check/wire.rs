//! Messages, and the two that open a session.

use core::fmt::Debug;

use minicbor::{Decode, Encode};

use super::Source;
use crate::admission::Admission;
use crate::config::ClusterKey;
use crate::id::NodeId;
use crate::input::Role;
use crate::members::Members;
use crate::wire::message::{
    self, ADDRESSES_MAX, CLAIMS_MAX, ClaimBlobs, Claimed, Fetch, Found, Hello, History, Keep, List,
    Lookup, MembersUpdate, PEERS_MAX, PeersUpdate, Proof, Refused, Rows,
};

/// Messages: what is read is written in a form that is read as the same, and
/// that is no longer than what it was read from.
///
/// `data` is one byte that says which message, and its body.
///
/// # Panics
/// If any of this does not hold.
pub fn message(data: &[u8]) {
    let Some((which, body)) = data.split_first() else {
        return;
    };
    match which % 16 {
        0 => same::<Hello>(body),
        1 => same::<Proof>(body),
        2 => same::<MembersUpdate>(body),
        3 => same::<PeersUpdate>(body),
        4 => same::<ClaimBlobs>(body),
        5 => same::<Claimed>(body),
        6 => same::<Fetch>(body),
        7 => same::<Lookup>(body),
        8 => same::<Found>(body),
        9 => same::<Keep>(body),
        10 => same::<List>(body),
        11 => same::<History>(body),
        12 => same::<Rows>(body),
        13 => same::<Refused>(body),
        14 => {
            if let Ok(claim) = ClaimBlobs::decode_checked(body) {
                assert!((1..=CLAIMS_MAX).contains(&claim.blobs.len()));
            }
            if let Ok(update) = message::decode::<PeersUpdate>(body) {
                assert!(update.peers.len() <= PEERS_MAX);
                let few = |addresses: usize| addresses <= ADDRESSES_MAX;
                assert!(update.peers.iter().all(|peer| few(peer.addresses.len())));
            }
        }
        _ => {
            if let Some(members) = Members::decode(body) {
                let again = members.encode();
                assert_eq!(Members::decode(&again), Some(members));
            }
        }
    }
}

fn same<M>(body: &[u8])
where
    M: for<'b> Decode<'b, ()> + Encode<()> + PartialEq + Debug,
{
    let Ok(read) = message::decode::<M>(body) else {
        return;
    };
    let again = message::encode(&read);
    assert!(again.len() <= body.len(), "it has grown");
    assert_eq!(message::decode::<M>(&again), Ok(read));
}

const US: NodeId = NodeId([1; 32]);
const THEM: NodeId = NodeId([2; 32]);
/// None that a proof of the vectors was made for.
const OUR_NONCE: [u8; 32] = [0x6e; 32];

/// Admission: whatever a peer says, it is admitted if and only if it proves
/// the key in this session.
///
/// `data` is one byte of choices. With bit 0 the hello and the proof that
/// follow, each behind its length in two bytes, are taken as they are.
/// Otherwise the peer is a real one with a nonce (32 bytes) and a number of
/// requests (4 bytes), and its proof has a byte changed: where (2 bytes), and
/// by what (1 byte, 0 for no change). Bit 1 is our role, bit 2 says that the
/// peer has another key.
///
/// # Panics
/// If any of this does not hold.
pub fn admission(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.byte();
    let role = match choices & 2 {
        0 => Role::Listener,
        _ => Role::Dialer,
    };
    let key = |byte| ClusterKey::from_bytes([byte; 32]);
    let keys = [key(4), key(5)];
    let mut ours = Admission::new(US, role, THEM, OUR_NONCE, 100);
    if choices & 1 != 0 {
        let (hello, proof) = (source.sized(), source.sized());
        let early = ours.take_proof(proof, &keys);
        assert!(early.is_err(), "admitted without a hello");
        let answered = ours.take_hello(hello, &keys[0]);
        let again = ours.take_hello(hello, &keys[0]);
        assert!(answered.is_err() || again.is_err(), "a second hello");
        let admitted = ours.take_proof(proof, &keys);
        assert!(admitted.is_err(), "admitted without the key");
        return;
    }
    let (nonce, requests) = (source.array(), source.u32());
    let (at, change) = (usize::from(source.u16()), source.byte());
    let theirs = key(if choices & 4 == 0 { 5 } else { 6 });
    let mut peer = Admission::new(THEM, role.other(), US, nonce, requests);
    let proof = peer.take_hello(ours.hello(), &theirs);
    let hello = peer.hello().clone();
    if ours.take_hello(&hello, &keys[0]).is_err() {
        assert!(
            requests < message::REQUESTS_MIN,
            "an honest hello is refused"
        );
        return;
    }
    let mut proof = proof.expect("our hello is honest").to_vec();
    let at = at % proof.len();
    if let Some(byte) = proof.get_mut(at) {
        *byte ^= change;
    }
    match ours.take_proof(&proof, &keys) {
        Ok(admitted) => {
            assert_eq!((change, choices & 4), (0, 0), "a proof that is none");
            assert_eq!(admitted.requests, requests);
        }
        Err(error) => assert!(change != 0 || choices & 4 != 0, "{error}"),
    }
}
