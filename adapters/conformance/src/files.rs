//! Files go in and come out.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::peerhold_core::{Forget, Get, OpError};
use peerhold_host::{BUFFER_MIN, ClientError, HostConfig};

use crate::lab::{Lab, Member, all, bytes, get, is_ready, name, put, stop_all, three, two, writer};

/// Nothing, inside the record, one chunk, several.
const SIZES: [usize; 5] = [0, 1, 16 << 10, (16 << 10) + 1, 3 << 20];

/// What is put by one node is read by all, at every size.
pub fn files_of_every_size_come_back_from_every_node(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    for size in SIZES {
        let (data, name) = (bytes(size, size as u64), format!("file of {size}"));
        let stored = members[0].put(&name, &data);
        assert_eq!((stored.size, stored.replicas), (size as u64, 3));
        for member in &members {
            member.holds(&name, &data);
        }
    }
    stop_all(members);
}

/// A cluster of one.
pub fn a_node_by_itself_keeps_files(lab: &Lab) {
    let member = lab.start(|_| {});
    for size in SIZES {
        let (data, name) = (bytes(size, 3), size.to_string());
        member.put(&name, &data);
        member.holds(&name, &data);
    }
    member.stop();
}

/// A client stores nothing and reads and writes all the same.
pub fn a_client_that_holds_nothing_reads_and_writes(lab: &Lab) {
    let members = lab.cluster(2, |_, config| two(config));
    let client = lab.start(|config| {
        two(config);
        config.listen.clear();
        config.node.weight = 0;
        config.node.bootstrap = members.iter().map(Member::bootstrap).collect();
    });
    client.meet(2, 2);
    let data = bytes(3 << 20, 1);
    client.put_settled("f", &data);
    client.holds("f", &data);
    members[1].holds("f", &data);
    client.stop();
    stop_all(members);
}

/// With no worker threads the turning thread does it all.
pub fn a_node_without_workers_does_everything_in_its_turn(lab: &Lab) {
    let members = lab.cluster(3, |_, config| config.workers = 0);
    let data = bytes(3 << 20, 1);
    members[1].put("f", &data);
    members[2].holds("f", &data);
    stop_all(members);
}

/// Channels that neither prove nor hide anything carry the same.
pub fn a_cluster_without_secure_channels_works_on_one_machine(lab: &Lab) {
    let members = lab.cluster(3, |_, config| config.insecure = true);
    let data = bytes(1 << 20, 1);
    members[0].put("f", &data);
    members[1].holds("f", &data);
    stop_all(members);
}

/// Parts of files.
pub fn ranges_are_cut_at_the_end_and_refused_beyond_it(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let data = bytes(3 << 20, 9);
    members[0].put("f", &data);
    let len = data.len() as u64;
    let part = |range| {
        let get = Get {
            range: Some(range),
            ..get("f")
        };
        members[1].blocking().get_bytes(get, usize::MAX)
    };
    for range in [
        0..1,
        1_000_000..1_100_000,
        len - 1..len,
        len - 5..len + 100,
        7..7,
    ] {
        let (info, read) = part(range.clone()).unwrap();
        let end = range.end.min(len);
        assert_eq!(info.range, range.start..end);
        assert!(
            read == data[range.start as usize..end as usize],
            "{range:?} differs"
        );
    }
    let beyond = part(len + 1..len + 2);
    assert!(
        matches!(beyond, Err(ClientError::Op(OpError::Range { .. }))),
        "{beyond:?}"
    );
    stop_all(members);
}

/// A get into memory says how large the file is before it reads it.
pub fn a_file_that_is_larger_than_wanted_is_not_read(lab: &Lab) {
    let member = lab.start(|_| {});
    member.put("f", &bytes(100, 1));
    let error = member.blocking().get_bytes(get("f"), 99).unwrap_err();
    assert_eq!(error, ClientError::TooLarge { size: 100, max: 99 });
    member.stop();
}

/// Removes, and what a get says then.
pub fn a_removed_file_is_gone_for_everybody(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    members[0].put("f", &Bytes::from_static(b"content"));
    members[1].remove("f");
    for member in &members {
        let gone = member.try_read("f");
        assert_eq!(gone, Err(ClientError::Op(OpError::NotFound)));
    }
    stop_all(members);
}

/// A capability for one version opens that one at any node.
pub fn a_shared_file_is_read_with_its_capability_alone(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let data = bytes(2 << 20, 1);
    members[0].put("f", &data);
    let (info, _) = members[0]
        .blocking()
        .get_bytes(get("f"), usize::MAX)
        .unwrap();
    members[0].put("f", &bytes(10, 2));
    let capability = info.share(writer().reader()).unwrap();
    let shared = Get::shared(&capability);
    let (_, read) = members[2].blocking().get_bytes(shared, usize::MAX).unwrap();
    assert!(read == data);
    stop_all(members);
}

/// What is settled does not need who wrote it.
pub fn a_settled_put_survives_the_writers_forgetting(lab: &Lab) {
    let members = lab.cluster(4, |_, _| {});
    let data = bytes(4 << 20, 4);
    let blocking = members[0].blocking();
    let mut file = blocking.put(put("f")).unwrap();
    file.write_all(&data).unwrap();
    let stored = file.finish().unwrap();
    assert_eq!(stored.size, data.len() as u64);
    assert_eq!(file.progress(), stored.size);
    file.settled().unwrap();
    let forget = Forget {
        reader: writer().reader().clone(),
        name: name("f"),
    };
    let forgotten = blocking.forget(forget).unwrap();
    assert_eq!(forgotten.kept, 0);
    members[0].holds("f", &data);
    stop_all(members);
}

/// Many operations on every node.
pub fn two_hundred_operations_at_once_all_end_well(lab: &Lab) {
    const COUNT: usize = 200;
    let members = lab.cluster(3, |_, _| {});
    let file = |index: usize| (format!("file {index}"), bytes(index * 997, index as u64));
    let puts = (0..COUNT).map(|index| {
        let client = &members[index % 3].client;
        let (name, data) = file(index);
        async move { client.put_bytes(put(&name), data).await }
    });
    for put in members[0].wait(all(puts)) {
        put.unwrap();
    }
    let gets = (0..COUNT).map(|index| {
        let client = &members[(index + 1) % 3].client;
        let (name, data) = file(index);
        async move {
            let (_, read) = client.get_bytes(get(&name), usize::MAX).await.unwrap();
            read == data
        }
    });
    let same = members[0].wait(all(gets));
    assert!(same == [true; COUNT], "{same:?}");
    stop_all(members);
}

/// What is beyond a limit is refused before anything is done.
pub fn operations_beyond_the_mailbox_are_refused(lab: &Lab) {
    let member = lab.start(|config| {
        config.mailbox = 2;
        config.node.limits.operations = 1;
    });
    let blocking = member.blocking();
    let mut first = blocking.put(put("first")).unwrap();
    blocking
        .wait_until(|status| status.operations == 1)
        .unwrap();
    let mut waiting = vec![blocking.put(put("second")).unwrap()];
    // The node refuses the second, which is kept beside the mailbox.
    let refused = loop {
        match blocking.put(put("more")) {
            Ok(more) => waiting.push(more),
            Err(error) => break error,
        }
        blocking.status().unwrap();
    };
    assert_eq!(refused, ClientError::Busy { limit: 2 });
    first.finish().unwrap();
    for mut put in waiting {
        put.finish().unwrap();
    }
    member.stop();
}

/// A write that the node cannot take yet keeps no read waiting.
pub fn a_put_that_has_to_wait_for_debts_holds_up_no_get(lab: &Lab) {
    let mut members = lab.cluster(3, |_, config| config.node.limits.debts = 1);
    members.pop().unwrap().stop();
    let member = &members[0];
    // The third member is owed a copy, and nothing more may be owed.
    let old = Bytes::from_static(b"old");
    member.put("old", &old);
    let mut waiting = member.client.put(put("new")).unwrap();
    member.holds("old", &old);
    // It has not been taken meanwhile: only so has the get passed it.
    assert!(!is_ready(pin!(waiting.finish())));
    drop(waiting);
    for member in members {
        member.blocking().shutdown(Duration::ZERO).unwrap();
        member.ended();
    }
}

/// Dropping a writer cancels.
pub fn a_dropped_put_leaves_the_old_content(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let (member, old) = (&members[0], Bytes::from_static(b"old"));
    member.put("f", &old);
    let mut file = member.blocking().put(put("f")).unwrap();
    file.write_all(&bytes(3 << 20, 1)).unwrap();
    drop(file);
    let idle = |status: &peerhold_host::peerhold_core::Status| status.operations == 0;
    member.blocking().wait_until(idle).unwrap();
    for member in &members {
        member.holds("f", &old);
    }
    stop_all(members);
}

/// A put that has been finished takes no more.
pub fn a_finished_put_takes_no_more_bytes(lab: &Lab) {
    let member = lab.start(|_| {});
    let mut file = member.blocking().put(put("f")).unwrap();
    file.push(Bytes::from_static(b"content")).unwrap();
    let stored = file.finish().unwrap();
    let late = file.push(Bytes::from_static(b"late"));
    assert_eq!(late, Err(ClientError::Finished));
    assert_eq!(file.finish().unwrap(), stored);
    member.stop();
}

/// Dropping a reader ends the get, and nothing else.
pub fn a_dropped_get_ends_and_the_node_goes_on(lab: &Lab) {
    let member = lab.start(|_| {});
    let data = bytes(8 << 20, 1);
    member.put("f", &data);
    let mut reader = member.blocking().get(get("f")).unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    drop(reader);
    let idle = |status: &peerhold_host::peerhold_core::Status| {
        (status.operations, status.memory) == (0, 0)
    };
    member.blocking().wait_until(idle).unwrap();
    member.holds("f", &data);
    member.stop();
}

/// Whoever waits for progress is told of every step.
pub fn progress_is_waited_for(lab: &Lab) {
    const SIZE: u64 = 3 << 20;
    let members = lab.cluster(3, |_, _| {});
    let mut put = members[0].client.put(put("f")).unwrap();
    members[0].wait(put.write(bytes(SIZE as usize, 1))).unwrap();
    let mut seen = 0;
    while seen < SIZE {
        let now = members[0].wait(std::future::poll_fn(|cx| put.poll_progress(seen, cx)));
        assert!(now > seen && now.is_multiple_of(1 << 20));
        seen = now;
    }
    members[0].wait(put.finish()).unwrap();
    stop_all(members);
}

/// The calls that wait may be made from any number of threads.
pub fn the_blocking_form_works_on_many_threads_at_once(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    thread::scope(|scope| {
        for (index, member) in members.iter().enumerate() {
            scope.spawn(move || {
                let data = bytes(2 << 20, index as u64);
                let (blocking, name) = (member.blocking(), format!("{index}"));
                let mut file = blocking.put(put(&name)).unwrap();
                file.write_all(&data).unwrap();
                file.finish().unwrap();
                let confirmed = Get {
                    confirmed: true,
                    ..get(&name)
                };
                let mut file = blocking.get(confirmed).unwrap();
                let mut read = Vec::new();
                file.read_to_end(&mut read).unwrap();
                assert!(read == data);
            });
        }
    });
    stop_all(members);
}

/// What is least in every buffer still works, both ways at once.
pub fn the_smallest_buffers_only_make_it_slower(lab: &Lab) {
    let members = lab.cluster(3, |_, config| smallest_buffers(config));
    let data = [bytes(1 << 20, 1), bytes(1 << 20, 2)];
    thread::scope(|scope| {
        scope.spawn(|| members[0].put("a", &data[0]));
        members[1].put("b", &data[1]);
    });
    thread::scope(|scope| {
        scope.spawn(|| members[0].holds("b", &data[1]));
        members[1].holds("a", &data[0]);
    });
    stop_all(members);
}

pub(crate) fn smallest_buffers(config: &mut HostConfig) {
    config.read_buffer = BUFFER_MIN;
    config.outbox_low = BUFFER_MIN;
    config.outbox_high = BUFFER_MIN;
    config.put_buffer = BUFFER_MIN;
    config.get_buffer = BUFFER_MIN;
    config.round_bytes = BUFFER_MIN;
}

/// A node that is stopped and started again is the same one.
pub fn a_restarted_node_is_the_same_and_keeps_its_files(lab: &Lab) {
    let member = lab.start(|_| {});
    let node = member.client.node();
    let files = [("large", bytes(2 << 20, 2)), ("small", bytes(5, 1))];
    for (name, data) in &files {
        member.put(name, data);
    }
    let member = lab.start_in(member.stop(), |_| {});
    assert_eq!(member.client.node(), node);
    for (name, data) in &files {
        member.holds(name, data);
    }
    member.stop();
}

/// A node that was away gets what it missed.
pub fn a_node_that_comes_back_is_met_again(lab: &Lab) {
    let mut members = lab.cluster(3, |_, config| {
        // What is owed is offered again so often.
        config.node.timing.request = Duration::from_millis(300);
    });
    let bootstrap = members[0].bootstrap();
    let dir = members.pop().unwrap().stop();
    let files: BTreeMap<String, Bytes> = (0..4)
        .map(|index| (index.to_string(), bytes(index << 19, index as u64)))
        .collect();
    for (name, data) in &files {
        members[0].put(name, data);
    }
    let third = lab.start_in(dir, |config| {
        three(config);
        // Those that are away then do not answer.
        config.node.timing.answer = Duration::from_millis(200);
        config.node.bootstrap = vec![bootstrap];
    });
    third.meet(3, 2);
    // What it is owed is paid by itself.
    let blocking = members[0].blocking();
    blocking.wait_until(|status| status.debts == 0).unwrap();
    stop_all(members);
    for (name, data) in &files {
        third.holds(name, data);
    }
    third.stop();
}
