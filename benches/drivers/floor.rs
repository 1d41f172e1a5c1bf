//! What cannot be left out when a file goes to two peers and comes back.
//!
//! Put: the writer reads a chunk, hashes it for its key, enciphers it, hashes
//! it for its id, writes it to its disk and seals it for each of two secure
//! channels; each peer reads its socket, opens, checks the hash and writes to
//! its disk; all three sync once, at the end. Get: each peer reads half of the
//! chunks from its disk and seals them; the reader opens, checks the hash and
//! deciphers.
//!
//! There is no protocol: one file per process, no index, no names, nobody asks
//! or answers, and only the end is acknowledged.

use std::error::Error;
use std::fs::File;
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use peerhold_benches::{KIB, MIB, chunk, noise, writer as namespace};
use peerhold_core::BlobId;
use peerhold_core::seal::{BLOB_HEADER, SealedBlob, open_chunk, seal_chunk, verify_blob};
use peerhold_tls::{Channel, Endpoint, Limits};

use crate::process::{tell, tell_usage, wait_for_end};

type Failed = Box<dyn Error + Send + Sync>;

/// A chunk as it lies on disks and crosses sockets.
const BLOB: usize = BLOB_HEADER + MIB;
/// Chunks that wait for the next stage.
const AHEAD: usize = 4;
/// What is sealed, and read from a socket, at once.
const PART: usize = 128 * KIB;

/// A secure channel with its socket.
struct Link {
    channel: Channel,
    socket: TcpStream,
    /// Plaintext that has come and was not taken.
    plain: BytesMut,
    buffer: Vec<u8>,
}

impl Link {
    fn new(socket: TcpStream, dialer: bool) -> Result<Self, Failed> {
        socket.set_nodelay(true)?;
        let key = SigningKey::from_bytes(&[if dialer { 1 } else { 2 }; 32]);
        let endpoint = Endpoint::new(key, Limits::default())?;
        let channel = match dialer {
            true => endpoint.client(None)?,
            false => endpoint.server()?,
        };
        let mut link = Self {
            channel,
            socket,
            plain: BytesMut::new(),
            buffer: vec![0; PART],
        };
        link.flush()?;
        while link.channel.peer().is_none() {
            link.read()?;
        }
        Ok(link)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let mut wire = BytesMut::new();
        self.channel.flush(&mut wire);
        Ok(self.socket.write_all(&wire)?)
    }

    fn read(&mut self) -> Result<(), Failed> {
        match self.socket.read(&mut self.buffer)? {
            0 => Err("the other end has gone".into()),
            count => {
                self.channel
                    .receive(&self.buffer[..count], &mut self.plain)?;
                self.flush()
            }
        }
    }

    fn send(&mut self, data: &[u8]) -> Result<(), Failed> {
        for part in data.chunks(PART) {
            let mut wire = BytesMut::new();
            self.channel.send(&mut [IoSlice::new(part)], &mut wire)?;
            self.socket.write_all(&wire)?;
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<Bytes, Failed> {
        self.plain.reserve(count.saturating_sub(self.plain.len()));
        while self.plain.len() < count {
            self.read()?;
        }
        Ok(self.plain.split_to(count).freeze())
    }
}

/// A new file. It is not removed before all rounds have ended.
fn file(dir: &str) -> Result<File, Failed> {
    Ok(tempfile::Builder::new()
        .disable_cleanup(true)
        .tempfile_in(dir)?
        .into_file())
}

/// A file that blobs are written to on a thread of its own, and synced at the
/// end.
fn disk(mut file: File) -> (SyncSender<Bytes>, JoinHandle<Result<File, Failed>>) {
    let (give, take): (_, Receiver<Bytes>) = sync_channel(AHEAD);
    let thread = thread::spawn(move || {
        for blob in take {
            file.write_all(&blob)?;
        }
        file.sync_data()?;
        Ok(file)
    });
    (give, thread)
}

fn join<T>(thread: JoinHandle<Result<T, Failed>>) -> Result<T, Failed> {
    thread.join().map_err(|_| "a thread has panicked")?
}

/// One of the two peers.
pub(crate) fn peer(dir: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    tell("listens", listener.local_addr()?);
    let (socket, _) = listener.accept()?;
    keep_and_return(dir, socket).map_err(|error| error.to_string())?;
    wait_for_end();
    tell_usage();
    Ok(())
}

fn keep_and_return(dir: &str, socket: TcpStream) -> Result<(), Failed> {
    let mut link = Link::new(socket, false)?;
    let number = |bytes: Bytes| bytes.first().copied().unwrap_or_default();
    let count = u32::from_be_bytes(link.take(4)?.as_ref().try_into()?);
    let mine = number(link.take(1)?);
    let (give, written) = disk(file(dir)?);
    for _ in 0..count {
        let id = BlobId(link.take(BlobId::LEN)?.as_ref().try_into()?);
        let blob = link.take(BLOB)?;
        if !verify_blob(&id, &blob) {
            return Err("a blob is not what it says".into());
        }
        give.send(blob)?;
    }
    drop(give);
    let mut file = join(written)?;
    link.send(b"!")?;
    link.take(1)?;
    let mut blob = vec![0; BLOB];
    for at in (0..count).filter(|at| at % 2 == u32::from(mine)) {
        file.seek(SeekFrom::Start(u64::from(at) * BLOB as u64))?;
        file.read_exact(&mut blob)?;
        link.send(&blob)?;
    }
    Ok(())
}

/// `DIR SIZE ADDR ADDR`: puts a file to both peers and gets it back.
pub(crate) fn writer(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [dir, size, first, second] = args else {
        return Err("the floor's writer has a folder, a size and two peers".into());
    };
    put_and_get(dir, size.parse::<usize>()? / MIB, [first, second])
        .map_err(|error| error.to_string())?;
    tell("done", "");
    wait_for_end();
    tell_usage();
    Ok(())
}

fn put_and_get(dir: &str, count: usize, addrs: [&str; 2]) -> Result<(), Failed> {
    let mut links = Vec::new();
    for (at, addr) in addrs.into_iter().enumerate() {
        let mut link = Link::new(TcpStream::connect(addr)?, true)?;
        link.send(&(count as u32).to_be_bytes())?;
        link.send(&[at as u8])?;
        links.push(link);
    }
    let begun = Instant::now();
    let (blobs, links) = put(file(dir)?, count, links)?;
    tell(
        "large put, MiB/s",
        count as f64 / begun.elapsed().as_secs_f64(),
    );
    let begun = Instant::now();
    get(blobs, links)?;
    tell(
        "large get, MiB/s",
        count as f64 / begun.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// What is kept of a file: its blobs without their bytes.
type Blobs = Vec<SealedBlob>;

fn put(file: File, count: usize, links: Vec<Link>) -> Result<(Blobs, Vec<Link>), Failed> {
    let reader = namespace().reader().clone();
    let pattern = noise(MIB);
    let (local, written) = disk(file);
    let mut sending = Vec::new();
    for mut link in links {
        let (give, take) = sync_channel::<(BlobId, Bytes)>(AHEAD);
        let thread = thread::spawn(move || {
            for (id, blob) in take {
                link.send(id.as_bytes())?;
                link.send(&blob)?;
            }
            link.take(1)?;
            Ok(link)
        });
        sending.push((give, thread));
    }
    let mut blobs = Vec::with_capacity(count);
    for number in 0..count {
        let mut plain = pattern.clone();
        plain[..8].copy_from_slice(&number.to_be_bytes());
        let blob = seal_chunk(&reader, chunk(&plain), 0)?;
        local.send(blob.bytes.clone())?;
        for (give, _) in &sending {
            give.send((blob.id, blob.bytes.clone()))?;
        }
        blobs.push(SealedBlob {
            bytes: Bytes::new(),
            ..blob
        });
    }
    drop(local);
    let mut links = Vec::new();
    for (give, thread) in sending {
        drop(give);
        links.push(join(thread)?);
    }
    join(written)?;
    Ok((blobs, links))
}

fn get(blobs: Blobs, links: Vec<Link>) -> Result<(), Failed> {
    let mut receiving = Vec::new();
    for (mine, mut link) in links.into_iter().enumerate() {
        let halves = blobs.iter().skip(mine).step_by(2);
        let half: Vec<SealedBlob> = halves.cloned().collect();
        receiving.push(thread::spawn(move || {
            link.send(b"?")?;
            let mut len = 0;
            for SealedBlob {
                id, key, len: of, ..
            } in half
            {
                let blob = link.take(BLOB)?;
                len += open_chunk(&id, &key, of as u32, blob, false)?.len();
            }
            Ok(len)
        }));
    }
    let mut len = 0;
    for thread in receiving {
        len += join(thread)?;
    }
    assert_eq!(len, blobs.len() * MIB, "all of it comes back");
    Ok(())
}
