//! Bad command lines: each is told in one line, with exit code 2, before
//! anything is made on disk.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside this test, where cargo builds the package's examples for it.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.join("examples/smol_cluster")
}

/// What it says to these arguments; its data are to be in a folder of `dir`.
fn refused(dir: &Path, arguments: &[&OsStr]) -> String {
    let data = dir.join("data");
    let output = Command::new("timeout")
        .arg("30")
        .arg(program())
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

#[test]
fn what_is_no_file_is_not_read_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    refused(dir.path(), &[pipe.as_os_str()]);
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
