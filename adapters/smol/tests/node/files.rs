//! Files go in and come out, by real sockets.

use std::time::Duration;

use super::cluster::{bytes, cluster as start_cluster, name, read, start, stop_all, writer};
use futures_lite::future::{or, poll_once, zip};
use peerhold_smol::peerhold_core::{Get, OpError, Put};
use peerhold_smol::{BUFFER_MIN, ClientError, PutError};
use smol::Timer;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::stream::{self, StreamExt};

const SIZES: [usize; 5] = [0, 1, 16 << 10, (16 << 10) + 1, 5 << 20];

#[test]
fn files_of_every_size_come_back_from_every_node() {
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        for size in SIZES {
            let (data, name) = (bytes(size, size as u64), name(&format!("file of {size}")));
            let stored = members[0]
                .handle
                .put(&writer(), &name, &data[..])
                .await
                .unwrap();
            assert_eq!((stored.size, stored.replicas), (size as u64, 3));
            for member in &members {
                assert!(
                    read(&member.handle, &name).await == data,
                    "{size} bytes differ"
                );
            }
        }
        stop_all(members).await;
    });
}

#[test]
fn a_node_by_itself_keeps_files() {
    smol::block_on(async {
        let member = start(|_| {});
        for size in SIZES {
            let (data, name) = (bytes(size, 3), name(&format!("{size}")));
            member
                .handle
                .put(&writer(), &name, &data[..])
                .await
                .unwrap();
            assert!(
                read(&member.handle, &name).await == data,
                "{size} bytes differ"
            );
        }
        member.stop().await;
    });
}

#[test]
fn a_node_without_workers_does_everything_in_its_turn() {
    smol::block_on(async {
        let members = start_cluster(3, |_, config| config.workers = 0).await;
        let data = bytes(3 << 20, 1);
        members[1]
            .handle
            .put(&writer(), &name("f"), &data[..])
            .await
            .unwrap();
        assert!(read(&members[2].handle, &name("f")).await == data);
        stop_all(members).await;
    });
}

#[test]
fn the_smallest_buffers_only_make_it_slower() {
    smol::block_on(async {
        let members = start_cluster(3, |_, config| {
            config.read_buffer = BUFFER_MIN;
            config.outbox_low = BUFFER_MIN;
            config.outbox_high = BUFFER_MIN;
            config.put_buffer = BUFFER_MIN;
            config.get_buffer = BUFFER_MIN;
            config.round_bytes = BUFFER_MIN;
        })
        .await;
        let data = [bytes(1 << 20, 1), bytes(1 << 20, 2)];
        let put = |index: usize, text: &'static str| {
            let (handle, data) = (members[index].handle.clone(), data[index].clone());
            async move { handle.put(&writer(), &name(text), &data[..]).await.unwrap() }
        };
        zip(put(0, "a"), put(1, "b")).await;
        let (first, second) = (name("b"), name("a"));
        let both = zip(
            read(&members[0].handle, &first),
            read(&members[1].handle, &second),
        )
        .await;
        assert!(both.0 == data[1] && both.1 == data[0]);
        stop_all(members).await;
    });
}

#[test]
fn ranges_are_cut_at_the_end_and_refused_beyond_it() {
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        let (data, name) = (bytes(3 << 20, 9), name("f"));
        members[0]
            .handle
            .put(&writer(), &name, &data[..])
            .await
            .unwrap();
        let handle = &members[1].handle;
        let len = data.len() as u64;
        for range in [
            0..1,
            1_000_000..1_100_000,
            len - 1..len,
            len - 5..len + 100,
            7..7,
        ] {
            let mut reader = handle
                .get_range(writer().reader(), &name, range.clone())
                .await
                .unwrap();
            let mut part = Vec::new();
            reader.read_to_end(&mut part).await.unwrap();
            let end = range.end.min(len);
            assert_eq!(reader.info().range, range.start..end);
            assert!(
                part == data[range.start as usize..end as usize],
                "{range:?} differs"
            );
        }
        let beyond = handle
            .get_range(writer().reader(), &name, len + 1..len + 2)
            .await;
        assert!(
            matches!(beyond, Err(ClientError::Op(OpError::Range { .. }))),
            "{beyond:?}"
        );
        stop_all(members).await;
    });
}

#[test]
fn a_removed_file_is_gone_for_everybody() {
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        let name = name("f");
        members[0]
            .handle
            .put(&writer(), &name, &b"content"[..])
            .await
            .unwrap();
        members[1]
            .handle
            .remove(&writer(), &name)
            .unwrap()
            .await
            .unwrap();
        for member in &members {
            let gone = member.handle.get(writer().reader(), &name).await;
            assert!(
                matches!(gone, Err(ClientError::Op(OpError::NotFound))),
                "{gone:?}"
            );
        }
        stop_all(members).await;
    });
}

#[test]
fn a_settled_put_survives_the_writers_forgetting() {
    smol::block_on(async {
        let members = start_cluster(4, |_, _| {}).await;
        let (data, name) = (bytes(4 << 20, 4), name("f"));
        let put = Put {
            writer: writer(),
            name: name.clone(),
            modified: None,
        };
        let mut file = members[0].handle.put_writer(put).unwrap();
        file.write_all(&data).await.unwrap();
        file.close().await.unwrap();
        let stored = file.finish().await.unwrap();
        assert_eq!(stored.size, data.len() as u64);
        assert_eq!(file.progress(), stored.size);
        file.settled().await.unwrap();
        members[0]
            .handle
            .forget(writer().reader(), &name)
            .unwrap()
            .await
            .unwrap();
        assert!(read(&members[0].handle, &name).await == data);
        stop_all(members).await;
    });
}

#[test]
fn two_hundred_operations_at_once_all_end_well() {
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        let members = &members;
        let file = |index: usize| {
            (
                name(&format!("file {index}")),
                bytes(index * 997, index as u64),
            )
        };
        let puts = stream::iter(0..200).map(|index| {
            let handle = members[index % 3].handle.clone();
            smol::spawn(async move {
                let (name, data) = file(index);
                handle.put(&writer(), &name, &data[..]).await.unwrap();
            })
        });
        for put in puts.collect::<Vec<_>>().await {
            put.await;
        }
        let gets: Vec<_> = (0..200)
            .map(|index| {
                let handle = members[(index + 1) % 3].handle.clone();
                smol::spawn(async move {
                    let (name, data) = file(index);
                    assert!(read(&handle, &name).await == data, "file {index} differs");
                })
            })
            .collect();
        for get in gets {
            get.await;
        }
    });
}

#[test]
fn operations_beyond_the_mailbox_are_refused_before_anything_is_done() {
    smol::block_on(async {
        let member = start(|config| {
            config.mailbox = 2;
            config.node.limits.operations = 1;
        });
        member
            .handle
            .client()
            .wait_until(|status| status.ready)
            .await
            .unwrap();
        let put = |text: &str| {
            member.handle.put_writer(Put {
                writer: writer(),
                name: name(text),
                modified: None,
            })
        };
        let mut first = put("first").unwrap();
        member
            .handle
            .client()
            .wait_until(|status| status.operations == 1)
            .await
            .unwrap();
        let mut waiting = vec![put("second").unwrap()];
        // The node refuses the second, which is kept beside the mailbox.
        let refused = loop {
            match put("more") {
                Ok(more) => waiting.push(more),
                Err(error) => break error,
            }
            member.handle.status().await.unwrap();
        };
        assert_eq!(refused, ClientError::Busy { limit: 2 });
        first.finish().await.unwrap();
        for mut put in waiting {
            put.finish().await.unwrap();
        }
        member.stop().await;
    });
}

#[test]
fn a_put_that_has_to_wait_for_debts_holds_up_no_get() {
    smol::block_on(async {
        let mut members = start_cluster(3, |_, config| config.node.limits.debts = 1).await;
        members.pop().unwrap().stop().await;
        let handle = members[0].handle.clone();
        // The third member is owed a copy, and nothing more may be owed.
        let (old, new) = (name("old"), name("new"));
        handle.put(&writer(), &old, &b"old"[..]).await.unwrap();
        let mut waiting = handle
            .put_writer(Put {
                writer: writer(),
                name: new,
                modified: None,
            })
            .unwrap();
        let content = or(async { Some(read(&handle, &old).await) }, async {
            Timer::after(Duration::from_secs(20)).await;
            None
        });
        assert_eq!(content.await.as_deref(), Some(&b"old"[..]));
        // It has not been taken meanwhile: only so has the get passed it.
        assert!(poll_once(waiting.finish()).await.is_none());
        drop((waiting, handle));
        for member in members {
            member.handle.shutdown(Duration::ZERO).await;
            member.driver.await;
        }
    });
}

#[test]
fn a_dropped_put_leaves_the_old_content() {
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        let (handle, name) = (&members[0].handle, name("f"));
        handle.put(&writer(), &name, &b"old"[..]).await.unwrap();
        let put = Put {
            writer: writer(),
            name: name.clone(),
            modified: None,
        };
        let mut file = handle.put_writer(put).unwrap();
        file.write_all(&bytes(3 << 20, 1)).await.unwrap();
        drop(file);
        handle
            .client()
            .wait_until(|status| status.operations == 0)
            .await
            .unwrap();
        assert_eq!(read(handle, &name).await, b"old");
        stop_all(members).await;
    });
}

#[test]
fn a_source_that_fails_stores_nothing() {
    smol::block_on(async {
        let member = start(|_| {});
        let source = b"some".chain(Broken);
        let error = member
            .handle
            .put(&writer(), &name("f"), source)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, PutError::Source(source) if source.to_string() == "bad sector"),
            "{error}"
        );
        let gone = member.handle.get(writer().reader(), &name("f")).await;
        assert!(
            matches!(gone, Err(ClientError::Op(OpError::NotFound))),
            "{gone:?}"
        );
        member.stop().await;
    });
}

struct Broken;

impl smol::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Err(std::io::Error::other("bad sector")))
    }
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody_else() {
    smol::block_on(async {
        let members = start_cluster(3, |_, config| {
            config.node.timing.operation = Duration::from_secs(600);
        })
        .await;
        let handle = &members[0].handle;
        let large = bytes(24 << 20, 8);
        handle
            .put(&writer(), &name("large"), &large[..])
            .await
            .unwrap();
        handle
            .put(&writer(), &name("small"), &b"small"[..])
            .await
            .unwrap();
        let other = &members[1].handle;
        let mut slow = other.get(writer().reader(), &name("large")).await.unwrap();
        for _ in 0..50 {
            assert_eq!(read(other, &name("small")).await, b"small");
        }
        let held = other.status().await.unwrap().memory;
        assert!(
            held < large.len(),
            "{held} bytes are in memory for a reader that does not read"
        );
        let mut all = Vec::new();
        slow.read_to_end(&mut all).await.unwrap();
        assert!(all == large);
        stop_all(members).await;
    });
}

#[test]
fn the_blocking_form_works_on_other_threads() {
    use std::io::{Read, Write};
    smol::block_on(async {
        let members = start_cluster(3, |_, _| {}).await;
        let blocking = members[0].handle.blocking();
        let data = bytes(3 << 20, 6);
        let expected = data.clone();
        smol::unblock(move || {
            let put = Put {
                writer: writer(),
                name: name("f"),
                modified: None,
            };
            let mut file = blocking.put(put).unwrap();
            file.write_all(&data).unwrap();
            file.finish().unwrap();
            let get = Get {
                confirmed: true,
                ..Get::newest(writer().reader(), &name("f"))
            };
            let mut file = blocking.get(get).unwrap();
            let mut all = Vec::new();
            file.read_to_end(&mut all).unwrap();
            assert!(all == data);
        })
        .await;
        assert!(read(&members[2].handle, &name("f")).await == expected);
        stop_all(members).await;
    });
}
