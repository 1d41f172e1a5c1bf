//! Ids, keys and paths.

use std::collections::BTreeSet;

use peerhold_core::foreverstore::{Fault, FileKey, FilePath, Message, OwnerId, OwnerKey};
use quickcheck::quickcheck;

use crate::host::Host;
use crate::{jsonl, odd_paths};

#[test]
fn keys_and_paths_are_the_go_programs() {
    let owner = OwnerId([0xab; 32]);
    for line in include_str!("../vectors/foreverstore/paths.jsonl").lines() {
        let text = |field| jsonl::text(line, field).unwrap();
        let key = FileKey::of(text("key"));
        assert_eq!(key.to_string(), text("md5"));
        assert_eq!(FileKey::from_hex(text("md5")), Some(key));
        let path = FilePath::own(&owner, text("key"));
        assert_eq!(path.as_str(), format!("{owner}/{}", text("full")));
        let folder = format!("{owner}/{}", text("pathname"));
        assert_eq!(path.parents().next_back(), Some(&*folder));
        assert_eq!(path.parents().next(), Some(&*owner.to_string()));
        assert_eq!(
            FilePath::replica(&owner, &key),
            FilePath::own(&owner, text("md5")),
            "a replica lies where its key's text says",
        );
    }
}

#[test]
fn only_hex_of_the_right_length_is_an_id_or_a_key() {
    let id = "0123456789abcdef".repeat(4);
    assert_eq!(OwnerId::from_hex(&id).unwrap().to_string(), id);
    for wrong in [
        String::new(),
        id[1..].to_owned(),
        format!("{id}0"),
        id.to_uppercase(),
        format!("{}/", &id[1..]),
        format!("../{}", &id[3..]),
        format!("{}\0", &id[1..]),
        format!("+{}", &id[1..]),
        "é".repeat(32),
    ] {
        assert_eq!(OwnerId::from_hex(&wrong), None, "{wrong:?}");
    }
    assert_eq!(FileKey::from_hex(&id), None);
    assert!(FileKey::from_hex(&id[..32]).is_some());
}

#[test]
fn a_name_that_is_a_path_itself_makes_one_of_the_one_form() {
    let owner = OwnerId([0xab; 32]);
    let mut made = BTreeSet::new();
    for name in odd_paths::texts() {
        assert_eq!(OwnerId::from_hex(&name), None, "{name:?}");
        assert_eq!(OwnerKey::from_hex(&name).map(drop), None, "{name:?}");
        assert_eq!(FileKey::from_hex(&name), None, "{name:?}");
        let key = FileKey::of(&name);
        for path in [
            FilePath::own(&owner, &name),
            FilePath::replica(&owner, &key),
        ] {
            let (folder, rest) = path.as_str().split_once('/').unwrap();
            assert_eq!(OwnerId::from_hex(folder), Some(owner));
            let lens: Vec<usize> = rest.split('/').map(str::len).collect();
            assert_eq!(lens, [5, 5, 5, 5, 5, 5, 5, 5, 40], "{name:?}");
            assert!(
                rest.bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'/'))
            );
            assert!(made.insert(path.to_string()), "{name:?}");
        }
    }
}

#[test]
fn a_peer_that_names_a_path_for_an_id_or_a_key_is_at_fault_and_touches_no_file() {
    let (id, key) = ("ab".repeat(32), "01".repeat(16));
    for odd in odd_paths::texts() {
        for (id, key) in [(odd.clone(), key.clone()), (id.clone(), odd.clone())] {
            let size = 16;
            for message in [
                Message::Store {
                    id: id.clone(),
                    key: key.clone(),
                    size,
                },
                Message::Get { id, key },
            ] {
                let mut host = Host::new(1);
                host.slow_files = true;
                host.receive(&[&[1], &message.encode()[..], &[2], &[7; 16]].concat());
                assert_eq!(host.fault(), Some(Fault::Name), "{odd:?}");
                assert!(host.waiting.is_empty() && host.files.files.is_empty());
            }
        }
    }
}

quickcheck! {
    fn no_name_makes_an_unsafe_path(name: String, id: u8) -> bool {
        let path = FilePath::own(&OwnerId([id; 32]), &name);
        path.as_str().split('/').count() == 10
            && path.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'/'))
    }
}
