//! What three nodes do over real sockets and disks, done again.

use std::fs;
use std::path::PathBuf;

use super::cluster::{Member, bytes, cluster, name, read, start_in, stop_all, writer};
use futures_lite::future::zip;
use peerhold_smol::peerhold_core::tape::{End, Replayed, replay};
use smol::io::AsyncReadExt;
use tempfile::TempDir;

/// Rounds before, while and after one node is away.
const ROUNDS: [usize; 3] = [40, 20, 40];
/// Operations of one round, see [`round`].
const PER_ROUND: usize = 10;

#[test]
fn a_thousand_operations_replay_byte_for_byte_on_every_node() {
    let dir = TempDir::new().unwrap();
    let tape = |which: &str| dir.path().join(which);
    smol::block_on(async {
        let mut members = cluster(3, |index, config| {
            config.tape = Some(tape(&index.to_string()));
        })
        .await;
        rounds(&members, 0, ROUNDS[0]).await;

        let bootstrap = members[0].handle.addrs()[0].to_string().into();
        let data = members.pop().unwrap().stop().await;
        rounds(&members, ROUNDS[0], ROUNDS[1]).await;

        let again = start_in(data, |config| {
            config.node.replicas = 3;
            config.node.durable = 2;
            config.node.bootstrap = vec![bootstrap];
            config.tape = Some(tape("2 again"));
        });
        members.push(again);
        for member in &members {
            member.handle.wait_for(3, 2).await.unwrap();
        }
        rounds(&members, ROUNDS[0] + ROUNDS[1], ROUNDS[2]).await;
        stop_all(members).await;
    });

    let replayed: Vec<Replayed> = ["0", "1", "2", "2 again"]
        .map(|which| of(tape(which)))
        .into();
    let operations: u64 = replayed.iter().map(|replayed| replayed.operations).sum();
    assert_eq!(
        operations as usize,
        ROUNDS.iter().sum::<usize>() * PER_ROUND
    );
    for replayed in &replayed {
        assert_eq!(replayed.end, End::Whole);
        let moved = [replayed.received, replayed.sent, replayed.put, replayed.got];
        assert!(moved.iter().all(|bytes| *bytes > 1 << 20), "{replayed:?}");
    }
    assert_eq!(replayed[2].node, replayed[3].node);
}

fn of(tape: PathBuf) -> Replayed {
    replay(&fs::read(tape).unwrap()).unwrap()
}

/// Four rounds at once, until there were so many.
async fn rounds(members: &[Member], from: usize, count: usize) {
    let every_fourth = async |first: usize| {
        for number in (first..from + count).step_by(4) {
            round(members, number).await;
        }
    };
    zip(
        zip(every_fourth(from), every_fourth(from + 1)),
        zip(every_fourth(from + 2), every_fourth(from + 3)),
    )
    .await;
}

/// Puts files of several sizes, reads them whole and in part elsewhere, and
/// removes one.
async fn round(members: &[Member], number: usize) {
    let here = &members[number % members.len()].handle;
    let there = &members[(number + 1) % members.len()].handle;
    let (writer, named) = (writer(), |size: usize| name(&format!("{number} of {size}")));
    let last = if number.is_multiple_of(10) {
        2_500_000
    } else {
        16_384
    };
    let sizes = [number, 20_000, 100_000, last];
    for size in sizes {
        let data = bytes(size, number as u64);
        here.put(&writer, &named(size), &data[..]).await.unwrap();
    }
    for size in [number, last] {
        assert!(read(there, &named(size)).await == bytes(size, number as u64));
    }
    for (size, start) in [(20_000, 19_999), (100_000, 70_000)] {
        let (name, range) = (named(size), start..start + 20_000);
        let file = there.get_range(writer.reader(), &name, range).await;
        let mut part = Vec::new();
        file.unwrap().read_to_end(&mut part).await.unwrap();
        let whole = bytes(size, number as u64);
        assert!(part == whole[start as usize..size.min(start as usize + 20_000)]);
    }
    here.remove(&writer, &named(20_000)).unwrap().await.unwrap();
    let gone = there.get(writer.reader(), &named(20_000)).await;
    assert!(gone.is_err());
}
