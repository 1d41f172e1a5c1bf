//! The power is cut, as far as a machine can do that to itself: a process puts
//! files on a file system in an image. It is stopped, and the image is copied:
//! what the file system has not yet written to it is lost. The copy is mounted
//! in its place, and a new process must find there what was acknowledged.
//!
//! It is weak evidence where it passes: the image is a disk that keeps all that
//! it was given, in order. What breaks it is a real fault.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::ledger::{Ledger, Process};
use crate::{LINES, Random, SEED, number};

/// How often the power is cut, unless the environment says otherwise.
const CUTS: u64 = 20;
const CUTS_VAR: &str = "PEERHOLD_POWER_CUTS";
const IMAGE_BYTES: u64 = 2 << 30;
/// Longer than the file system keeps names to itself (`commit=1`), and shorter
/// than it keeps bytes: that is when a name without its bytes is on the disk.
const NAMES_WRITTEN: Duration = Duration::from_millis(1500);
/// What nobody syncs, and so some cut must lose.
const PROBE: &str = "probe";
const PROBE_BYTES: usize = 64 << 10;

#[test]
#[ignore = "makes images and mounts them, which takes root: `make crash`"]
fn what_was_acknowledged_survives_every_power_cut() {
    let cuts = number(CUTS_VAR, CUTS).max(2);
    let mut random = Random(SEED);
    let mut lost = 0;
    for nodes in [1, 3] {
        let disk = match Disk::make() {
            Ok(disk) => disk,
            Err(why) => {
                println!("no power was cut, as this machine does not allow it: {why}");
                return;
            }
        };
        let mut ledger = Ledger::new(&disk.mount.join("nodes"), nodes);
        for cut in 0..cuts / 2 {
            let what = format!("seed {SEED:#x}, {nodes} nodes, cut {cut}");
            let process = ledger.run(&what, random.below(LINES));
            let wait = random.below(3) == 0;
            disk.cut(wait, &process);
            ledger.end(&what, process);
            lost += u64::from(disk.turn_on());
        }
        ledger.last(&format!("seed {SEED:#x}, after the last cut"));
        let [acknowledged, unfinished] = ledger.puts();
        println!(
            "{} cuts of {nodes} nodes: {acknowledged} puts acknowledged, {unfinished} unfinished",
            cuts / 2
        );
        assert!(acknowledged > 0, "nothing was put");
    }
    println!("{lost} of {cuts} cuts have lost what nobody had synced");
    assert!(lost > 0, "no cut has lost anything: these are none");
}

/// A disk whose power can be cut.
struct Disk {
    dir: TempDir,
    mount: PathBuf,
}

impl Disk {
    /// A new one, mounted.
    ///
    /// # Errors
    /// What this machine lacks for it.
    fn make() -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let mount = dir.path().join("mount");
        fs::create_dir(&mount).map_err(|error| error.to_string())?;
        let disk = Self { dir, mount };
        let image = fs::File::create(disk.image()).and_then(|file| file.set_len(IMAGE_BYTES));
        image.map_err(|error| error.to_string())?;
        let whole = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-F", "-E", whole, text(&disk.image())])?;
        disk.try_mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn copy(&self) -> PathBuf {
        self.dir.path().join("copy")
    }

    fn try_mount(&self) -> Result<(), String> {
        let options = "loop,commit=1";
        let (image, mount) = (self.image(), &self.mount);
        run("mount", &["-o", options, text(&image), text(mount)])
    }

    /// Stops the process, and keeps what the disk holds then: at once, or when
    /// the file system has written names but not yet bytes.
    fn cut(&self, wait: bool, process: &Process) {
        process.stop();
        fs::write(self.mount.join(PROBE), [1; PROBE_BYTES]).unwrap();
        if wait {
            // Nothing tells when the kernel has come so far.
            thread::sleep(NAMES_WRITTEN);
        }
        let (image, copy) = (self.image(), self.copy());
        run("cp", &["--sparse=always", text(&image), text(&copy)]).unwrap();
    }

    /// Mounts what was kept. Whether something is missing that nobody synced.
    fn turn_on(&self) -> bool {
        run("umount", &[text(&self.mount)]).unwrap();
        fs::rename(self.copy(), self.image()).unwrap();
        self.try_mount().unwrap();
        let probe = self.mount.join(PROBE);
        let found = fs::read(&probe).unwrap_or_default();
        let _ = fs::remove_file(&probe);
        found != [1; PROBE_BYTES]
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It is not mounted if this machine does not allow it.
        let _ = run("umount", &[text(&self.mount)]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program}: {said}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
