//! What a name held: its versions are listed, an older one is read and made
//! the newest again. One node by itself, on smol.

use std::error::Error;
use std::time::Duration;

use peerhold_smol::peerhold_core::{ClusterKey, Name, NamespaceSecret, Put, Writer};
use peerhold_smol::{Handle, HostConfig};
use smol::io::AsyncReadExt;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (mut key, mut secret) = ([0; 32], [0; 32]);
    getrandom::fill(&mut key)?;
    getrandom::fill(&mut secret)?;
    let writer = NamespaceSecret::from_bytes(secret).writer();
    let mut config = HostConfig::new(dir.path(), ClusterKey::from_bytes(key))?;
    // A cluster of one: each record and blob has one copy.
    (config.node.replicas, config.node.durable) = (1, 1);
    let (node, driver) = peerhold_smol::open(config)?;
    let driver = smol::spawn(driver);

    smol::block_on(async {
        let name = Name::new("notes/today.md")?;
        for text in ["a first thought", "a better one", "all of it gone wrong"] {
            let mut put = node.put_writer(Put {
                writer: writer.clone(),
                name: name.clone(),
                modified: None,
            })?;
            put.push(text.into()).await?;
            put.finish().await?;
        }
        node.remove(&writer, &name)?.await?;

        println!("{name:?}, the newest version first:");
        let mut history = node.history(writer.reader(), &name)?;
        let versions = history.page(100).await?;
        for entry in &versions {
            let what = match entry.removed {
                true => "removed".to_owned(),
                false => format!("{} bytes", entry.size),
            };
            println!("  {}  {what}", entry.id.version);
        }

        let better = versions[2].id;
        let mut file = node.get_version(writer.reader(), &name, better).await?;
        let mut text = String::new();
        file.read_to_string(&mut text).await?;
        println!("the third of them reads: {text}");
        node.restore(&writer, &name, better)?.await?;
        show(&node, &writer).await?;
        node.shutdown(Duration::from_secs(5)).await;
        driver.await;
        Ok(())
    })
}

async fn show(node: &Handle, writer: &Writer) -> Result<(), Box<dyn Error>> {
    println!("files that begin with \"notes/\", now that it is restored:");
    let mut list = node.list(writer.reader(), "notes/")?;
    while let Some(entry) = list.next().await? {
        println!("  {:?}  {} bytes", entry.name, entry.size);
    }
    Ok(())
}
