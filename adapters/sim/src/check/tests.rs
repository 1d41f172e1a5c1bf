//! Every check finds what it looks for.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::seal::{Content as Sealed, Draft, Meta, seal_record};
use peerhold_core::{
    Event, FileInfo, Listed, Name, NamespaceSecret, NodeId, OpError, PeerFault, PutId, RecordId,
    Stored, UnixMillis, Version,
};

use super::{Asked, Check, Stores, Suspects, Wish, Wrong, look_at_event};
use crate::model::{Content, Model, Named, Trust};
use crate::violation::Invariant::{self, *};

const ANY: Wish = Wish {
    confirmed: false,
    older: false,
    version: None,
};

fn model(trust: Trust) -> Model {
    let writer = NamespaceSecret::from_bytes([5; 32]).writer();
    Model::new(trust, vec![Named::new(writer, "name")])
}

fn version(number: u64) -> Version {
    Version::next(UnixMillis(number), Version::ZERO, [1; 8]).unwrap()
}

fn asked(model: &mut Model) -> Asked {
    Asked {
        name: 0,
        node: 0,
        life: 1,
        begun: model.tick(),
    }
}

fn content(fill: u64) -> Option<Content> {
    Some(Content { fill, size: 100 })
}

/// A write with this number as its put id and version begins.
fn begin(model: &mut Model, number: u8, content: Option<Content>) -> (usize, Asked) {
    let write = model.begin(0, content);
    assert!(model.began(0, write, PutId([number; 16])));
    (write, asked(model))
}

fn stored(number: u8, size: u64) -> Stored {
    Stored {
        version: version(number.into()),
        put: PutId([number; 16]),
        size,
        copies: 2,
        replicas: 3,
    }
}

/// A write that ends well.
fn write(model: &mut Model, number: u8, content: Option<Content>) -> usize {
    let (write, asked) = begin(model, number, content);
    let size = content.map_or(0, |content| content.size as u64);
    let stored = stored(number, size);
    model.has_written(asked, write, &stored, (3, 2)).unwrap();
    write
}

fn file(model: &Model, number: u8) -> FileInfo {
    let named = &model.names[0];
    FileInfo {
        key: named.key,
        name: named.name.clone(),
        size: 100,
        modified: None,
        id: RecordId {
            version: version(number.into()),
            head: [number; 32],
        },
        put: PutId([number; 16]),
        siv: [0; 32],
        range: 0..100,
        unconfirmed: None,
    }
}

fn read(model: &mut Model, asked: Asked, number: u8, fill: u64) -> Check {
    let file = file(model, number);
    let bytes = Content { fill, size: 100 }.bytes();
    model.has_read(asked, ANY, &file, &bytes)
}

fn finds(invariant: Invariant, check: Check) {
    match check {
        Err(Wrong(found, _)) => assert_eq!(found, invariant),
        Ok(()) => panic!("{invariant} is violated, and nobody sees it"),
    }
}

#[test]
fn what_is_right_is_let_pass() {
    let mut model = model(Trust::All);
    write(&mut model, 1, content(1));
    let asked = asked(&mut model);
    read(&mut model, asked, 1, 1).unwrap();
    write(&mut model, 2, None);
    // It began before the removal.
    read(&mut model, asked, 1, 1).unwrap();
    let asked = self::asked(&mut model);
    let gone = OpError::NotFound;
    model.has_not_read(asked, ANY, &gone).unwrap();
}

#[test]
fn other_bytes_than_were_written_are_found() {
    let mut model = model(Trust::Own);
    write(&mut model, 1, content(1));
    let asked = asked(&mut model);
    finds(Integrity, read(&mut model, asked, 1, 2));
    // Of a put that nobody began.
    finds(Integrity, read(&mut model, asked, 9, 1));
}

#[test]
fn an_older_version_than_was_known_is_found() {
    let mut model = model(Trust::All);
    write(&mut model, 1, content(1));
    write(&mut model, 2, content(2));
    let asked = asked(&mut model);
    finds(Freshness, read(&mut model, asked, 1, 1));
}

#[test]
fn where_replicas_lie_only_what_has_settled_is_relied_on() {
    let mut model = model(Trust::Settled);
    write(&mut model, 1, content(1));
    let second = write(&mut model, 2, content(2));
    let reader = |model: &mut Model| Asked {
        node: 1,
        ..asked(model)
    };
    let asked = reader(&mut model);
    read(&mut model, asked, 1, 1).unwrap();
    model.has_settled(0, second).unwrap();
    let asked = reader(&mut model);
    finds(Freshness, read(&mut model, asked, 1, 1));
}

#[test]
fn a_node_that_forgets_what_it_has_seen_is_found() {
    let mut model = model(Trust::Own);
    write(&mut model, 1, content(1));
    write(&mut model, 2, content(2));
    let asked = asked(&mut model);
    finds(Freshness, read(&mut model, asked, 1, 1));
    let again = Asked { life: 2, ..asked };
    read(&mut model, again, 1, 1).unwrap();
}

#[test]
fn a_node_may_forget_names_that_it_used_before_enough_others() {
    let writer = NamespaceSecret::from_bytes([5; 32]).writer();
    let names = ["name", "other", "third"].map(|name| Named::new(writer.clone(), name));
    let mut model = Model::new(Trust::Own, names.into());
    model.remembered = 2;
    write(&mut model, 1, content(1));
    write(&mut model, 2, content(2));
    // Of the others, one more is remembered beside it.
    let uses = [1, 1, 2].map(|name| Asked {
        name,
        ..asked(&mut model)
    });
    for other in &uses[..2] {
        model.may_see(*other);
        model.may_have_seen(*other);
    }
    let asked = asked(&mut model);
    finds(Freshness, read(&mut model, asked, 1, 1));
    model.may_see(uses[2]);
    assert_eq!(model.seen(asked), None);
    // What it is shown now is all that it knows.
    let asked = self::asked(&mut model);
    read(&mut model, asked, 1, 1).unwrap();
    let now = model.now();
    let seen = model.has_seen(0, asked.life(), now);
    assert_eq!(seen.map(|top| top.version), Some(version(1)));
}

#[test]
fn what_was_removed_and_comes_back_is_found() {
    let mut model = model(Trust::All);
    write(&mut model, 1, content(1));
    write(&mut model, 2, None);
    let asked = asked(&mut model);
    finds(Removal, read(&mut model, asked, 1, 1));
}

#[test]
fn a_file_that_is_gone_is_found() {
    let mut model = model(Trust::All);
    write(&mut model, 1, content(1));
    let asked = asked(&mut model);
    let gone = OpError::NotFound;
    finds(Durability, model.has_not_read(asked, ANY, &gone));
    let damaged = OpError::Unreadable("it is something else");
    finds(Integrity, model.has_not_read(asked, ANY, &damaged));
}

#[test]
fn a_failure_that_happened_is_found() {
    let mut model = model(Trust::All);
    let failure = OpError::Unavailable {
        copies: 1,
        needed: 2,
        unknown: false,
    };
    let (first, began) = begin(&mut model, 1, content(1));
    model.has_not_written(began, first, &failure).unwrap();
    let reader = asked(&mut model);
    finds(Honesty, read(&mut model, reader, 1, 1));
    // It was read before it failed.
    let (second, began) = begin(&mut model, 2, content(2));
    read(&mut model, began, 2, 2).unwrap();
    finds(Honesty, model.has_not_written(began, second, &failure));
}

#[test]
fn a_write_that_does_not_follow_what_was_known_is_found() {
    let mut model = model(Trust::All);
    write(&mut model, 5, content(5));
    let (second, began) = begin(&mut model, 4, content(4));
    let late = stored(4, 100);
    finds(Freshness, model.has_written(began, second, &late, (3, 2)));
}

#[test]
fn a_write_with_too_few_copies_is_found() {
    let mut model = model(Trust::All);
    let (first, began) = begin(&mut model, 1, content(1));
    let few = Stored {
        copies: 1,
        ..stored(1, 100)
    };
    finds(Honesty, model.has_written(began, first, &few, (3, 2)));
}

#[test]
fn a_listing_that_lacks_something_is_found() {
    let mut model = model(Trust::All);
    write(&mut model, 1, content(1));
    let asked = asked(&mut model);
    let all = Listed {
        answered: 3,
        members: 3,
        needed: 2,
        ..Listed::default()
    };
    finds(Durability, model.has_listed(asked, false, &[], &all));
    finds(Durability, model.has_told_history(asked, &[], &all));
    let some = Listed { unread: 1, ..all };
    model.has_listed(asked, false, &[], &some).unwrap();
    model.has_told_history(asked, &[], &some).unwrap();
    let miscounted = Listed { entries: 1, ..some };
    finds(Honesty, model.has_listed(asked, false, &[], &miscounted));
}

#[test]
fn what_nodes_may_not_say_is_found() {
    let peer = NodeId([2; 32]);
    let (known, honest) = (BTreeMap::from([(peer, 1)]), Suspects::default());
    let liar = Suspects {
        liars: BTreeSet::from([peer]),
        ..Suspects::default()
    };
    let fault = |fault| Event::PeerDown {
        peer,
        fault: Some(fault),
    };
    let cases = [
        (Event::Lied { peer }, Integrity),
        (fault(PeerFault::BadFrame), Progress),
    ];
    for (event, invariant) in cases {
        finds(invariant, look_at_event(0, &event, &known, &honest));
        look_at_event(0, &event, &known, &liar).unwrap();
    }
    let key = peerhold_core::disk::RecordKey {
        namespace: peerhold_core::NamespaceId([0; 32]),
        tag: peerhold_core::NameTag([0; 32]),
    };
    let unkept = Event::Unkept { peer, key };
    finds(Durability, look_at_event(0, &unkept, &known, &honest));
    look_at_event(0, &unkept, &known, &liar).unwrap();
    let mut lost = Suspects::default();
    lost.lose(1);
    look_at_event(0, &unkept, &known, &lost).unwrap();
    let silent = fault(PeerFault::Silent);
    look_at_event(0, &silent, &known, &honest).unwrap();
    let damaged = Event::Damaged(peerhold_core::Damage::Log { entries: 1 });
    finds(LogTail, look_at_event(0, &damaged, &known, &honest));
    let trouble = Event::Trouble(peerhold_core::disk::DiskError::NoSpace);
    finds(Convergence, look_at_event(0, &trouble, &known, &honest));
}

#[test]
fn a_record_that_nobody_wrote_is_found_in_a_store() {
    let mut model = model(Trust::All);
    let writer = model.names[0].writer.clone();
    let draft = Draft {
        epoch: 0,
        version: version(1),
        put: PutId([1; 16]),
        floor: Version::ZERO,
        ext: bytes::Bytes::new(),
    };
    let meta = Meta {
        name: Name::new("name").unwrap(),
        size: 3,
        modified: None,
        chunk_size: 1 << 16,
    };
    let content = Sealed::Inline(bytes::Bytes::from_static(b"abc"));
    let record = seal_record(&writer, draft, &meta, &content).unwrap();
    let record = record.to_stored();
    let mut stores = Stores::default();
    let records = [record.clone()];
    finds(Authority, stores.look_at(0, &mut model, 0, &records));
    begin(&mut model, 1, self::content(1));
    stores.look_at(0, &mut model, 0, &records).unwrap();
    // The same key for something else.
    let mut other = record.clone();
    other.meta = bytes::Bytes::from_static(b"another meta");
    finds(Keys, stores.look_at(0, &mut model, 0, &[other]));
    let mut forged = record;
    let mut head = forged.head.to_vec();
    head[20] ^= 1;
    forged.head = head.into();
    finds(Integrity, stores.look_at(0, &mut model, 0, &[forged]));
}

#[test]
fn plaintext_and_wrong_files_are_found_on_a_disk() {
    use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
    let disk = MemVfs::new();
    disk.create_dir("blobs").unwrap();
    let name = blake3::hash(b"right").to_hex();
    let file = disk.create_new(&format!("blobs/{name}")).unwrap();
    file.write_at(b"right", 0).unwrap();
    super::is_sealed(0, &disk, true).unwrap();
    file.write_at(b"wrong", 0).unwrap();
    finds(WholeFiles, super::is_sealed(0, &disk, true));
    super::is_sealed(0, &disk, false).unwrap();
    file.write_at(b"..plain-canary..", 0).unwrap();
    finds(Secrecy, super::is_sealed(0, &disk, false));
}
