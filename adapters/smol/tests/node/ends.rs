//! Starts and ends that are smol's own business, or need seeing once.

use std::time::Duration;

use super::cluster::{alone, name, writer};
use peerhold_smol::{ClientError, open};
use tempfile::TempDir;

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    drop(open(alone(&dir)).unwrap());
    let format = dir.path().join("FORMAT");
    let newer = std::fs::read_to_string(&format).unwrap();
    let newer = newer.replacen("peerhold store 1", "peerhold store 2", 1);
    std::fs::write(&format, &newer).unwrap();
    std::fs::write(dir.path().join("tmp/left"), b"theirs").unwrap();
    let error = open(alone(&dir)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot open the store in {}: the store has format 2, and this program knows \
             formats up to 1: use a newer version of it; nothing was changed",
            dir.path().display()
        )
    );
    assert_eq!(std::fs::read_to_string(&format).unwrap(), newer);
    assert!(dir.path().join("tmp/left").exists());
}

#[test]
fn the_thread_that_turns_the_engine_cannot_wait_for_it() {
    let dir = TempDir::new().unwrap();
    let (handle, driver) = open(alone(&dir)).unwrap();
    let mut driver = std::pin::pin!(driver);
    smol::block_on(smol::future::poll_once(driver.as_mut()));
    let blocking = handle.blocking();
    assert_eq!(blocking.status().unwrap_err(), ClientError::WouldDeadlock);
    assert_eq!(
        blocking.shutdown(Duration::ZERO).unwrap_err(),
        ClientError::WouldDeadlock
    );
    let other = std::thread::spawn(move || blocking.status());
    smol::block_on(smol::future::or(driver, async {
        handle
            .client()
            .wait_until(|status| status.ready)
            .await
            .unwrap();
        handle
            .put(&writer(), &name("f"), &b"content"[..])
            .await
            .unwrap();
    }));
    other.join().unwrap().unwrap();
}
