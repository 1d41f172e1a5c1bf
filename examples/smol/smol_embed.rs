//! A whole cluster in one small program: three nodes on one smol executor, a
//! file stored through one of them and read through another.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerhold_smol::peerhold_core::{Bootstrap, ClusterKey, Name, NamespaceSecret};
use peerhold_smol::{Handle, HostConfig};
use smol::io::AsyncReadExt;

fn main() -> Result<(), Box<dyn Error>> {
    let executor = smol::Executor::new();
    smol::block_on(executor.run(async {
        let dir = tempfile::tempdir()?;
        // Whoever has these two keeps them as he keeps his passwords: the first
        // opens sessions with the cluster, the second writes and reads files.
        let (mut key, mut secret) = ([0; 32], [0; 32]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut secret)?;
        let writer = NamespaceSecret::from_bytes(secret).writer();

        let mut nodes: Vec<Handle> = Vec::new();
        for number in 0..3 {
            let mut config = HostConfig::new(
                dir.path().join(format!("node{number}")),
                ClusterKey::from_bytes(key),
            )?;
            config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
            config.node.bootstrap = nodes
                .iter()
                .flat_map(|node| node.addrs())
                .map(|addr| Bootstrap::from(addr.to_string()))
                .collect();
            let (node, driver) = peerhold_smol::open(config)?;
            executor.spawn(driver).detach();
            nodes.push(node);
        }
        // Three active members, of which this node has met the two others.
        nodes[0].wait_for(3, 2).await?;

        let name = Name::new("greeting.txt")?;
        let stored = nodes[0].put(&writer, &name, &b"hello, peers"[..]).await?;
        println!(
            "{} of {} copies are durable",
            stored.copies, stored.replicas
        );

        let mut file = nodes[2].get(writer.reader(), &name).await?;
        let mut text = String::new();
        file.read_to_string(&mut text).await?;
        println!("read back: {text}");

        for node in nodes {
            node.shutdown(Duration::from_secs(5)).await;
        }
        Ok(())
    }))
}
