//! Storing, forgetting and fetching all files, several at a time.

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use indicatif::ProgressBar;
use peerhold_host::ClientError;
use peerhold_host::client::Forgotten;
use peerhold_host::peerhold_core::{Forget, Get, Put};

use crate::account::{Account, Did};
use crate::args::Args;
use crate::cluster::WriterNode;
use crate::files::Source;
use crate::{Failure, Stop};

/// Files are read in pieces of this size.
const PIECE: usize = 256 << 10;

/// The BLAKE3 hash of each file, in order.
pub(crate) type Hashes = Vec<blake3::Hash>;

/// Stores every file and waits until each has all its copies.
pub(crate) fn store(
    args: &Args,
    files: &[Source],
    stop: &Stop,
    account: &Account,
    node: &WriterNode,
) -> Result<Hashes, Failure> {
    let bar = account.bar("storing", total(files));
    let began = Instant::now();
    let hashes = Mutex::new(vec![None; files.len()]);
    each(args, files, |at, file| {
        let hash = store_one(file, stop, &bar, node)?;
        locked(&hashes)[at] = Some(hash);
        Ok(())
    })?;
    bar.finish_and_clear();
    let hashes: Option<Hashes> = locked(&hashes).drain(..).collect();
    let hashes = hashes.ok_or_else(|| Failure::Wrong("a file was passed over".into()))?;
    account.did(&Did {
        what: "stored and settled on 3 nodes",
        files: files.len(),
        bytes: total(files),
        time: began.elapsed(),
    });
    Ok(hashes)
}

fn store_one(
    file: &Source,
    stop: &Stop,
    bar: &ProgressBar,
    node: &WriterNode,
) -> Result<blake3::Hash, Failure> {
    let failed = |source| Failure::Operation {
        what: format!("storing {}", file.name.as_str()),
        source: Box::new(source),
    };
    let unreadable = |error| Failure::Wrong(format!("reading {}: {error}", file.name.as_str()));
    let put = Put {
        writer: node.namespace.clone(),
        name: file.name.clone(),
        modified: None,
    };
    let mut put = node.client.blocking().put(put).map_err(failed)?;
    let mut source = file.open().map_err(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    loop {
        stop.check()?;
        let mut piece = Vec::with_capacity(PIECE.min(file.size as usize + 1));
        let limit = piece.capacity() as u64;
        source
            .by_ref()
            .take(limit)
            .read_to_end(&mut piece)
            .map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        bar.inc(piece.len() as u64);
        put.push(Bytes::from(piece)).map_err(failed)?;
    }
    put.finish().map_err(failed)?;
    put.settled().map_err(failed)?;
    Ok(hasher.finalize())
}

/// Makes the writer drop its own copies of all files' blobs.
pub(crate) fn forget(
    args: &Args,
    files: &[Source],
    stop: &Stop,
    account: &Account,
    node: &WriterNode,
) -> Result<(), Failure> {
    let began = Instant::now();
    let (dropped, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    each(args, files, |_, file| {
        stop.check()?;
        let forget = Forget {
            reader: node.namespace.reader().clone(),
            name: file.name.clone(),
        };
        let forgotten: Result<Forgotten, ClientError> = node.client.blocking().forget(forget);
        let Forgotten {
            blobs, kept: left, ..
        } = forgotten.map_err(|source| Failure::Operation {
            what: format!("forgetting {}", file.name.as_str()),
            source: Box::new(source),
        })?;
        dropped.fetch_add(blobs, Ordering::Relaxed);
        kept.fetch_add(left, Ordering::Relaxed);
        Ok(())
    })?;
    account.forgot(
        dropped.into_inner(),
        kept.into_inner(),
        inline(files),
        began.elapsed(),
    );
    Ok(())
}

/// Reads every file and compares it with what was stored.
pub(crate) fn fetch(
    args: &Args,
    files: &[Source],
    hashes: &Hashes,
    stop: &Stop,
    account: &Account,
    node: &WriterNode,
    what: &'static str,
) -> Result<(), Failure> {
    let bar = account.bar("fetching", total(files));
    let began = Instant::now();
    each(args, files, |at, file| {
        let hash = fetch_one(file, stop, &bar, node)?;
        if Some(&hash) == hashes.get(at) {
            return Ok(());
        }
        Err(Failure::Wrong(format!(
            "{} came back different from what was stored",
            file.name.as_str()
        )))
    })?;
    bar.finish_and_clear();
    account.did(&Did {
        what,
        files: files.len(),
        bytes: total(files),
        time: began.elapsed(),
    });
    Ok(())
}

fn fetch_one(
    file: &Source,
    stop: &Stop,
    bar: &ProgressBar,
    node: &WriterNode,
) -> Result<blake3::Hash, Failure> {
    let failed = |source| Failure::Operation {
        what: format!("fetching {}", file.name.as_str()),
        source: Box::new(source),
    };
    let get = Get {
        confirmed: true,
        ..Get::newest(node.namespace.reader(), &file.name)
    };
    let mut get = node.client.blocking().get(get).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = get.next_bytes().map_err(failed)? {
        stop.check()?;
        hasher.update(&piece);
        bar.inc(piece.len() as u64);
    }
    Ok(hasher.finalize())
}

/// Does something with each file, as many at a time as was asked for. The
/// first failure ends it.
fn each(
    args: &Args,
    files: &[Source],
    work: impl Fn(usize, &Source) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..files.len().min(args.jobs as usize) {
            scope.spawn(|| {
                while locked(&failure).is_none() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { return };
                    if let Err(error) = work(at, file) {
                        locked(&failure).get_or_insert(error);
                    }
                }
            });
        }
    });
    let failure = locked(&failure).take();
    failure.map_or(Ok(()), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn total(files: &[Source]) -> u64 {
    files.iter().map(|file| file.size).sum()
}

/// Files so small that they lie in their records.
fn inline(files: &[Source]) -> usize {
    let max = peerhold_host::peerhold_core::seal::INLINE_MAX as u64;
    files.iter().filter(|file| file.size <= max).count()
}
