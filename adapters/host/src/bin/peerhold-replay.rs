//! Replays the tape of a node and says whether the node does the same again.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use peerhold_core::tape::{End, ReplayError, Replayed, Replayer};

const HELP: &str = "\
Replays the tape of a node into a fresh node and compares what it does.

Usage: peerhold-replay FILE

FILE is what a node recorded that was started with a tape (the setting `tape`
of its configuration). It holds keys and plaintext: keep it secret.

Exit status: 0 if the node does the same again; 1 if it does something else,
which is shown; 2 if the file cannot be read or is no sound tape.
";

/// How much of the file is in memory at once, beside one entry.
const PIECE: usize = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [arg] if arg == "--help" || arg == "-h" => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        [path] => run(Path::new(path)),
        _ => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(path: &Path) -> ExitCode {
    match replay(path) {
        Ok(replayed) => {
            account(&replayed);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            let differs = matches!(error.downcast_ref(), Some(ReplayError::Differs(_)));
            ExitCode::from(if differs { 1 } else { 2 })
        }
    }
}

fn replay(path: &Path) -> Result<Replayed, Box<dyn Error>> {
    let mut file = File::open(path)?;
    let mut replayer = Replayer::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(replayer.finish()?),
            count => replayer.feed(&piece[..count])?,
        }
    }
}

fn account(replayed: &Replayed) {
    println!("node        {}", replayed.node);
    println!(
        "tape        {} entries, {} bytes",
        replayed.entries, replayed.bytes
    );
    println!("time        {:.3} s", replayed.span.as_secs_f64());
    println!("calls       {}", replayed.calls);
    println!("operations  {}", replayed.operations);
    println!("put         {} bytes", replayed.put);
    println!("got         {} bytes", replayed.got);
    println!("received    {} bytes from peers", replayed.received);
    println!("sent        {} bytes to peers", replayed.sent);
    let end = match replayed.end {
        End::Whole => "it was ended".to_owned(),
        End::Open => "open: the process ended, or still records".to_owned(),
        End::Torn { bytes } => format!("torn: {bytes} bytes of an entry that is not whole"),
        End::Lost => "lost: a call was too long to be recorded".to_owned(),
        _ => "unknown".to_owned(),
    };
    println!("end         {end}");
    println!("identical   {} outputs", replayed.outputs);
}
