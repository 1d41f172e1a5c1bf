//! Small formats as they are written down: admission's hellos and proofs,
//! versions, and the map of members.

use peerhold_core::admission::Admission;
use peerhold_core::members::{Member, Members, State};
use peerhold_core::{ClusterKey, NodeId, PeerFault, Role, UnixMillis, Version};

#[path = "support/hex.rs"]
mod hex;

use hex::{unhex, unhex_array};

#[test]
fn admissions_are_as_written_down() {
    let mut admissions = 0;
    for line in lines(include_str!("vectors/admission.txt")) {
        let [key, dialer, nonce_d, requests_d, rest @ ..] = &line[..] else {
            panic!("{line:?}");
        };
        let [
            listener,
            nonce_l,
            requests_l,
            hello_d,
            hello_l,
            proof_d,
            proof_l,
        ] = rest
        else {
            panic!("{line:?}");
        };
        let key = ClusterKey::from_bytes(unhex_array(key));
        let [dialer, listener] = [dialer, listener].map(|id| NodeId(unhex_array(id)));
        let [nonce_d, nonce_l] = [nonce_d, nonce_l].map(|nonce| unhex_array(nonce));
        let [requests_d, requests_l] = [requests_d, requests_l].map(|text| text.parse().unwrap());
        let [hello_d, hello_l, proof_d, proof_l] =
            [hello_d, hello_l, proof_d, proof_l].map(|body| unhex(body));

        let mut ours = Admission::new(dialer, Role::Dialer, listener, nonce_d, requests_d);
        let mut theirs = Admission::new(listener, Role::Listener, dialer, nonce_l, requests_l);
        assert_eq!(*ours.hello(), hello_d);
        assert_eq!(*theirs.hello(), hello_l);
        assert_eq!(ours.take_hello(&hello_l, &key).unwrap(), proof_d);
        assert_eq!(theirs.take_hello(&hello_d, &key).unwrap(), proof_l);

        let keys = [key];
        let admitted = ours.take_proof(&proof_l, &keys).unwrap();
        assert_eq!(admitted.requests, requests_l);
        let admitted = theirs.take_proof(&proof_d, &keys).unwrap();
        assert_eq!(admitted.requests, requests_d);
        // Any other byte of the mac, or of the key's id, proves nothing.
        for at in [3, proof_l.len() - 1] {
            let mut wrong = proof_l.clone();
            wrong[at] ^= 1;
            assert_eq!(ours.take_proof(&wrong, &keys), Err(PeerFault::WrongKey));
        }
        admissions += 1;
    }
    assert_eq!(admissions, 3);
}

#[test]
fn versions_are_as_written_down() {
    let version = |text: &str| Version::from_bytes(unhex_array(text));
    let mut of_each = [0; 3];
    for line in lines(include_str!("vectors/versions.txt")) {
        match line[..] {
            ["next", millis, seen, writer, next] => {
                let wall = UnixMillis(millis.parse().unwrap());
                let expected = (next != "-").then(|| version(next));
                let made = Version::next(wall, version(seen), unhex_array(writer));
                assert_eq!(made, expected, "{line:?}");
                assert!(made.is_none_or(|made| made > version(seen)));
                of_each[0] += 1;
            }
            ["writer", node, start, writer] => {
                let node = NodeId(unhex_array(node));
                let expected = unhex_array::<8>(writer);
                assert_eq!(Version::writer(&node, start.parse().unwrap()), expected);
                of_each[1] += 1;
            }
            ["order", ref rising @ ..] => {
                let versions: Vec<Version> = rising.iter().map(|text| version(text)).collect();
                assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
                let bytes: Vec<_> = versions.iter().map(|version| version.to_bytes()).collect();
                assert!(bytes.is_sorted_by(|a, b| a < b));
                assert_eq!(version(rising[0]), Version::ZERO);
                of_each[2] += versions.len();
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!(of_each, [12, 3, 8]);
}

#[test]
fn maps_of_members_are_as_written_down_in_whatever_order_they_were_made() {
    let (mut entries, mut maps) = (Vec::new(), 0);
    for line in lines(include_str!("vectors/members.txt")) {
        match line[..] {
            ["member", counter, state, weight, zone, id] => {
                let states = [State::Joining, State::Active, State::Leaving, State::Gone];
                let member = Member {
                    counter: counter.parse().unwrap(),
                    state: states[state.parse::<usize>().unwrap()],
                    weight: weight.parse().unwrap(),
                    zone: zone.parse().unwrap(),
                };
                entries.push((NodeId(unhex_array(id)), member));
            }
            ["encoding", encoding] => {
                let encoding = unhex(encoding);
                let map: Members = entries.iter().copied().collect();
                assert_eq!(map.encode(), encoding);
                assert_eq!(Members::decode(&encoding).as_ref(), Some(&map));
                assert_eq!(entries.iter().rev().copied().collect::<Members>(), map);
            }
            ["digest", digest] => {
                let map: Members = entries.drain(..).collect();
                assert_eq!(map.digest(), unhex_array(digest));
                maps += 1;
            }
            _ => panic!("{line:?}"),
        }
    }
    assert_eq!(maps, 5);
}

/// The words of each line that is no comment.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect())
}
