//! What a namespace holds and held: lists, histories, older versions, restoring,
//! and outcomes that nobody could tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_lite::future::poll_fn;
use peerhold_smol::peerhold_core::{OpError, Put};
use peerhold_smol::{ClientError, Handle};
use smol::io::AsyncReadExt;

use super::cluster::{bytes, cluster, name, read, stop_all, writer};

/// The names of a listing, with their sizes.
async fn names(handle: &Handle, prefix: &str) -> BTreeMap<String, u64> {
    let mut list = handle.list(writer().reader(), prefix).unwrap();
    let mut names = BTreeMap::new();
    while let Some(entry) = list.next().await.unwrap() {
        assert!(!entry.removed && entry.unconfirmed.is_none());
        names.insert(entry.name.as_str().to_owned(), entry.size);
    }
    let end = list.end().unwrap();
    assert_eq!((end.unread, end.unreadable), (0, 0));
    assert_eq!(end.entries, names.len() as u64);
    names
}

#[test]
fn every_node_lists_the_same_files_many_pages_of_them() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let mut expected = BTreeMap::new();
        for number in 0..1000_u64 {
            let text = format!("{}/{number}", ["odd", "even"][(number % 2) as usize]);
            let data = bytes((number % 7) as usize, number);
            let by = &members[(number % 3) as usize].handle;
            by.put(&writer(), &name(&text), &data[..]).await.unwrap();
            expected.insert(text, number % 7);
        }
        by_removing(&members[0].handle, &mut expected, "even/1").await;
        for member in &members {
            assert_eq!(names(&member.handle, "").await, expected);
        }
        expected.retain(|text, _| text.starts_with("odd/9"));
        assert_eq!(names(&members[1].handle, "odd/9").await, expected);
        stop_all(members).await;
    });
}

async fn by_removing(handle: &Handle, expected: &mut BTreeMap<String, u64>, text: &str) {
    handle
        .remove(&writer(), &name(text))
        .unwrap()
        .await
        .unwrap();
    assert!(expected.remove(text).is_some());
}

#[test]
fn a_list_that_is_not_read_waits_and_holds_up_nobody() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let node = &members[0].handle;
        for number in 0..600 {
            let name = name(&format!("{number}"));
            node.put(&writer(), &name, &b"x"[..]).await.unwrap();
        }
        let mut list = node.list(writer().reader(), "").unwrap();
        let first = list.page(10).await.unwrap();
        assert_eq!(first.len(), 10);
        assert_eq!(read(node, &name("599")).await, b"x");
        let rest = list.page(1000).await.unwrap();
        let all: BTreeSet<&str> = first.iter().chain(&rest).map(|e| e.name.as_str()).collect();
        assert_eq!((rest.len(), all.len()), (590, 600));
        assert!(list.next().await.unwrap().is_none());
        stop_all(members).await;
    });
}

#[test]
fn an_older_version_is_read_and_restored() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let (node, file) = (&members[0].handle, name("file"));
        let versions: Vec<Vec<u8>> = [3 << 20, 10, 0, 100_000]
            .into_iter()
            .map(|len| bytes(len, len as u64))
            .collect();
        for data in &versions {
            node.put(&writer(), &file, &data[..]).await.unwrap();
        }
        node.remove(&writer(), &file).unwrap().await.unwrap();
        let other = &members[1].handle;
        let mut history = other.history(writer().reader(), &file).unwrap();
        let entries = history.page(100).await.unwrap();
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
        let mut reader = other
            .get_version(writer().reader(), &file, oldest)
            .await
            .unwrap();
        let mut data = Vec::new();
        reader.read_to_end(&mut data).await.unwrap();
        assert!(data == versions[0]);

        let restored = other.restore(&writer(), &file, oldest).unwrap();
        let restored = restored.await.unwrap();
        assert!(restored.version > entries[0].id.version && restored.size == 3 << 20);
        assert!(read(&members[2].handle, &file).await == versions[0]);
        let nothing = other.restore(&writer(), &file, entries[0].id).unwrap();
        let refused = nothing.await.unwrap_err().to_string();
        assert!(refused.contains("remov"), "{refused}");
        stop_all(members).await;
    });
}

#[test]
fn an_outcome_that_nobody_told_is_found_by_the_puts_id() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let (node, file) = (&members[0].handle, name("file"));
        let put = || Put {
            writer: writer(),
            name: file.clone(),
            modified: None,
        };
        let mut done = node.put_writer(put()).unwrap();
        done.push(b"one"[..].into()).await.unwrap();
        let done_id = done.id().await.unwrap();
        done.finish().await.unwrap();
        drop(done);
        let mut dropped = node.put_writer(put()).unwrap();
        dropped.push(b"two"[..].into()).await.unwrap();
        let dropped_id = dropped.id().await.unwrap();
        drop(dropped);

        let other = &members[1].handle;
        let reader = writer();
        let found = other
            .outcome(reader.reader(), &file, done_id)
            .await
            .unwrap();
        assert_eq!(found.unwrap().size, 3);
        let found = other.outcome(reader.reader(), &file, dropped_id).await;
        assert_eq!(found, Ok(None));
        stop_all(members).await;
    });
}

#[test]
fn with_two_of_three_gone_nobody_says_that_a_put_did_not_happen() {
    smol::block_on(async {
        let mut members = cluster(3, |_, config| {
            config.node.timing.answer = Duration::from_millis(200);
        })
        .await;
        let (reader, file) = (writer(), name("file"));
        let mut put = members[0]
            .handle
            .put_writer(Put {
                writer: writer(),
                name: file.clone(),
                modified: None,
            })
            .unwrap();
        let id = put.id().await.unwrap();
        put.finish().await.unwrap();
        put.settled().await.unwrap();
        drop(put);
        members.pop().unwrap().stop().await;
        members.pop().unwrap().stop().await;
        let node = &members[0].handle;
        let found = node.outcome(reader.reader(), &file, id).await.unwrap();
        let unconfirmed = found.unwrap().unconfirmed.unwrap();
        assert_eq!((unconfirmed.answered, unconfirmed.needed), (1, 2));
        let other = peerhold_smol::peerhold_core::PutId([9; 16]);
        let found = node.outcome(reader.reader(), &file, other).await;
        let expected = OpError::Unconfirmed {
            answered: 1,
            needed: 2,
        };
        assert_eq!(found, Err(ClientError::Op(expected)));
        stop_all(members).await;
    });
}

#[test]
fn progress_is_waited_for() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let client = members[0].handle.client();
        let mut put = client
            .put(Put {
                writer: writer(),
                name: name("file"),
                modified: None,
            })
            .unwrap();
        put.write(bytes(3 << 20, 1).into()).await.unwrap();
        let mut seen = 0;
        while seen < 3 << 20 {
            let now = poll_fn(|cx| put.poll_progress(seen, cx)).await;
            assert!(now > seen && now % (1 << 20) == 0);
            seen = now;
        }
        put.finish().await.unwrap();
        stop_all(members).await;
    });
}
