//! Simulated nodes can be recorded, through crashes too.

use peerhold_core::tape::{End, replay};
use peerhold_sim::{Cluster, Plan};

#[test]
fn every_life_of_every_machine_replays() {
    let mut cluster = Cluster::new(Plan {
        record: true,
        ..Plan::new(3, 11)
    });
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(3_000_000));
    let put = cluster.begin_put(0, &writer, "large", data.clone().into());
    // In the middle of it.
    for _ in 0..200 {
        cluster.step();
    }
    cluster.kill(2);
    assert!(cluster.finish(put).result.unwrap().is_ok());
    cluster.start(2);
    assert!(cluster.run_until_active());
    assert!(cluster.get(2, writer.reader(), "large").unwrap().1 == data);
    cluster.remove(1, &writer, "large").unwrap();

    let lives = [1, 1, 2];
    for (at, lives) in lives.into_iter().enumerate() {
        let node = cluster.id(at);
        let tapes = cluster.tapes(at);
        assert_eq!(tapes.len(), lives);
        for tape in tapes {
            let replayed = replay(tape).unwrap();
            assert_eq!((replayed.node, replayed.end), (node, End::Open));
            assert!(replayed.received > 0);
        }
    }
}

#[test]
fn recording_changes_nothing() {
    let run = |record| {
        let mut cluster = Cluster::new(Plan {
            record,
            ..Plan::new(3, 12)
        });
        assert!(cluster.run_until_active());
        let writer = cluster.namespace();
        cluster.put(0, &writer, "file", &noise(200_000)).unwrap();
        (cluster.trace(), cluster.tapes(0).len())
    };
    let ((plain, none), (recorded, one)) = (run(false), run(true));
    assert_eq!((plain, none, one), (recorded, 0, 1));
}

/// Bytes that repeat nowhere near.
fn noise(len: usize) -> Vec<u8> {
    let byte = |at: u32| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8;
    (0..len as u32).map(byte).collect()
}
