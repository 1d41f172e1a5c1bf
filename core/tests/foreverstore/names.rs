//! Ids, keys and paths.

use peerhold_core::foreverstore::{FileKey, FilePath, OwnerId};
use quickcheck::quickcheck;

use crate::jsonl;

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

quickcheck! {
    fn no_name_makes_an_unsafe_path(name: String, id: u8) -> bool {
        let path = FilePath::own(&OwnerId([id; 32]), &name);
        path.as_str().split('/').count() == 10
            && path.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'/'))
    }
}
