//! A node in a process of its own, on any driver.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use peerhold_benches::{KIB, MIB, noise, writer as namespace};
use peerhold_core::{Bootstrap, ClusterKey, Forget, Get, Name, Put};
use peerhold_host::{Client, HostConfig};

use crate::kind::{Kind, open};
use crate::process::{tell, tell_usage, wait_for_end};
use crate::{IN_FLIGHT, SMALL};

/// The large file is given in pieces of this size.
const PIECE: usize = 256 * KIB;
/// How long a node may take to end.
const END: Duration = Duration::from_secs(20);

/// A node that runs, on a thread that does nothing else.
struct Node {
    client: Client,
    addr: SocketAddr,
    thread: JoinHandle<()>,
}

impl Node {
    fn start(kind: Kind, dir: &str, others: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut config = HostConfig::new(dir, ClusterKey::from_bytes([9; 32]))?;
        config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        config.node.bootstrap = others.iter().map(|addr| Bootstrap::from(*addr)).collect();
        let (client, addrs, thread) = open(kind, config)?;
        Ok(Self {
            client,
            addr: addrs[0],
            thread,
        })
    }

    fn end(self) -> Result<(), Box<dyn Error>> {
        self.client.blocking().shutdown(END)?;
        self.thread.join().expect("a driver does not panic");
        tell_usage();
        Ok(())
    }
}

/// `DIR [ADDR..]`: a node that is there until its process is to end.
pub(crate) fn peer(kind: Kind, args: &[&str]) -> Result<(), Box<dyn Error>> {
    let (dir, others) = args.split_first().ok_or("a peer has a folder")?;
    let node = Node::start(kind, dir, others)?;
    tell("listens", node.addr);
    wait_for_end();
    node.end()
}

/// `DIR ADDR ADDR LARGE SMALL`, or `idle` instead of the last two: a node that
/// does the work.
pub(crate) fn writer(kind: Kind, args: &[&str]) -> Result<(), Box<dyn Error>> {
    let (dir, others, work) = match args {
        [dir, first, second, work @ ..] => (dir, [*first, *second], work),
        _ => return Err("a writer has a folder and two peers".into()),
    };
    let node = Node::start(kind, dir, &others)?;
    let ready = |status: &peerhold_core::Status| status.active() >= 3 && status.peers.len() >= 2;
    node.client.blocking().wait_until(ready)?;
    match work {
        ["idle"] => tell("ready", ""),
        [size, count] => {
            large(&node.client, size.parse()?)?;
            for in_flight in IN_FLIGHT {
                small(&node.client, in_flight, count.parse()?)?;
            }
            tell("done", "");
        }
        _ => return Err("a writer has work to do".into()),
    }
    wait_for_end();
    node.end()
}

fn large(client: &Client, size: usize) -> Result<(), Box<dyn Error>> {
    let blocking = client.blocking();
    let mib_per_second = |since: Instant| (size / MIB) as f64 / since.elapsed().as_secs_f64();
    let name = Name::new("large")?;
    let pattern = noise(PIECE);
    let begun = Instant::now();
    let mut put = blocking.put(Put {
        writer: namespace(),
        name: name.clone(),
        modified: None,
    })?;
    for number in 0..size / PIECE {
        let mut piece = BytesMut::from(&pattern[..]);
        // No two chunks are equal, or one of them would not be moved.
        piece[..8].copy_from_slice(&number.to_be_bytes());
        put.push(piece.freeze())?;
    }
    put.finish()?;
    put.settled()?;
    tell("large put, MiB/s", mib_per_second(begun));
    let reader = namespace().reader().clone();
    let begun = Instant::now();
    blocking.forget(Forget {
        reader: reader.clone(),
        name: name.clone(),
    })?;
    tell("forgetting its copies, MiB/s", mib_per_second(begun));
    let begun = Instant::now();
    let mut get = blocking.get(Get::newest(&reader, &name))?;
    let mut len = 0;
    while let Some(bytes) = get.next_bytes()? {
        len += bytes.len();
    }
    assert_eq!(len, size, "all of it comes back");
    tell("large get, MiB/s", mib_per_second(begun));
    Ok(())
}

fn small(client: &Client, in_flight: usize, each: usize) -> Result<(), Box<dyn Error>> {
    let data = Bytes::from(noise(SMALL));
    let name = |task: usize, number: usize| Name::new(&format!("{in_flight}/{task}/{number}"));
    let put = async |task, number| -> Result<(), Box<dyn Error>> {
        let put = Put {
            writer: namespace(),
            name: name(task, number)?,
            modified: None,
        };
        client.put_bytes(put, data.clone()).await?;
        Ok(())
    };
    tell(
        &format!("small puts, {in_flight:>2} in flight, 1/s"),
        rate(in_flight, each, put)?,
    );
    let reader = namespace().reader().clone();
    let get = async |task, number| -> Result<(), Box<dyn Error>> {
        let get = Get::newest(&reader, &name(task, number)?);
        let (_, bytes) = client.get_bytes(get, SMALL).await?;
        assert_eq!(bytes, data, "it comes back");
        Ok(())
    };
    tell(
        &format!("small gets, {in_flight:>2} in flight, 1/s"),
        rate(in_flight, each, get)?,
    );
    Ok(())
}

/// Operations per second with so many tasks that each do so many, one after
/// another.
fn rate(
    tasks: usize,
    each: usize,
    work: impl AsyncFn(usize, usize) -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let executor = smol::LocalExecutor::new();
    let begun = Instant::now();
    let work = &work;
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            executor.spawn(async move {
                for number in 0..each {
                    work(task, number).await?;
                }
                Ok::<(), Box<dyn Error>>(())
            })
        })
        .collect();
    // A thread that only waits: one of a runtime would take part in a driver's
    // work on it, or take it away.
    smol::future::block_on(executor.run(async {
        for task in running {
            task.await?;
        }
        Ok::<(), Box<dyn Error>>(())
    }))?;
    Ok((tasks * each) as f64 / begun.elapsed().as_secs_f64())
}
