//! What is tokio's own.

use std::error::Error;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Waker;

use peerhold_host::peerhold_core::{Bootstrap, ClusterKey, Name, NamespaceSecret};
use peerhold_host::{ClientError, HostConfig, Notice, PutError};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{Handle as NodeHandle, open};

type Outcome = Result<(), Box<dyn Error>>;

/// How long the slowest of machines may take.
const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);

fn config(dir: &TempDir, name: &str) -> HostConfig {
    let key = ClusterKey::from_bytes([7; 32]);
    let mut config = HostConfig::new(dir.path().join(name), key).unwrap();
    (config.node.replicas, config.node.durable) = (1, 1);
    config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    config
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// A client puts 3 MiB on a member, and reads them back line by line and whole.
async fn there_and_back(member: &NodeHandle, client: &NodeHandle) -> Outcome {
    client.wait_for(1, 1).await?;
    let writer = NamespaceSecret::from_bytes([8; 32]).writer();
    let name = Name::new("lines")?;
    let text: String = (0..400_000).map(|n| format!("{n:06}\n")).collect();
    let stored = client.put(&writer, &name, text.as_bytes()).await?;
    assert_eq!(stored.size, text.len() as u64);
    let mut file = client.get(writer.reader(), &name).await?;
    let mut line = String::new();
    file.read_line(&mut line).await?;
    assert_eq!(line, "000000\n");
    file.read_to_string(&mut line).await?;
    assert!(line == text, "what comes back is what was put");
    assert_eq!(member.peers().await?.len(), 1);
    Ok(())
}

fn exchange_on(runtime: &Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let (member, driver) = open(config(&dir, "member")).unwrap();
    let mut to_dial = config(&dir, "client");
    to_dial.node.weight = 0;
    to_dial.node.bootstrap = vec![Bootstrap::from(member.addrs()[0].to_string())];
    let (client, other) = open(to_dial).unwrap();
    let drivers = [driver, other].map(|driver| runtime.spawn(driver));
    let all = async {
        there_and_back(&member, &client).await.unwrap();
        member.shutdown(SOON).await;
        client.shutdown(SOON).await;
        for driver in drivers {
            driver.await.unwrap().unwrap();
        }
    };
    runtime.block_on(async { time::timeout(LIMIT, all).await.unwrap() });
}

#[test]
fn nodes_opened_outside_of_a_runtime_run_on_a_current_thread_one() {
    exchange_on(&current_thread());
}

#[test]
fn nodes_opened_outside_of_a_runtime_run_on_a_multi_thread_one() {
    exchange_on(&multi_thread());
}

#[test]
fn a_driver_outside_of_a_runtime_says_what_to_do_and_may_be_polled_inside_later() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut driver) = open(config(&dir, "node")).unwrap();
    let polled = Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error @ StartError::Runtime(_))) = polled else {
        panic!("a driver without a runtime is {polled:?}");
    };
    assert!(error.to_string().contains("spawn it"), "{error}");
    let ended = async {
        let driver = tokio::spawn(driver);
        node.status().await.unwrap();
        node.shutdown(SOON).await;
        driver.await.unwrap().unwrap();
    };
    current_thread().block_on(async { time::timeout(LIMIT, ended).await.unwrap() });
}

#[test]
fn a_driver_that_goes_down_with_its_runtime_ends_the_node() {
    let dir = tempfile::tempdir().unwrap();
    for runtime in [current_thread(), multi_thread()] {
        let (node, driver) = open(config(&dir, "node")).unwrap();
        let writer = NamespaceSecret::from_bytes([8; 32]).writer();
        let name = Name::new("never finished").unwrap();
        runtime.spawn(driver);
        runtime
            .block_on(async { time::timeout(LIMIT, node.wait_for(1, 0)).await })
            .unwrap()
            .unwrap();
        let endless = node.put(&writer, &name, tokio::io::repeat(0));
        runtime.block_on(async { time::timeout(Duration::ZERO, endless).await.unwrap_err() });
        drop(runtime);
        // The directory is free again: the next round opens it.
        let status = current_thread().block_on(node.status());
        assert_eq!(status.unwrap_err(), ClientError::Closed);
    }
}

#[test]
fn a_put_writer_that_is_shut_down_has_stored_and_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (node, driver) = open(config(&dir, "node")).unwrap();
    let runtime = current_thread();
    let driver = runtime.spawn(driver);
    let put = async {
        let writer = NamespaceSecret::from_bytes([8; 32]).writer();
        let mut file = node.put_writer(peerhold_host::peerhold_core::Put {
            writer: writer.clone(),
            name: Name::new("written").unwrap(),
            modified: None,
        })?;
        file.write_all(b"first ").await?;
        file.flush().await?;
        file.write_all(b"second").await?;
        file.shutdown().await?;
        assert_eq!(file.finish().await?.size, 12);
        let late = file.write(b"late").await.unwrap_err();
        let late = late.get_ref().and_then(|error| error.downcast_ref());
        assert_eq!(late, Some(&ClientError::Finished));
        let missing = node.get(writer.reader(), &Name::new("none")?).await;
        let missing = std::io::Error::from(missing.unwrap_err());
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        node.shutdown(SOON).await;
        driver.await??;
        Outcome::Ok(())
    };
    runtime
        .block_on(async { time::timeout(LIMIT, put).await })
        .unwrap()
        .unwrap();
}

#[test]
fn a_source_that_fails_stores_nothing_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (node, driver) = open(config(&dir, "node")).unwrap();
    let runtime = current_thread();
    let _driver = runtime.spawn(driver);
    let put = async {
        let writer = NamespaceSecret::from_bytes([8; 32]).writer();
        let name = Name::new("broken").unwrap();
        let source = tokio::io::repeat(1).take(100_000).chain(Broken);
        let error = node.put(&writer, &name, source).await.unwrap_err();
        assert!(matches!(error, PutError::Source(_)), "{error}");
        let error = node.get(writer.reader(), &name).await.unwrap_err();
        assert_eq!(
            std::io::Error::from(error).kind(),
            std::io::ErrorKind::NotFound
        );
    };
    runtime.block_on(async { time::timeout(LIMIT, put).await.unwrap() });
}

struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("the disk is on fire")))
    }
}

#[test]
fn more_connections_at_once_than_a_task_may_poll_are_all_served() {
    let dir = tempfile::tempdir().unwrap();
    let (node, driver) = open(config(&dir, "node")).unwrap();
    let addr = node.addrs()[0];
    let runtime = current_thread();
    let driver = runtime.spawn(driver);
    let visits = async {
        // Tokio lets a task poll 128 times before it has to yield. The node
        // ends each of these: what they say is no handshake.
        let visit = |_| {
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(addr).await?;
                stream.write_all(&[0; 64]).await?;
                let mut answer = Vec::new();
                // Reset or ended: it is over.
                let _ = stream.read_to_end(&mut answer).await;
                std::io::Result::Ok(())
            })
        };
        let visitors: Vec<_> = (0..200).map(visit).collect();
        for visitor in visitors {
            visitor.await.unwrap().unwrap();
        }
        node.shutdown(SOON).await;
        driver.await.unwrap().unwrap();
    };
    runtime.block_on(async { time::timeout(LIMIT, visits).await.unwrap() });
}

#[cfg(unix)]
#[test]
fn a_listener_that_fails_pauses_and_keeps_no_other_from_accepting() {
    use std::io::Write;
    use std::net::TcpStream;
    use std::os::fd::OwnedFd;

    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir, "node");
    let pause = Duration::from_millis(50);
    config.accept_pause = pause;
    let local = std::mem::take(&mut config.listen);
    let (client, engine) = Engine::open(config, Vec::new()).unwrap();
    let real = net::listen(&local).unwrap().pop().unwrap();
    let addr = real.local_addr().unwrap();
    // A socket that does not listen cannot accept, and is tried when it has
    // something to read.
    let other = StdListener::bind(local[0]).unwrap();
    let stream = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    other.accept().unwrap().0.write_all(b"x").unwrap();
    stream.set_nonblocking(true).unwrap();
    let broken = StdListener::from(OwnedFd::from(stream));
    let mut driver = Driver::new(engine, vec![broken, real]);
    let mut events = client.events();
    let begin = Instant::now();
    let _visitor = TcpStream::connect(addr).unwrap();
    let failing = async {
        let mut failures = 0;
        while failures < 3 {
            let next = poll_fn(|cx| {
                assert!(Pin::new(&mut driver).poll(cx).is_pending());
                events.poll_next(cx)
            });
            failures += usize::from(matches!(next.await, Some(Notice::Accept(_))));
        }
    };
    current_thread().block_on(async { time::timeout(LIMIT, failing).await.unwrap() });
    assert!(begin.elapsed() >= 2 * pause);
    assert_eq!(driver.sockets.len(), 1);
}
