//! Bad command lines: each is told in one line, with exit code 2, before
//! anything is made on disk. And what becomes of a run that does not go to its
//! end.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Beside this test, where cargo builds the package's examples for it.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.join("examples").join(name)
}

/// What it says to these arguments; its data are to be in a folder of `dir`.
fn refused(dir: &Path, arguments: &[&OsStr]) -> String {
    let data = dir.join("data");
    let output = Command::new("timeout")
        .arg("30")
        .arg(program("smol_cluster"))
        .arg("--data-dir")
        .arg(&data)
        .args(
            ["--base-port", "21980"]
                .iter()
                .filter(|_| !arguments.contains(&OsStr::new("--base-port"))),
        )
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    assert!(!data.exists(), "{arguments:?} left something behind");
    said
}

#[test]
fn arguments_that_cannot_be_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let rows: [&[&str]; 22] = [
        &["--nonsense"],
        &["--size"],
        &["--size", ""],
        &["--size", "-1"],
        &["--size", "1XiB"],
        &["--size", "18446744073709551616"],
        &["--size", "99999999999999999999GiB"],
        &["--size", "NaN"],
        &["--size", "1KiB", "--size", "2KiB"],
        &["--count", "2"],
        &["--size", "1KiB", "--count", "-1"],
        &["--size", "1KiB", "--count", "18446744073709551616"],
        &["--jobs", "0"],
        &["--jobs", "257"],
        &["--jobs", "1.5"],
        &["--base-port", "0"],
        &["--base-port", "65534"],
        &["--base-port", "65536"],
        &["--base-port", "-1"],
        &["--base-port", "http"],
        &["--plain=maybe"],
        &["--plain", "--plain"],
    ];
    for row in rows {
        let arguments: Vec<&OsStr> = row.iter().map(OsStr::new).collect();
        refused(dir.path(), &arguments);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_as_an_option_and_told_as_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let odd = OsString::from_vec(b"--\xff\xfe".to_vec());
    refused(dir.path(), &[&odd]);
    let size = OsString::from_vec(b"1\xffKiB".to_vec());
    refused(dir.path(), &[OsStr::new("--size"), &size]);
    let path = OsString::from_vec(b"no-\xff-such".to_vec());
    refused(dir.path(), &[&path]);
}

/// Makes a pipe; says whether it could.
#[cfg(not(target_vendor = "apple"))]
fn make_pipe(path: &Path) -> bool {
    use rustix::fs::{CWD, Mode, mkfifoat};
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).is_ok()
}

/// There is no call for that here.
#[cfg(target_vendor = "apple")]
fn make_pipe(_: &Path) -> bool {
    false
}

#[test]
fn what_is_no_file_is_not_read_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    if make_pipe(&pipe) {
        refused(dir.path(), &[pipe.as_os_str()]);
    } else {
        eprintln!("a pipe as a file: not run, as pipes cannot be made here");
    }
    refused(dir.path(), &[OsStr::new("")]);
    refused(dir.path(), &[OsStr::new("no/such/file")]);
    // Behind it even what looks like an option is a path.
    let said = refused(dir.path(), &[OsStr::new("--"), OsStr::new("--plain")]);
    assert!(said.contains("--plain"), "{said}");
    refused(dir.path(), &[OsStr::new("/dev/null")]);
}

#[test]
fn a_path_cannot_write_to_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = OsStr::new("no such \u{1b}[2J file");
    let said = refused(dir.path(), &[path]);
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// Bytes in the files below a folder.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        // It may be gone again.
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

/// Kills what is still there when a test has failed.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupt_in_the_middle_of_a_put_ends_it_and_leaves_no_data_behind() {
    let dir = tempfile::tempdir().unwrap();
    let run = Command::new(program("smol_cluster"))
        .args(["--size", "64GiB", "--base-port", "21984"])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut run = Killed(run.unwrap());
    let begun = Instant::now();
    while bytes_below(dir.path()) < 8 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is put");
        assert_eq!(run.0.try_wait().unwrap(), None, "it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = Command::new("kill")
        .args(["-INT", &run.0.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(run.0.wait().unwrap().code(), Some(130));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_disk_that_is_full_is_told_to_who_gets_a_file_and_the_file_stays() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!(
            "a_disk_that_is_full_is_told_to_who_gets_a_file: not run, as there is no /dev/full"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, back) = (dir.path().join("source"), dir.path().join("back"));
    let data: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&source, &data).unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    let run = Command::new(program("foreverstore_node"))
        .arg("--root")
        .arg(dir.path().join("root"))
        .args(["--id", &"05".repeat(32)])
        .arg("--key-file")
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut run = Killed(run.unwrap());
    let mut commands = run.0.stdin.take().unwrap();
    let mut answers = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let mut ask = |command: String| {
        writeln!(commands, "{command}").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(ask(format!("store a {}", source.display())), "STORED");
    let answer = ask(format!("get a {}", full.display()));
    assert!(
        answer.starts_with("ERR /dev/full: No space left"),
        "{answer}"
    );
    let whole = format!("GOT {}", data.len());
    assert_eq!(ask(format!("get a {}", back.display())), whole);
    assert_eq!(std::fs::read(&back).unwrap(), data);
}
