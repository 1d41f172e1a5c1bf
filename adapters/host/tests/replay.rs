//! The tool that replays tapes.

use std::fs;
use std::process::{Command, Output};

const TAPES: &str = include_str!("../../../core/tests/vectors/tape.txt");

#[test]
fn a_tape_that_replays_is_accounted_for() {
    let tape = tape("identical");
    let output = replay(&tape);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "node        phnode1q",
        &format!("{} bytes\n", tape.len()),
        "end         it was ended",
        "identical ",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_difference_is_shown() {
    let output = replay(&tape("differs"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("`accept` after `accept` gave"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_is_no_sound_tape_is_refused() {
    let mut damaged = tape("identical");
    *damaged.last_mut().unwrap() ^= 1;
    for (tape, words) in [(damaged, "is damaged"), (b"what".to_vec(), "not a tape")] {
        let output = replay(&tape);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(tool(&["no such file"]).status.code(), Some(2));
}

#[test]
fn a_torn_tape_is_said_to_be_one() {
    let mut torn = tape("identical");
    torn.truncate(torn.len() - 1);
    let output = replay(&torn);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("torn: "));
}

#[test]
fn help_is_given_when_asked_for_and_when_needed() {
    let output = tool(&["--help"]);
    assert!(output.status.success() && output.stdout.starts_with(b"Replays"));
    let output = tool(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.starts_with(b"Replays"));
}

fn tape(which: &str) -> Vec<u8> {
    let line = |line: &'static str| line.strip_prefix(which)?.strip_prefix(' ');
    let hex = TAPES.lines().find_map(line).unwrap();
    let pairs = (0..hex.len() / 2).map(|at| &hex[2 * at..2 * at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn replay(tape: &[u8]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tape");
    fs::write(&path, tape).unwrap();
    tool(&[path.to_str().unwrap()])
}

fn tool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peerhold-replay"))
        .args(args)
        .output()
        .unwrap()
}
