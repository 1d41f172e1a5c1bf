//! What a namespace holds and held: lists, histories, older versions,
//! restoring, and outcomes that nobody could tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::ClientError;
use peerhold_host::peerhold_core::{
    Entry, Get, History, List, OpError, PutId, RecordId, Restore, Stored,
};

use crate::lab::{Lab, Member, all, bytes, name, put, stop_all, writer};

pub(crate) fn list(prefix: &str, removed: bool) -> List {
    List {
        reader: writer().reader().clone(),
        prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        after: None,
        removed,
    }
}

/// All versions of a name, the newest first.
pub(crate) fn history(member: &Member, text: &str) -> Vec<Entry> {
    let history = History {
        reader: writer().reader().clone(),
        name: name(text),
        below: None,
    };
    let entries = member.blocking().history(history).unwrap();
    entries.collect::<Result<_, _>>().unwrap()
}

pub(crate) fn restore(member: &Member, text: &str, id: RecordId) -> Result<Stored, ClientError> {
    let (writer, name) = (writer(), name(text));
    member.blocking().restore(Restore { writer, name, id })
}

fn names(member: &Member, prefix: &str) -> BTreeMap<String, u64> {
    let mut list = member.blocking().list(list(prefix, false)).unwrap();
    let mut names = BTreeMap::new();
    for entry in &mut list {
        let entry = entry.unwrap();
        assert!(!entry.removed && entry.unconfirmed.is_none());
        names.insert(entry.name.as_str().to_owned(), entry.size);
    }
    let end = list.end().unwrap();
    assert_eq!((end.unread, end.unreadable), (0, 0));
    assert_eq!(end.entries, names.len() as u64);
    names
}

/// Lists of more than one page, whole and by prefix.
pub fn every_node_lists_the_same_files_many_pages_of_them(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let files: Vec<(String, u64)> = (0..600)
        .map(|number| {
            let folder = ["even", "odd"][number % 2];
            (format!("{folder}/{number}"), number as u64 % 7)
        })
        .collect();
    let puts = files.iter().enumerate().map(|(number, (text, size))| {
        let client = &members[number % 3].client;
        client.put_bytes(put(text), bytes(*size as usize, number as u64))
    });
    for put in members[0].wait(all(puts)) {
        put.unwrap();
    }
    let mut expected: BTreeMap<String, u64> = files.into_iter().collect();
    members[0].remove("odd/1");
    expected.remove("odd/1").unwrap();
    for member in &members {
        assert_eq!(names(member, ""), expected);
    }
    expected.retain(|text, _| text.starts_with("odd/9"));
    assert_eq!(names(&members[1], "odd/9"), expected);
    let gone = members[2].blocking().list(list("odd/1", true)).unwrap();
    let gone = gone.map(Result::unwrap).filter(|entry| entry.removed);
    assert_eq!(gone.count(), 1);
    stop_all(members);
}

/// A list that is not read holds up itself alone.
pub fn a_list_that_is_not_read_waits_and_holds_up_nobody(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let (node, x) = (&members[0], Bytes::from_static(b"x"));
    let puts = (0..600).map(|number| node.client.put_bytes(put(&number.to_string()), x.clone()));
    for put in node.wait(all(puts)) {
        put.unwrap();
    }
    let mut list = node.client.list(list("", false)).unwrap();
    let first = node.wait(list.page(10)).unwrap();
    assert_eq!(first.len(), 10);
    node.holds("599", &x);
    let rest = node.wait(list.page(1000)).unwrap();
    let all: BTreeSet<&str> = first.iter().chain(&rest).map(|e| e.name.as_str()).collect();
    assert_eq!((rest.len(), all.len()), (590, 600));
    assert!(node.wait(list.next()).unwrap().is_none());
    stop_all(members);
}

/// Histories, reads of what they tell of, and restoring it.
pub fn an_older_version_is_read_and_restored(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let versions = [3 << 20, 10, 0, 100_000].map(|len| bytes(len, len as u64));
    for data in &versions {
        members[0].put("f", data);
    }
    members[0].remove("f");
    let other = &members[1];
    let entries = history(other, "f");
    let sizes: Vec<(bool, u64)> = entries.iter().map(|e| (e.removed, e.size)).collect();
    let expected = [
        (true, 0),
        (false, 100_000),
        (false, 0),
        (false, 10),
        (false, 3 << 20),
    ];
    assert_eq!(sizes, expected);
    assert!(entries.is_sorted_by(|a, b| a.id > b.id));
    let oldest = entries[4].id;
    let get = Get::version(writer().reader(), &name("f"), oldest);
    let (_, data) = other.blocking().get_bytes(get, usize::MAX).unwrap();
    assert!(data == versions[0]);

    let restored = restore(other, "f", oldest).unwrap();
    assert!(restored.version > entries[0].id.version && restored.size == 3 << 20);
    members[2].holds("f", &versions[0]);
    let nothing = restore(other, "f", entries[0].id);
    assert_eq!(nothing, Err(ClientError::Op(OpError::NothingToRestore)));
    stop_all(members);
}

/// Put ids tell afterwards what took hold.
pub fn an_outcome_that_nobody_told_is_found_by_the_puts_id(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let begin = |data: &'static [u8]| {
        let mut op = members[0].client.put(put("f")).unwrap();
        let id = members[0].wait(async {
            op.write(Bytes::from_static(data)).await?;
            op.id().await
        });
        (op, id.unwrap())
    };
    let (mut done, done_id) = begin(b"one");
    members[0].wait(done.finish()).unwrap();
    drop(done);
    let (dropped, dropped_id) = begin(b"two");
    drop(dropped);
    let outcome = |id| {
        let other = members[1].blocking();
        other.outcome(writer().reader(), &name("f"), id).unwrap()
    };
    assert_eq!(outcome(done_id).unwrap().size, 3);
    assert_eq!(outcome(dropped_id), None);
    stop_all(members);
}

/// An outcome that cannot be known is not made up.
pub fn with_two_of_three_gone_nobody_says_that_a_put_did_not_happen(lab: &Lab) {
    let mut members = lab.cluster(3, |_, config| {
        config.node.timing.answer = Duration::from_millis(200);
    });
    let mut op = members[0].client.put(put("f")).unwrap();
    let id = members[0].wait(op.id()).unwrap();
    members[0].wait(op.finish()).unwrap();
    members[0].wait(op.settled()).unwrap();
    drop(op);
    stop_all(members.drain(1..));
    let outcome = |id| {
        let node = members[0].blocking();
        node.outcome(writer().reader(), &name("f"), id)
    };
    let unconfirmed = outcome(id).unwrap().unwrap().unconfirmed.unwrap();
    assert_eq!((unconfirmed.answered, unconfirmed.needed), (1, 2));
    let expected = OpError::Unconfirmed {
        answered: 1,
        needed: 2,
    };
    assert_eq!(outcome(PutId([9; 16])), Err(ClientError::Op(expected)));
    stop_all(members);
}
