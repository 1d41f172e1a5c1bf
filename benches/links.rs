//! What the secure channel costs a transfer: a file put to another node and
//! got back, with secure channels and without, in turns in one run.
//!
//! A client that holds nothing and one storing member, each driver on a thread
//! of its own as on two machines, so every byte crosses the one link between
//! them once each way. The member keeps its data below `TMPDIR`: where that is
//! slow, the put measures the disk. CPU seconds are those of the whole
//! process, both ends of the link together, and are known on Linux only.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use peerhold_benches::{KIB, MIB, cpu_seconds, median, noise, writer};
use peerhold_core::{Bootstrap, ClusterKey, Name, Put};
use peerhold_smol::{Handle, HostConfig};

const GIB: usize = 1 << 30;
/// The file is given in pieces of this size.
const PIECE: usize = 256 * KIB;
/// How long a node may take to end.
const END: Duration = Duration::from_secs(10);

/// Of one way, for the whole file.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    cpu: f64,
}

/// There and back.
type Round = [Cost; 2];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test` runs benches with this, once and for their correctness.
    let test = std::env::args().any(|arg| arg == "--test");
    let (size, rounds) = if test { (8 * MIB, 1) } else { (GIB, 5) };
    let (mut plain, mut secure): (Vec<Round>, Vec<Round>) = Default::default();
    for _ in 0..rounds {
        plain.push(round(size, true)?);
        secure.push(round(size, false)?);
    }
    println!(
        "{} MiB over one link, median of {rounds} rounds",
        size / MIB
    );
    for (way, name) in ["put", "get"].into_iter().enumerate() {
        let gib = size as f64 / GIB as f64;
        let middle = |of: &[Round], value: fn(&Cost) -> f64| {
            median(of.iter().map(|round| value(&round[way])))
        };
        let mut both = [&plain, &secure].map(|of| {
            let seconds = middle(of, |cost| cost.seconds);
            let cpu = middle(of, |cost| cost.cpu) / gib;
            (gib * 1024.0 / seconds, cpu)
        });
        let [plain_way, secure_way] = &mut both;
        println!(
            "{name}  plain {:6.0} MiB/s  {:5.2} CPU s/GiB   secure {:6.0} MiB/s  {:5.2} CPU s/GiB",
            plain_way.0, plain_way.1, secure_way.0, secure_way.1
        );
        let pairs = plain.iter().zip(&secure);
        let ratio = pairs.map(|(plain, secure)| plain[way].seconds / secure[way].seconds);
        println!(
            "{name}  secure / plain throughput, round by round: {:.2}; the channel: {:+.2} CPU s/GiB",
            median(ratio),
            secure_way.1 - plain_way.1
        );
    }
    Ok(())
}

struct Node {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Node {
    fn start(config: HostConfig) -> Result<Self, Box<dyn Error>> {
        let (handle, driver) = peerhold_smol::open(config)?;
        let thread = thread::spawn(|| smol::block_on(driver));
        Ok(Self { handle, thread })
    }

    fn end(self) {
        smol::block_on(self.handle.shutdown(END));
        self.thread.join().expect("a driver does not panic");
    }
}

/// A new cluster of a member and a client, and what a file through it costs.
fn round(size: usize, insecure: bool) -> Result<Round, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let config = |name: &str| -> Result<HostConfig, Box<dyn Error>> {
        let key = ClusterKey::from_bytes([9; 32]);
        let mut config = HostConfig::new(dir.path().join(name), key)?;
        (config.node.replicas, config.node.durable) = (1, 1);
        config.insecure = insecure;
        Ok(config)
    };
    let mut member = config("member")?;
    member.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    let member = Node::start(member)?;
    let mut client = config("client")?;
    client.node.weight = 0;
    client.node.bootstrap = vec![Bootstrap::from(member.handle.addrs()[0].to_string())];
    let client = Node::start(client)?;
    let round = smol::block_on(async {
        client.handle.wait_for(1, 1).await?;
        let there = cost(put(&client.handle, size)).await?;
        let back = cost(get(&client.handle, size)).await?;
        Ok([there, back])
    });
    client.end();
    member.end();
    round
}

async fn put(handle: &Handle, size: usize) -> Result<(), Box<dyn Error>> {
    let mut put = handle.put_writer(Put {
        writer: writer(),
        name: Name::new("file")?,
        modified: None,
    })?;
    let pattern = noise(PIECE);
    for number in 0..size / PIECE {
        let mut piece = BytesMut::from(&pattern[..]);
        // No two chunks are equal, or one of them would not be moved.
        piece[..8].copy_from_slice(&number.to_be_bytes());
        put.push(Bytes::from(piece)).await?;
    }
    put.finish().await?;
    Ok(())
}

async fn get(handle: &Handle, size: usize) -> Result<(), Box<dyn Error>> {
    let mut get = handle.get(writer().reader(), &Name::new("file")?).await?;
    let mut len = 0;
    while let Some(bytes) = get.next_bytes().await? {
        len += bytes.len();
    }
    assert_eq!(len, size, "all of it comes back");
    Ok(())
}

async fn cost(
    work: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> Result<Cost, Box<dyn Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds("self"));
    work.await?;
    Ok(Cost {
        seconds: start.elapsed().as_secs_f64(),
        cpu: cpu_seconds("self") - cpu,
    })
}
