//! Paths on disk: the Go program's are reproduced, ours hold the whole id, and
//! no text makes an unsafe one.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use peerhold_core::id::BlobId;
use peerhold_core::path::{CasPath, Layout, sha1_path};
use quickcheck::quickcheck;

#[path = "support/hex.rs"]
mod hex;
#[path = "support/jsonl.rs"]
mod jsonl;
#[path = "support/odd_paths.rs"]
mod odd_paths;

#[test]
fn the_go_programs_paths_are_reproduced() {
    let mut lines = 0;
    for line in include_str!("vectors/foreverstore/paths.jsonl").lines() {
        let text = |field| jsonl::text(line, field).unwrap_or_else(|| panic!("{field} in {line}"));
        let path = sha1_path(text("key"));
        assert_eq!(path.as_str(), text("full"));
        assert_eq!(path.file_name(), text("filename"));
        assert_eq!(path.components().next(), Some(text("first")));
        assert_eq!(path.parents().next_back(), Some(text("pathname")));
        lines += 1;
    }
    assert_eq!(lines, 8);
}

#[test]
fn our_layouts_are_as_written_down() {
    let mut lines = 0;
    for line in include_str!("vectors/paths.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let fields: Vec<&str> = line.split(' ').collect();
        let [text, layout, path] = fields[..] else {
            panic!("three fields: {line}");
        };
        let layout = Layout::from_name(layout).expect("a layout's name");
        let id = BlobId(hex::unhex_array(text));
        assert_eq!(layout.path(&id).as_str(), path);
        lines += 1;
    }
    assert_eq!(lines, 6);
}

#[test]
fn layouts_are_found_by_their_names() {
    for layout in Layout::ALL {
        assert_eq!(Layout::from_name(layout.name()), Some(layout));
    }
    assert_eq!(Layout::from_name("FLAT"), None);
    assert_eq!(Layout::default(), Layout::Flat);
}

#[test]
fn the_folders_of_a_path_lead_to_it() {
    let path = sha1_path("a");
    let mut folder = String::new();
    let parents: Vec<&str> = path.parents().collect();
    assert_eq!(parents.len(), 8);
    for (component, parent) in path.components().zip(parents) {
        folder.push_str(component);
        assert_eq!(folder, parent);
        folder.push('/');
    }
    assert_eq!(folder + path.file_name(), path.as_str());
}

#[test]
fn texts_that_are_paths_themselves_make_paths_of_the_one_form_below_the_root() {
    let root = Path::new("/a/root");
    let mut made = BTreeSet::new();
    for text in odd_paths::texts() {
        let path = sha1_path(&text);
        assert!(is_safe(&path), "{text:?}");
        let lens: Vec<usize> = path.components().map(str::len).collect();
        assert_eq!(lens, [5, 5, 5, 5, 5, 5, 5, 5, 40], "{text:?}");
        assert_eq!(
            path.file_name(),
            path.parents().map(last).collect::<String>()
        );
        let joined = root.join(path.as_str());
        let normal = |part: &Component<'_>| matches!(part, Component::Normal(_));
        let below = joined.strip_prefix(root).unwrap();
        assert_eq!(below.components().filter(normal).count(), 9);
        assert_eq!(below.components().count(), 9);
        // Texts that some system takes for one path are not one here.
        assert!(made.insert(joined), "{text:?}");
        assert_eq!(Layout::from_name(&text), None);
    }
}

/// The last folder of some.
fn last(folders: &str) -> &str {
    folders.rsplit('/').next().unwrap_or(folders)
}

quickcheck! {
    fn no_text_makes_an_unsafe_path(key: String) -> bool {
        is_safe(&sha1_path(&key))
    }

    fn every_path_is_safe_and_names_its_whole_id(a: u128, b: u128) -> bool {
        let id = id(a, b);
        Layout::ALL.into_iter().all(|layout| {
            let path = layout.path(&id);
            is_safe(&path) && path.file_name() == id.to_hex()
        })
    }

    fn the_sha1_layout_hashes_only_the_id(a: u128, b: u128) -> bool {
        let id = id(a, b);
        let ours = Layout::Sha1.path(&id);
        let theirs = sha1_path(&id.to_hex());
        ours.parents().eq(theirs.parents())
    }
}

fn id(a: u128, b: u128) -> BlobId {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&a.to_be_bytes());
    bytes[16..].copy_from_slice(&b.to_be_bytes());
    BlobId(bytes)
}

fn is_safe(path: &CasPath) -> bool {
    let text = path.as_str();
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.len() <= CasPath::LEN_MAX
        && text.chars().all(|c| hex(c) || c == '/')
        && path.components().count() >= 2
        && path.components().all(|component| !component.is_empty())
}
