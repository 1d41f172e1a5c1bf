//! A disk that is full: a file system of a few MiB in memory, mounted in a
//! namespace of a process of its own, which takes it along when it ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use super::cluster::{alone_in, bytes, name, read, writer};
use peerhold_smol::open;
use tempfile::TempDir;

/// Where the process is told to mount and use a file system.
const DIR: &str = "PEERHOLD_FULL_DIR";
/// Bytes of a foreign file that is removed to make room.
const BALLAST: usize = 6 << 20;

#[test]
fn on_a_full_disk_puts_fail_and_with_room_they_work_again_without_a_restart() {
    let dir = TempDir::new().unwrap();
    let mount = r#"mount -t tmpfs -o size=24m none "$0" && exec "$@""#;
    let run = |program: &[&str]| -> std::io::Result<Output> {
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", mount])
            .arg(dir.path())
            .args(program)
            .env(DIR, dir.path())
            .output()
    };
    match run(&["true"]) {
        Ok(tried) if tried.status.success() => {}
        tried => {
            eprintln!(
                "on_a_full_disk_puts_fail_and_with_room_they_work_again_without_a_restart: \
                 cannot run, as no file system can be mounted here: {tried:?}"
            );
            return;
        }
    }
    let this = std::env::current_exe().unwrap();
    let child = ["--exact", "full::child", "--ignored", "--nocapture"];
    let ran = run(&[&[this.to_str().unwrap()], &child[..]].concat()).unwrap();
    let said = [&ran.stdout[..], &ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "it needs the small file system that the test above makes"]
fn child() {
    let Some(root) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    fs::write(root.join("ballast"), vec![1; BALLAST]).unwrap();
    let mut config = alone_in(&root.join("node"));
    config.node.timing.operation = Duration::from_secs(2);
    smol::block_on(async {
        let (handle, driver) = open(config).unwrap();
        let driver = smol::spawn(driver);
        let data = |n: u64| bytes([100, 40 << 10, 3 << 19][n as usize % 3], n);
        let put = async |n: u64| {
            handle
                .put(&writer(), &name(&n.to_string()), &data(n)[..])
                .await
        };
        let mut held = Vec::new();
        let mut refused = Vec::new();
        for n in 0..90 {
            match put(n).await {
                Ok(_) => held.push(n),
                Err(error) => refused.push(error.to_string()),
            }
            if refused.len() == 3 {
                break;
            }
        }
        assert!(held.len() > 10 && refused.len() == 3, "{held:?}");
        for error in refused {
            assert_eq!(
                error,
                "this node's store failed: no space left in the store"
            );
        }
        fs::remove_file(root.join("ballast")).unwrap();
        for n in 100..105 {
            put(n).await.unwrap();
            held.push(n);
        }
        for n in held {
            assert!(read(&handle, &name(&n.to_string())).await == data(n), "{n}");
        }
        handle.shutdown(Duration::from_secs(10)).await;
        driver.await;
    });
}
