//! Whole clusters of which some or all are set back, and puts that nobody has
//! finished: what was read once is read ever after.

mod support;

use std::time::Duration;

use peerhold_core::{Event, Get, Name, OpError, Outcome, RecordId, Writer};
use peerhold_sim::disk::Image;
use peerhold_sim::{Cluster, Plan};
use quickcheck::QuickCheck;
use support::cluster;

/// Three replicas and a client, the last one.
fn with_client(seed: u64) -> Cluster {
    let mut plan = Plan::new(4, seed);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    cluster.run_for(Duration::from_secs(1));
    cluster
}

fn read(cluster: &mut Cluster, at: usize, get: Get) -> Result<Vec<u8>, OpError> {
    let task = cluster.begin_get(at, get);
    let finished = cluster.finish(task);
    finished
        .result
        .expect("it has ended")
        .map(|_| finished.bytes)
}

fn newest(writer: &Writer) -> Get {
    Get::newest(writer.reader(), &Name::new("name").unwrap())
}

/// The replicas get the disks that they had when `images` were taken.
fn set_back(cluster: &mut Cluster, images: &[Image]) {
    for (at, image) in images.iter().enumerate() {
        cluster.kill(at);
        cluster.replace_disk(at, image.clone());
    }
    (0..images.len()).for_each(|at| cluster.start(at));
    cluster.run_for(Duration::from_secs(5));
}

#[test]
fn a_cluster_that_was_set_back_as_a_whole_is_noticed_by_who_has_read_more() {
    for restart in [false, true] {
        let mut cluster = with_client(1);
        let writer = cluster.namespace();
        cluster.put(0, &writer, "name", b"first").unwrap();
        cluster.run_for(Duration::from_secs(5));
        let images: Vec<_> = (0..3).map(|at| cluster.disk(at).image()).collect();
        let second = cluster.put(1, &writer, "name", b"second").unwrap();
        assert_eq!(read(&mut cluster, 3, newest(&writer)).unwrap(), b"second");
        cluster.run_for(Duration::from_secs(5));
        if restart {
            cluster.kill(3);
            cluster.start(3);
        }
        set_back(&mut cluster, &images);
        match read(&mut cluster, 3, newest(&writer)) {
            Err(OpError::Older { found, seen }) => {
                assert!(seen.version == second.version && found < Some(seen));
            }
            other => panic!("{other:?}"),
        }
        // The replicas themselves have forgotten, and cannot know.
        assert_eq!(read(&mut cluster, 0, newest(&writer)).unwrap(), b"first");
        let accept = Get {
            older: true,
            ..newest(&writer)
        };
        assert_eq!(read(&mut cluster, 3, accept).unwrap(), b"first");
        // A new version goes above both, and all is well.
        let third = cluster.put(3, &writer, "name", b"third").unwrap();
        assert!(third.version > second.version);
        for at in 0..4 {
            assert_eq!(read(&mut cluster, at, newest(&writer)).unwrap(), b"third");
        }
    }
}

#[test]
fn one_replica_that_was_set_back_is_brought_up_again_and_nobody_notices() {
    let mut cluster = cluster(2);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"first").unwrap();
    cluster.run_for(Duration::from_secs(5));
    let image = [cluster.disk(0).image()];
    cluster.put(1, &writer, "name", b"second").unwrap();
    cluster.run_for(Duration::from_secs(5));
    set_back(&mut cluster, &image);
    for at in 0..3 {
        let (file, bytes) = cluster.get(at, writer.reader(), "name").unwrap();
        assert_eq!(
            (bytes.as_slice(), file.unconfirmed),
            (b"second".as_slice(), None)
        );
    }
    let forked = |(_, event): &(usize, Event)| matches!(event, Event::Forked(_));
    assert!(!cluster.take_events().iter().any(forked));
}

/// A cluster in which a second put reached the writer's own store alone, then
/// all were killed.
fn with_unfinished_put(seed: u64) -> (Cluster, Writer) {
    let mut cluster = cluster(seed);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"first").unwrap();
    cluster.run_for(Duration::from_secs(5));
    cluster.begin_put(0, &writer, "name", b"second".as_slice().into());
    while cluster.held(0, writer.reader(), "name").len() < 2 {
        assert!(cluster.step());
    }
    (0..3).for_each(|at| cluster.kill(at));
    (0..3).for_each(|at| cluster.start(at));
    for at in 1..3 {
        assert_eq!(cluster.held(at, writer.reader(), "name").len(), 1);
    }
    cluster.run_for(Duration::from_secs(5));
    (cluster, writer)
}

#[test]
fn an_unfinished_put_that_was_read_once_is_read_ever_after() {
    let (mut cluster, writer) = with_unfinished_put(3);
    cluster.kill(1);
    let (file, bytes) = cluster.get(2, writer.reader(), "name").unwrap();
    assert_eq!(
        (bytes.as_slice(), file.unconfirmed),
        (b"second".as_slice(), None)
    );
    // Its writer's store is gone for good, and who did not hear of it is back.
    cluster.kill(0);
    cluster.start(1);
    cluster.run_for(Duration::from_secs(5));
    for at in 1..3 {
        let (file, bytes) = cluster.get(at, writer.reader(), "name").unwrap();
        assert_eq!(
            (bytes.as_slice(), file.unconfirmed),
            (b"second".as_slice(), None)
        );
    }
}

#[test]
fn reads_one_after_the_other_never_go_back_whoever_is_away() {
    fn property(steps: u8, rounds: Vec<(u8, u8)>) -> bool {
        let mut cluster = cluster(4 + u64::from(steps));
        let writer = cluster.namespace();
        cluster.put(0, &writer, "name", b"first").unwrap();
        cluster.run_for(Duration::from_secs(5));
        cluster.begin_put(0, &writer, "name", b"second".as_slice().into());
        (0..steps).all(|_| cluster.step());
        (0..3).for_each(|at| cluster.kill(at));
        (0..3).for_each(|at| cluster.start(at));
        let mut last: Option<RecordId> = None;
        for (away, reader) in rounds.into_iter().take(6) {
            let away = usize::from(away % 3);
            let reader = (away + 1 + usize::from(reader % 2)) % 3;
            cluster.run_for(Duration::from_secs(5));
            cluster.kill(away);
            let (file, _) = cluster.get(reader, writer.reader(), "name").unwrap();
            if file.unconfirmed.is_some() || Some(file.id) < last {
                return false;
            }
            last = Some(file.id);
            cluster.start(away);
        }
        true
    }
    QuickCheck::new()
        .tests(20)
        .quickcheck(property as fn(u8, Vec<(u8, u8)>) -> bool);
}

#[test]
fn a_stranger_with_a_capability_reads_that_version_and_nothing_else() {
    let mut cluster = with_client(5);
    let writer = cluster.namespace();
    let (big, other) = (support::noise(3 << 20), support::noise(3 << 19));
    cluster.put(0, &writer, "name", &big).unwrap();
    let (file, _) = cluster.get(1, writer.reader(), "name").unwrap();
    let text = file.share(writer.reader()).unwrap().to_text();
    let shared: peerhold_core::FileCapability = text.parse().unwrap();
    cluster.put(0, &writer, "name", &other).unwrap();
    cluster.put(0, &writer, "small", b"in its record").unwrap();
    let (newer, _) = cluster.get(1, writer.reader(), "name").unwrap();
    let (small, _) = cluster.get(1, writer.reader(), "small").unwrap();

    assert!(read(&mut cluster, 3, Get::shared(&shared)).unwrap() == big);
    let part = Get {
        range: Some(1_500_000..2_500_000),
        ..Get::shared(&shared)
    };
    assert!(read(&mut cluster, 3, part).unwrap() == big[1_500_000..2_500_000]);
    let task = cluster.begin_get(3, Get::shared(&shared));
    match cluster.finish(task).result {
        Some(Ok(Outcome::Read(read))) => {
            assert_eq!(
                (read.name.as_str(), read.id, read.key),
                ("name", file.id, file.key)
            );
        }
        result => panic!("{result:?}"),
    }

    // Its key opens no other version and no other file, though their ids are known.
    for target in [&newer, &small] {
        let mut bytes = *target.share(writer.reader()).unwrap().to_bytes();
        bytes[112..].copy_from_slice(&shared.to_bytes()[112..]);
        let forged = peerhold_core::FileCapability::from_bytes(&bytes);
        let result = read(&mut cluster, 3, Get::shared(&forged));
        assert!(matches!(result, Err(OpError::Unreadable(_))), "{result:?}");
    }
    // Of a small file the capability is as good.
    let small = small.share(writer.reader()).unwrap();
    assert_eq!(
        read(&mut cluster, 3, Get::shared(&small)).unwrap(),
        b"in its record"
    );
    assert!(read(&mut cluster, 3, Get::shared(&shared)).unwrap() == big);
}

#[test]
fn a_capability_outlives_the_removal_of_its_file() {
    let mut cluster = with_client(6);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"content").unwrap();
    let (file, _) = cluster.get(1, writer.reader(), "name").unwrap();
    let shared = file.share(writer.reader()).unwrap();
    cluster.remove(0, &writer, "name").unwrap();
    assert_eq!(
        read(&mut cluster, 3, Get::shared(&shared)).unwrap(),
        b"content"
    );
    assert_eq!(
        read(&mut cluster, 3, newest(&writer)),
        Err(OpError::NotFound)
    );
}
