//! Lists and histories: what several members tell is merged, and what cannot be
//! relied on is said.

use std::time::Duration;

use peerhold_core::disk::StoredRecord;
use peerhold_core::seal::BLOB_MAX;
use peerhold_core::wire::message::{
    self, DamagedRow, History, List, Refusal, Refused, RowParts, Rows, kind,
};
use peerhold_core::{Entry, Event, Listed, NamespaceSecret, OpError, PeerFault, Unconfirmed};

use crate::fake_peer::Peer;
use crate::host::{Host, ME, config, get_of};
use crate::listers::{Cluster, history_of, key_of, list_of, version};

/// Name, size and copies of each entry.
fn shown(entries: &[Entry]) -> Vec<(&str, u64, u8)> {
    entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.size, entry.copies))
        .collect()
}

/// These, in the order of their tags.
fn in_order(mut names: Vec<(&str, u64, u8)>) -> Vec<(&str, u64, u8)> {
    names.sort_by_key(|(name, ..)| key_of(name).tag);
    names
}

fn all_told(entries: u64) -> Listed {
    Listed {
        entries,
        unreadable: 0,
        answered: 3,
        members: 3,
        needed: 2,
        unread: 0,
    }
}

/// Three members with three names, one of which only one member has newest.
fn three() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.hold(&[0, 1, 2], &version("a", 1, Some(10)));
    cluster.hold(&[0, 2], &version("b", 2, Some(20)));
    cluster.hold(&[0, 1, 2], &version("c", 3, Some(30)));
    cluster.hold(&[1], &version("c", 4, Some(31)));
    cluster
}

#[test]
fn a_list_shows_the_newest_of_what_any_member_holds_in_the_order_of_tags() {
    let mut cluster = three();
    let (entries, listed) = cluster.names();
    let all = in_order(vec![("a", 10, 3), ("b", 20, 2), ("c", 31, 1)]);
    assert_eq!(shown(&entries), all);
    assert_eq!(listed, Ok(all_told(3)));
    let newest = entries.iter().find(|entry| entry.size == 31).unwrap();
    let record = version("c", 4, Some(31));
    assert_eq!((newest.id, newest.tag), (record.id(), record.key.tag));
    assert_eq!((newest.put.0, newest.removed), ([4; 16], false));
    assert_eq!(newest.modified.map(|at| at.0), Some(4));
    assert!(entries.iter().all(|entry| entry.unconfirmed.is_none()));
}

#[test]
fn a_list_goes_on_where_an_earlier_one_stopped() {
    let mut cluster = three();
    let (entries, _) = cluster.names();
    let mut list = list_of();
    list.after = Some(entries[0].tag);
    let op = cluster.list(list);
    let (rest, _) = cluster.ended(op);
    assert_eq!(rest, entries[1..]);
}

#[test]
fn an_empty_namespace_has_an_empty_list() {
    assert_eq!(Cluster::new(3).names(), (vec![], Ok(all_told(0))));
}

#[test]
fn pages_of_one_row_give_the_same_list() {
    let expected = three().names();
    let mut cluster = three();
    for member in &mut cluster.members {
        member.rows_max = 1;
    }
    assert_eq!(cluster.names(), expected);
}

#[test]
fn removed_names_are_left_out_unless_asked_for_and_a_prefix_is_filtered() {
    let mut cluster = three();
    cluster.hold(&[0, 1], &version("a", 9, None));
    cluster.hold(&[0, 1, 2], &version("bc", 9, Some(1)));
    let (entries, _) = cluster.names();
    let all = in_order(vec![("b", 20, 2), ("bc", 1, 3), ("c", 31, 1)]);
    assert_eq!(shown(&entries), all);
    let mut list = list_of();
    list.prefix = Some("b".into());
    let op = cluster.list(list.clone());
    let (entries, listed) = cluster.ended(op);
    assert_eq!(shown(&entries), in_order(vec![("b", 20, 2), ("bc", 1, 3)]));
    assert_eq!(listed, Ok(all_told(2)));
    (list.prefix, list.removed) = (Some("a".into()), true);
    let op = cluster.list(list);
    let (entries, _) = cluster.ended(op);
    assert_eq!(shown(&entries), [("a", 0, 2)]);
    assert!(entries[0].removed);
}

#[test]
fn a_damaged_row_is_no_answer_and_others_tell_the_record() {
    let mut cluster = three();
    let b = version("b", 2, Some(20));
    cluster.members[0].disk.damaged.insert(b.id());
    let (entries, listed) = cluster.names();
    assert_eq!(listed, Ok(all_told(3)));
    let found = entries.iter().find(|entry| entry.size == 20).unwrap();
    assert_eq!((found.copies, found.unconfirmed), (1, None));
    // Now nobody can tell.
    cluster.members[2].disk.damaged.insert(b.id());
    let (entries, listed) = cluster.names();
    assert_eq!(shown(&entries), in_order(vec![("a", 10, 3), ("c", 31, 1)]));
    let unreadable = 1;
    let expected = Listed {
        unreadable,
        ..all_told(2)
    };
    assert_eq!(listed, Ok(expected));
}

#[test]
fn where_too_few_replicas_can_tell_an_entry_is_unconfirmed() {
    let mut cluster = three();
    let newest = version("c", 5, Some(32));
    cluster.hold(&[0, 2], &newest);
    cluster.members[0].disk.damaged.insert(newest.id());
    cluster.members[2].disk.damaged.insert(newest.id());
    let (entries, _) = cluster.names();
    let found = entries.iter().find(|entry| entry.size == 31).unwrap();
    assert_eq!(found.unconfirmed, Some(unconfirmed(1)));
}

fn flip(record: &StoredRecord, change: impl Fn(&mut StoredRecord)) -> StoredRecord {
    let mut record = record.clone();
    change(&mut record);
    record
}

#[test]
fn a_forged_row_does_not_count_and_the_next_record_is_taken() {
    let right = version("a", 1, Some(10));
    let newer = version("a", 9, Some(99));
    let signature = |record: &mut StoredRecord| {
        let mut head = record.head.to_vec();
        *head.last_mut().unwrap() ^= 1;
        record.head = head.into();
    };
    let meta = |record: &mut StoredRecord| {
        let mut meta = record.meta.to_vec();
        meta[3] ^= 1;
        record.meta = meta.into();
    };
    for lie in [
        flip(&newer, signature),
        flip(&newer, meta),
        flip(&right, signature),
        flip(&right, meta),
    ] {
        let mut cluster = Cluster::new(3);
        cluster.hold(&[0], &lie);
        cluster.hold(&[1, 2], &right);
        let liar = cluster.members[0].peer.id;
        let (entries, listed) = cluster.names();
        assert_eq!(shown(&entries), [("a", 10, 2)]);
        assert_eq!(entries[0].unconfirmed, None);
        // Of one record told in two ways, the one that more tell is looked at.
        let lied = cluster.host.events.contains(&Event::Lied { peer: liar });
        assert_eq!(lied, lie.id() == newer.id());
        let answered = if lied { 2 } else { 3 };
        let listed = listed.unwrap();
        assert_eq!((listed.answered, listed.unreadable), (answered, 0));
        assert!(!cluster.host.has_closed(cluster.members[0].peer.conn));
    }
}

#[test]
fn what_only_liars_told_of_is_not_shown() {
    let mut cluster = three();
    let mut lie = version("d", 9, Some(99));
    lie.head = [&lie.head[..lie.head.len() - 1], &[0]].concat().into();
    cluster.hold(&[0], &lie);
    let (entries, listed) = cluster.names();
    assert_eq!(entries.len(), 3);
    assert_eq!(listed.unwrap().unreadable, 0);
}

/// What comes of a list in which one member answers with this.
fn answered_with(change: impl Fn(&mut Rows)) -> (Cluster, Vec<Entry>, Listed) {
    let mut cluster = three();
    let op = cluster.list(list_of());
    let frame = cluster.asked(0).remove(0);
    let mut rows = cluster.members[0].page(&frame);
    change(&mut rows);
    cluster.members[0]
        .peer
        .answer(&mut cluster.host, &frame, &rows);
    cluster.members[0].silent = true;
    let (entries, listed) = cluster.ended(op);
    (cluster, entries, listed.unwrap())
}

#[test]
fn a_page_that_is_not_what_was_asked_for_ends_the_session_and_not_the_list() {
    let other = NamespaceSecret::from_bytes([8; 32]).writer();
    let foreign = {
        use peerhold_core::seal::{Content, Draft, Meta, seal_record};
        let version = version("a", 1, Some(0)).version;
        let draft = Draft {
            epoch: 0,
            version,
            put: peerhold_core::PutId([1; 16]),
            floor: peerhold_core::Version::ZERO,
            ext: bytes::Bytes::new(),
        };
        let meta = Meta {
            name: peerhold_core::Name::new("a").unwrap(),
            size: 0,
            modified: None,
            chunk_size: 1,
        };
        let content = Content::Inline(bytes::Bytes::new());
        let sealed = seal_record(&other, draft, &meta, &content).unwrap();
        message::RecordParts::from(&StoredRecord {
            content: bytes::Bytes::new(),
            ..sealed.to_stored()
        })
    };
    type Change = Box<dyn Fn(&mut Rows)>;
    let changes: [(&str, Change); 9] = [
        ("out of order", Box::new(|rows| rows.rows.reverse())),
        (
            "a tag twice",
            Box::new(|rows| rows.rows.insert(0, rows.rows[0].clone())),
        ),
        (
            "another namespace",
            Box::new(move |rows| {
                rows.rows.truncate(1);
                rows.rows[0].record = Some(foreign.clone());
            }),
        ),
        (
            "more without rows",
            Box::new(|rows| (rows.rows, rows.more) = (Vec::new(), true)),
        ),
        (
            "a content",
            Box::new(|rows| {
                let record = rows.rows[0].record.as_mut().unwrap();
                record.content = vec![1].into();
            }),
        ),
        (
            "neither record nor damaged",
            Box::new(|rows| rows.rows[0].record = None),
        ),
        (
            "both",
            Box::new(|rows| {
                let record = version("a", 1, Some(10));
                let (tag, id) = (record.key.tag, record.id());
                rows.rows[0].damaged = Some(DamagedRow { tag, id }.into());
            }),
        ),
        (
            "a meta that is too long",
            Box::new(|rows| {
                let record = rows.rows[0].record.as_mut().unwrap();
                record.meta = vec![1; 2049].into();
            }),
        ),
        (
            "no head",
            Box::new(|rows| rows.rows[0].record.as_mut().unwrap().head = vec![1].into()),
        ),
    ];
    for (what, change) in changes {
        let (mut cluster, entries, listed) = answered_with(change);
        let Cluster { host, members } = &mut cluster;
        let fault = members[0].peer.fault(host);
        assert_eq!(fault, Some(PeerFault::BadMessage), "{what}");
        assert_eq!(entries.len(), 3, "{what}");
        let expected = Listed {
            answered: 2,
            ..all_told(3)
        };
        assert_eq!(listed, expected, "{what}");
    }
    // Left as it is, it is no fault.
    let (cluster, entries, listed) = answered_with(|_| {});
    assert_eq!((entries.len(), listed), (3, all_told(3)));
    drop(cluster);
}

#[test]
fn a_page_over_what_was_asked_for_is_a_fault() {
    let mut cluster = Cluster::new(3);
    for at in 0..400 {
        cluster.hold(&[0, 1, 2], &version(&format!("name {at}"), 1, Some(at)));
    }
    let op = cluster.list(list_of());
    let frame = cluster.asked(0).remove(0);
    let mut list: List = message::decode(&frame.body).unwrap();
    assert_eq!(list.max, message::PAGE_MAX);
    // A row more than there is room for.
    list.max += 500;
    let body = message::encode(&list);
    let rows = cluster.members[0].page(&peerhold_core::wire::frame::Frame {
        body,
        ..frame.clone()
    });
    cluster.members[0]
        .peer
        .answer(&mut cluster.host, &frame, &rows);
    cluster.members[0].silent = true;
    let (entries, listed) = cluster.ended(op);
    assert_eq!((entries.len(), listed.unwrap().answered), (400, 2));
    let Cluster { host, members } = &mut cluster;
    let fault = members[0].peer.fault(host);
    assert_eq!(fault, Some(PeerFault::BadMessage));
}

#[test]
fn a_silent_member_is_waited_for_once_and_then_left_out() {
    let mut cluster = three();
    cluster.members[1].silent = true;
    for member in &mut cluster.members {
        member.rows_max = 1;
    }
    let op = cluster.list(list_of());
    let unanswered = cluster.asked(1);
    assert!(cluster.entries(op).is_empty());
    cluster.host.pass(Duration::from_millis(4900));
    assert!(cluster.entries(op).is_empty());
    cluster.host.pass(Duration::from_millis(200));
    let entries = cluster.entries(op);
    let all = in_order(vec![("a", 10, 2), ("b", 20, 2), ("c", 30, 2)]);
    assert_eq!(shown(&entries), all);
    let (_, listed) = cluster.ended(op);
    // One of three is less than W: every slot still has a quorum.
    let expected = Listed {
        answered: 2,
        ..all_told(3)
    };
    assert_eq!(listed, Ok(expected));
    // Its answer comes too late and changes nothing.
    let [frame] = &unanswered[..] else {
        panic!("{unanswered:?}");
    };
    let Cluster { host, members } = &mut cluster;
    let rows = members[1].page(frame);
    members[1].peer.answer(host, frame, &rows);
    assert!(!host.has_closed(members[1].peer.conn));
}

#[test]
fn with_w_silent_members_all_is_unconfirmed_and_slots_are_unread() {
    let mut cluster = three();
    cluster.members[0].silent = true;
    cluster.members[1].silent = true;
    let (entries, listed) = cluster.names();
    let all = in_order(vec![("a", 10, 1), ("b", 20, 1), ("c", 30, 1)]);
    assert_eq!(shown(&entries), all);
    let unconfirmed = Some(unconfirmed(1));
    assert!(entries.iter().all(|entry| entry.unconfirmed == unconfirmed));
    let expected = Listed {
        answered: 1,
        unread: 65_536,
        ..all_told(3)
    };
    assert_eq!(listed, Ok(expected));
    let op = cluster.history(history_of("a"));
    let (entries, listed) = cluster.ended(op);
    assert_eq!(entries[0].unconfirmed, unconfirmed);
    assert_eq!(listed.unwrap().unread, 1);
}

#[test]
fn a_list_waits_for_members_that_have_no_session_yet() {
    let mut cluster = Cluster::of_connected(3, |_| false);
    for at in 0..3 {
        cluster.hold(&[at], &version("a", 1, Some(10)));
    }
    let op = cluster.list(list_of());
    for (at, wait) in [(0, 3), (1, 1)] {
        assert_eq!(cluster.entries(op).len(), 0);
        cluster.host.pass(Duration::from_secs(wait));
        let Cluster { host, members } = &mut cluster;
        members[at].peer.admit(host);
        members[at].silent = false;
    }
    // With two of three every slot has a quorum.
    let entries = cluster.entries(op);
    assert_eq!(shown(&entries), [("a", 10, 2)]);
    assert_eq!(cluster.ended(op).1.unwrap().answered, 2);
}

#[test]
fn when_nobody_answers_a_list_fails_with_its_numbers() {
    let mut cluster = three();
    for member in &mut cluster.members {
        member.silent = true;
    }
    let (answered, needed) = (0, 2);
    let expected = OpError::Unconfirmed { answered, needed };
    assert_eq!(cluster.names(), (vec![], Err(expected)));
}

#[test]
fn of_many_members_only_the_slots_of_the_silent_ones_are_unread() {
    use peerhold_core::placement::{Candidate, Placement, Slot};
    let mut cluster = Cluster::new(5);
    cluster.members[3].silent = true;
    cluster.members[4].silent = true;
    let ids: Vec<_> = cluster.members.iter().map(|of| of.peer.id).collect();
    let (_, listed) = cluster.names();
    let candidates: Vec<Candidate> = ids
        .iter()
        .map(|node| Candidate {
            node: *node,
            weight: 1,
            zone: 0,
        })
        .collect();
    let mut placement = Placement::new(&candidates, 3, 0);
    let both = |slot: &u16| {
        let replicas = placement.replicas(Slot(*slot));
        replicas.contains(&ids[3]) && replicas.contains(&ids[4])
    };
    let unread = (0..=u16::MAX).filter(both).count() as u32;
    assert!(unread > 10_000 && unread < 30_000);
    let listed = listed.unwrap();
    assert_eq!((listed.answered, listed.unread), (3, unread));
}

#[test]
fn a_member_that_is_lost_between_pages_counts_for_what_it_told() {
    let mut cluster = three();
    for member in &mut cluster.members {
        member.rows_max = 1;
    }
    let op = cluster.list(list_of());
    cluster.serve();
    let first = cluster.host.node.poll_entry(op).unwrap();
    cluster.members[1].peer.reset(&mut cluster.host);
    cluster.members[1].silent = true;
    let (rest, listed) = cluster.ended(op);
    assert_eq!(rest.len(), 2);
    assert_eq!(listed.unwrap().answered, 2);
    let told = |entry: &Entry| entry.copies;
    let whole = three().names().0;
    assert_eq!(told(&first), told(&whole[0]));
}

#[test]
fn a_member_that_comes_back_in_time_goes_on_where_it_was() {
    let mut cluster = three();
    for member in &mut cluster.members {
        member.rows_max = 1;
    }
    let op = cluster.list(list_of());
    cluster.serve();
    let mut entries = vec![cluster.host.node.poll_entry(op).unwrap()];
    // With two of three lost the list waits for them.
    for at in [1, 2] {
        cluster.members[at].peer.reset(&mut cluster.host);
    }
    assert_eq!(cluster.serve(), 1);
    assert_eq!(cluster.host.node.poll_entry(op), None);
    for at in [1, 2] {
        let id = cluster.members[at].peer.id;
        cluster.members[at].peer = Peer::admitted(&mut cluster.host, id);
    }
    let (rest, listed) = cluster.ended(op);
    entries.extend(rest);
    assert_eq!((entries, listed), three().names());
}

#[test]
fn a_caller_that_takes_nothing_is_asked_for_no_more_than_its_share() {
    let mut cluster = Cluster::new(3);
    let count = 1200;
    for at in 0..count {
        cluster.hold(&[0, 1, 2], &version(&format!("name {at}"), 1, Some(at)));
    }
    let op = cluster.list(list_of());
    let (mut pages, mut last) = (0, 0);
    for _ in 0..20 {
        last = cluster.serve();
        pages += last;
        cluster.host.pass(Duration::from_secs(2));
    }
    // All that is here fits into what every operation is sure of.
    let most = BLOB_MAX / message::PAGE_MAX as usize;
    assert!((3..=most).contains(&pages) && last == 0, "{pages} pages");
    assert_eq!(cluster.host.result(op), None);
    assert!(cluster.host.events.contains(&Event::Readable { op }));
    let (entries, listed) = cluster.ended(op);
    assert_eq!((entries.len(), listed), (count, Ok(all_told(count as u64))));
    let bytes = count as u64;
    assert!(cluster.host.events.contains(&Event::Progress { op, bytes }));
    assert_eq!(cluster.host.memory(), 0);
}

#[test]
fn lists_of_many_members_share_memory_and_wait_for_it() {
    let mut cluster = Cluster::new(130);
    let holders: Vec<usize> = (0..130).step_by(2).collect();
    cluster.hold(&holders, &version("a", 1, Some(10)));
    let ops = [(); 3].map(|()| cluster.list(list_of()));
    // Each takes a blob's room beside its own, and there are two.
    assert_eq!(cluster.host.memory(), 2 * BLOB_MAX);
    assert_eq!(cluster.asked(0).len(), 2);
    cluster.host.node.cancel(cluster.host.now, ops[0]);
    assert_eq!(cluster.asked(0).len(), 1);
    assert_eq!(cluster.host.memory(), 2 * BLOB_MAX);
    // Who was asked before this looked is silent now.
    let (entries, listed) = cluster.ended(ops[1]);
    let listed = listed.unwrap();
    assert_eq!((entries.len(), listed.answered), (1, 129));
    assert_eq!(cluster.ended(ops[2]).0.len(), 1);
    assert_eq!(cluster.host.memory(), 0);
}

#[test]
fn memory_must_hold_a_list_of_as_many_members_as_there_may_be() {
    use peerhold_core::{ConfigError, Instant, Node};
    let mut config = config(ME);
    for (members, blocks) in [(1, 2), (369, 2), (739, 5), (1000, 8)] {
        config.limits.members = members;
        let needed = (config.limits.operations as usize + 4 * blocks) * BLOB_MAX;
        config.limits.memory = needed - 1;
        let refused = Node::new(config.clone(), [1; 32], Instant::ZERO).unwrap_err();
        let memory = needed - 1;
        assert_eq!(refused, ConfigError::LittleMemory { memory, needed });
        config.limits.memory = needed;
        assert!(Node::new(config.clone(), [1; 32], Instant::ZERO).is_ok());
    }
}

#[test]
fn a_list_that_is_cancelled_leaves_nothing_behind() {
    for step in 0..3 {
        let mut cluster = three();
        let op = cluster.list(list_of());
        if step > 0 {
            cluster.serve();
        }
        if step > 1 {
            assert!(cluster.host.node.poll_entry(op).is_some());
        }
        cluster.host.node.cancel(cluster.host.now, op);
        let expected = OpError::Cancelled { unknown: false };
        assert_eq!(cluster.host.result(op), Some(Err(expected)));
        assert_eq!(cluster.host.node.poll_entry(op), None);
        cluster.serve();
        let status = cluster.host.node.status();
        assert_eq!((status.operations, status.memory), (0, 0));
        assert_eq!(status.peers.len(), 3);
    }
}

#[test]
fn a_key_that_opens_nothing_is_an_error_and_no_empty_list() {
    let mut cluster = three();
    let mut list = list_of();
    let right = crate::host::writer();
    let mut bytes = right.read_key().to_bytes();
    bytes[63] ^= 1;
    list.reader = peerhold_core::ReadKey::from_bytes(&bytes).reader();
    let op = cluster.list(list);
    let (entries, listed) = cluster.ended(op);
    assert!(entries.is_empty());
    assert!(matches!(listed, Err(OpError::Unreadable(_))), "{listed:?}");
}

#[test]
fn a_history_has_every_version_newest_first_with_forks_and_removals() {
    let mut cluster = Cluster::new(3);
    let mut all = Vec::new();
    for at in 1..=300 {
        let size = (at % 10 != 0).then_some(at as usize);
        all.push((version("a", at, size), 3));
    }
    all.push((version("a", 7, Some(1000)), 1));
    all.sort_by_key(|(record, _)| std::cmp::Reverse(record.id()));
    for (record, copies) in &all {
        cluster.hold(&[1, 0, 2][..*copies], record);
    }
    cluster.hold(&[0, 1, 2], &version("b", 3, Some(3)));
    cluster.members[2].rows_max = 7;
    let op = cluster.history(history_of("a"));
    let (entries, listed) = cluster.ended(op);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.id, usize::from(entry.copies)))
        .collect();
    let expected: Vec<_> = all.iter().map(|(record, n)| (record.id(), *n)).collect();
    assert_eq!(told, expected);
    assert_eq!(listed, Ok(all_told(301)));
    assert_eq!(entries.iter().filter(|entry| entry.removed).count(), 30);
    let fork = entries.iter().filter(|entry| entry.put.0 == [7; 16]);
    // The put id of a test's record is the low byte of its time.
    assert_eq!(fork.count(), 3);
    // From the middle on.
    let mut history = history_of("a");
    history.below = Some(entries[200].id);
    let op = cluster.history(history);
    assert_eq!(cluster.ended(op).0, entries[201..]);
}

#[test]
fn a_damaged_version_is_shown_by_those_who_can_read_it() {
    let mut cluster = Cluster::new(3);
    let records = [1, 2, 3].map(|at| version("a", at, Some(at as usize)));
    for record in &records {
        cluster.hold(&[0, 1, 2], record);
    }
    for at in 0..3 {
        cluster.members[at].disk.damaged.insert(records[2].id());
    }
    cluster.members[0].disk.damaged.insert(records[1].id());
    let op = cluster.history(history_of("a"));
    let (entries, listed) = cluster.ended(op);
    assert_eq!(shown(&entries), [("a", 2, 2), ("a", 1, 3)]);
    assert_eq!(listed.unwrap().unreadable, 1);
}

#[test]
fn an_own_store_takes_part_and_one_that_fails_is_left_out() {
    for fails in [false, true] {
        let members = [1, 2].map(crate::fake_peer::id);
        let mut host = Host::founded(config(ME), &members);
        let own = version("a", 1, Some(10));
        host.disk.records.insert(own.key, vec![own]);
        if fails {
            host.fault = Some(Box::new(|_| Some(peerhold_core::disk::DiskError::Corrupt)));
        }
        let mut peers = members.map(|id| Peer::admitted(&mut host, id));
        let op = host.node.list(host.now, list_of()).unwrap();
        for peer in &mut peers {
            for frame in peer.asked(&mut host, kind::LIST) {
                let (rows, more) = (Vec::new(), false);
                peer.answer(&mut host, &frame, &Rows { rows, more });
            }
        }
        assert_eq!(host.node.poll_entry(op).is_some(), !fails);
        let listed = Listed {
            answered: if fails { 2 } else { 3 },
            ..all_told(u64::from(!fails))
        };
        let outcome = peerhold_core::Outcome::Listed(listed);
        assert_eq!(host.result(op), Some(Ok(outcome)));
    }
}

#[test]
fn members_tell_pages_and_those_who_hold_nothing_refuse() {
    let record = version("a", 1, Some(10));
    let list = List {
        namespace: record.key.namespace,
        after: None,
        max: u32::MAX,
    };
    let history = History {
        key: record.key,
        below: None,
        max: 0,
    };
    let mut host = Host::new(config(ME));
    host.disk.records.insert(record.key, vec![record.clone()]);
    let mut peer = Peer::admitted(&mut host, crate::fake_peer::id(1));
    peer.received(&mut host);
    peer.ask(&mut host, kind::LIST, &list);
    peer.ask(&mut host, kind::HISTORY, &history);
    let mut parts = message::RecordParts::from(&record);
    parts.content = Vec::new().into();
    let (row, damaged) = (Some(parts), None);
    let rows = [RowParts {
        record: row,
        damaged,
    }]
    .into();
    for (frame, of) in peer
        .received(&mut host)
        .iter()
        .zip([kind::LIST, kind::HISTORY])
    {
        assert_eq!(frame.kind, of);
        let more = false;
        let expected = Rows {
            rows: Clone::clone(&rows),
            more,
        };
        assert_eq!(message::decode::<Rows>(&frame.body), Ok(expected));
    }
    let mut client = config(ME);
    client.weight = 0;
    let starting = Host::loading(config(ME), None);
    for (mut host, expected) in [
        (Host::new(client), Refusal::NotStoring),
        (starting, Refusal::Busy),
    ] {
        let mut peer = Peer::admitted(&mut host, crate::fake_peer::id(1));
        peer.received(&mut host);
        peer.ask(&mut host, kind::LIST, &list);
        peer.ask(&mut host, kind::HISTORY, &history);
        for frame in peer.received(&mut host) {
            let Refused { reason } = message::decode(&frame.body).unwrap();
            assert_eq!(reason, expected);
        }
    }
}

#[test]
fn a_get_is_not_a_listing() {
    let mut cluster = three();
    let op = cluster
        .host
        .node
        .get(cluster.host.now, get_of("a"))
        .unwrap();
    assert_eq!(cluster.host.node.poll_entry(op), None);
    let op = cluster.list(list_of());
    cluster.serve();
    assert_eq!(cluster.host.node.poll_data(op, 100), None);
}

/// One replica of two has told, and holds so many copies.
fn unconfirmed(copies: u8) -> Unconfirmed {
    Unconfirmed {
        answered: 1,
        needed: 2,
        copies,
        durable: 2,
    }
}
