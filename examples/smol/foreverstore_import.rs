//! Puts the files of a node of the Go program `foreverstore` into a namespace.
//!
//! ```sh
//! foreverstore_import --root files --id 64_HEX_DIGITS --dry-run --names names.txt
//! foreverstore_import --root files --id 64_HEX_DIGITS --names names.txt \
//!     --ticket TICKET --secret secret.txt
//! ```
//!
//! The Go program keeps no names: a file's path is the SHA-1 of its name. So the
//! names have to be said. What is there beside them is told, and with `--unnamed`
//! put under its SHA-1.
//!
//! It may be interrupted and run again: a file that is in the namespace with the
//! same bytes is left as it is. Exit code: 0 if all that was asked for is there now
//! (or, with `--dry-run`, can be), 1 if some is not, 2 if it could not be tried.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use peerhold_smol::HostConfig;
use peerhold_smol::foreverstore::{Found, Import, Imported, Survey};
use peerhold_smol::peerhold_core::foreverstore::{OwnerId, OwnerKey};
use peerhold_smol::peerhold_core::{ClusterKey, NamespaceSecret, Ticket, Writer};

/// Puts the files of a node of the Go program foreverstore into a namespace.
#[derive(Debug, Parser)]
#[command(name = "foreverstore_import")]
struct Args {
    /// The node's root, the folder that holds folders named by ids. It is only
    /// read; stop the Go program meanwhile.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,

    /// Whose files: the id of the node, 64 hex digits.
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: OwnerId,

    /// Its key, 64 hex digits: for files that lie sealed below a peer's root.
    #[arg(long, value_name = "HEX", value_parser = key)]
    key: Option<OwnerKey>,

    /// A file that holds the key.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,

    /// Names of files.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// A file with a name on each line.
    #[arg(long = "names", value_name = "FILE")]
    list: Option<PathBuf>,

    /// Import files too of which nobody knows the name, each under the SHA-1 by
    /// which it lies.
    #[arg(long)]
    unnamed: bool,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// A ticket of the cluster that is to have the files.
    #[arg(long, value_name = "TICKET", required_unless_present_any = ["dry_run", "alone"])]
    ticket: Option<Ticket>,

    /// Keep the files on this machine alone: a cluster of one, in --data.
    #[arg(long, conflicts_with = "ticket", requires = "data")]
    alone: bool,

    /// Where this node of the cluster keeps its own data. By default it is a client
    /// for the time being, which keeps nothing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// The file that holds the namespace's secret; made if there is none. Whoever
    /// has it reads and writes the files, and without it nobody does.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    secret: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("foreverstore_import: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything that was asked for is there.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let survey = survey(args)?;
    let mut all = report(args, &survey);
    let unnamed = survey.unnamed.iter().filter(|_| args.unnamed);
    let files: Vec<&Found> = survey.files.iter().chain(unnamed).collect();
    if args.dry_run {
        for found in &files {
            println!(
                "would import {} ({} bytes)",
                found.name.as_str(),
                found.size
            );
        }
        return Ok(all);
    }
    let writer = writer(args.secret.as_deref().ok_or("a secret is needed")?)?;
    println!("into namespace {}", writer.namespace());
    let temporary = tempfile::tempdir()?;
    let config = config(args, temporary.path())?;
    let durable = usize::from(config.node.durable);
    let (node, driver) = peerhold_smol::open(config)?;
    let driver = thread::spawn(move || smol::block_on(driver));
    node.blocking()
        .wait_until(|status| status.active() >= durable)?;
    for (at, found) in files.iter().enumerate() {
        let line = format!("{} of {}: {}", at + 1, files.len(), found.name.as_str());
        let imported = survey.import(
            found,
            &node.blocking(),
            &writer,
            progress(&line, found.size),
        );
        match imported {
            Ok(Imported::Unchanged) => println!("{line}: there already"),
            Ok(_) => println!("{line}: {} bytes", found.size),
            Err(error) => {
                all = false;
                println!("{line}: not imported: {error}");
            }
        }
    }
    node.blocking().shutdown(Duration::from_secs(30))?;
    driver.join().map_err(|_| "the node has failed")?;
    Ok(all)
}

fn survey(args: &Args) -> Result<Survey, Box<dyn Error>> {
    let key = match (&args.key, &args.key_file) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(file)) => Some(self::key(std::fs::read_to_string(file)?.trim())?),
        (None, None) => None,
    };
    let mut names = args.names.clone();
    if let Some(list) = &args.list {
        let failed = |error| format!("{}: {error}", list.display());
        let text = std::fs::read_to_string(list).map_err(failed)?;
        names.extend(
            text.lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
    let (root, id) = (args.root.clone(), args.id);
    let import = Import {
        root,
        id,
        key,
        names,
    };
    let failed = |error| format!("{}: {error}", args.root.display());
    Ok(import.survey().map_err(failed)?)
}

/// Says what was found. Whether all that was asked for can be imported.
fn report(args: &Args, survey: &Survey) -> bool {
    let bytes: u64 = survey.files.iter().map(|found| found.size).sum();
    println!(
        "{} files of {bytes} bytes have their names",
        survey.files.len()
    );
    let sealed = survey.files.iter().filter(|found| found.sealed);
    for found in sealed {
        let name = found.name.as_str();
        println!("{name}: opened with the key; nothing proves that it is the right one");
    }
    for (what, why) in &survey.unreadable {
        println!("not readable: {what}: {why}");
    }
    for found in survey.unnamed.iter().filter(|_| !args.unnamed) {
        let (hash, size) = (found.name.as_str(), found.size);
        println!(
            "not imported: {hash} ({size} bytes): no name was given for it; --unnamed takes it under this one"
        );
    }
    for (owner, files, bytes) in &survey.replicas {
        println!(
            "not readable: {files} files of {bytes} bytes, kept for {owner} and sealed with its key"
        );
    }
    survey.unreadable.is_empty()
}

/// Shows how far a file has come, where somebody looks.
fn progress(line: &str, size: u64) -> impl FnMut(u64) + use<'_> {
    let shows = io::stderr().is_terminal() && size > 1 << 20;
    let mut shown = 0;
    move |done| {
        let percent = done.saturating_mul(100) / size.max(1);
        if shows && percent != shown {
            shown = percent;
            eprint!("\r{line}: {percent} %\r");
        }
    }
}

/// The node that is to put them.
fn config(args: &Args, temporary: &Path) -> Result<HostConfig, Box<dyn Error>> {
    let data = args.data.as_deref().unwrap_or(temporary);
    let mut config = match &args.ticket {
        Some(ticket) => HostConfig::from_ticket(data, ticket)?,
        None => {
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            HostConfig::new(data, ClusterKey::from_bytes(key))?
        }
    };
    if args.alone {
        (config.node.replicas, config.node.durable) = (1, 1);
    }
    if args.data.is_none() {
        config.node.weight = 0;
    }
    Ok(config)
}

/// The namespace's secret, from its file or a new one.
fn writer(file: &Path) -> Result<Writer, Box<dyn Error>> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(file) {
        Ok(mut new) => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes)?;
            let secret = NamespaceSecret::from_bytes(bytes);
            writeln!(new, "{}", secret.to_text().as_str()).map_err(failed)?;
            new.sync_all().map_err(failed)?;
            println!("a new secret is in {}: keep it", file.display());
            Ok(secret.writer())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut text = String::new();
            let mut it = std::fs::File::open(file).map_err(failed)?;
            it.read_to_string(&mut text).map_err(failed)?;
            let secret: NamespaceSecret = text.trim().parse()?;
            Ok(secret.writer())
        }
        Err(error) => Err(failed(error).into()),
    }
}

fn id(text: &str) -> Result<OwnerId, String> {
    OwnerId::from_hex(text).ok_or_else(|| "64 lower-case hex digits are wanted".into())
}

fn key(text: &str) -> Result<OwnerKey, String> {
    OwnerKey::from_hex(text).ok_or_else(|| "64 lower-case hex digits are wanted".into())
}
