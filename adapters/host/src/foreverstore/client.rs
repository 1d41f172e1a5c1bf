//! The handle of the second port.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use peerhold_core::disk::DiskError;
use peerhold_core::foreverstore::{FilePath, OpError, OwnerId};
use peerhold_store::foreverstore::{Files, ReadFile};
use peerhold_store::vfs::OsVfs;

use super::tasks::Request;
use crate::client::mail::Slot;
use crate::client::{Blocking, Client, ClientError};

/// Bytes that go to or come from a file at once.
const PIECE: usize = 256 << 10;

/// The handle of a node's second port: files of this node's own, stored and had
/// back as a node of the Go program does. It keeps the node running as every other
/// handle does.
///
/// What it does not do: a file has no versions, and of two that are stored under
/// one name at once either may remain. A peer proves nothing; what it gives back
/// for a get is taken as it comes, as the language has no way to tell.
#[derive(Clone, Debug)]
pub struct Foreverstore {
    client: Client,
}

/// What handles know of the second port.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) id: OwnerId,
    pub(crate) addrs: OnceLock<Vec<SocketAddr>>,
}

/// How far a file that is kept here got among the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread {
    /// Peers that have sent back exactly what was sent to them.
    pub confirmed: usize,
    /// Those that have not, and why; by where they were dialled, or `None` for one
    /// that came from there.
    pub failed: Vec<(Option<SocketAddr>, OpError)>,
    /// Peers that are to be dialled and with which no connection stands.
    pub unreached: Vec<SocketAddr>,
}

impl Spread {
    /// Whether every peer that is connected has it, and if there are any to be
    /// dialled, at least one of them all.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && (self.confirmed > 0 || self.unreached.is_empty())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.confirmed + self.failed.len();
        write!(f, "{} of {asked} connected peers have it", self.confirmed)?;
        for (addr, error) in &self.failed {
            write!(f, "; {}: {error}", Shown(*addr))?;
        }
        for addr in &self.unreached {
            write!(f, "; {addr} is not connected")?;
        }
        Ok(())
    }
}

/// Who a peer is, as far as anybody knows.
struct Shown(Option<SocketAddr>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(addr) => write!(f, "{addr}"),
            None => f.write_str("one that came here"),
        }
    }
}

/// Why the second port did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeverstoreError {
    /// The node's, as for every other call.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no such file here, and none of these peers has sent one.
    #[error("no such file here, and {}", nobody(.0))]
    NotFound(Vec<(Option<SocketAddr>, OpError)>),
    /// This node's own files failed. What was there is as it was, except after
    /// [`DiskError::SyncFailed`].
    #[error("this node's files failed: {0}")]
    Disk(DiskError),
    /// Reading what was to be stored failed. Nothing was stored.
    #[error("reading the file failed, and nothing was stored: {0}")]
    Source(io::Error),
    /// Writing what was read failed.
    #[error("writing the file failed: {0}")]
    Sink(io::Error),
}

fn nobody(asked: &[(Option<SocketAddr>, OpError)]) -> String {
    if asked.is_empty() {
        return "no peer is connected".into();
    }
    let each = asked
        .iter()
        .map(|(addr, error)| format!("{}: {error}", Shown(*addr)));
    format!(
        "no peer has sent it: {}",
        each.collect::<Vec<_>>().join("; ")
    )
}

impl From<DiskError> for ForeverstoreError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::NotFound => Self::NotFound(Vec::new()),
            error => Self::Disk(error),
        }
    }
}

impl Foreverstore {
    /// `None` if the node has no second port.
    pub(crate) fn of(client: &Client) -> Option<Self> {
        client.shared().desk.get()?;
        let client = client.clone();
        Some(Self { client })
    }

    /// Who this node is among those of the Go program.
    pub fn id(&self) -> Option<OwnerId> {
        self.desk().map(|desk| desk.id)
    }

    /// The addresses that it listens on in their language, ports included.
    pub fn addrs(&self) -> &[SocketAddr] {
        let addrs = self.desk().and_then(|desk| desk.addrs.get());
        addrs.map_or(&[], Vec::as_slice)
    }

    /// The same calls for threads that can wait.
    pub fn blocking(&self) -> BlockingForeverstore {
        BlockingForeverstore {
            by: self.client.blocking(),
            port: self.clone(),
        }
    }

    /// Keeps what `source` holds under a name, in place of what was there, and
    /// sends it to every peer that is connected: each has to send it back before it
    /// counts. Peers whose first dial is still under way are waited for.
    ///
    /// Dropping the future before the file is kept leaves what was there.
    ///
    /// # Errors
    /// [`ForeverstoreError`], if it is not kept here. What became of it among the
    /// peers is no error of this call's: [`Spread::is_whole`] tells.
    pub async fn store(
        &self,
        name: &str,
        source: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Result<Spread, ForeverstoreError> {
        self.keep(name, source).await?;
        self.spread(name).await
    }

    /// [`Foreverstore::store`] of what is in memory.
    ///
    /// # Errors
    /// As there.
    pub async fn store_bytes(&self, name: &str, data: &[u8]) -> Result<Spread, ForeverstoreError> {
        let mut data = data;
        self.store(name, |_, buf| Poll::Ready(data.read(buf))).await
    }

    /// The first half of [`Foreverstore::store`]: keeps a file here and tells
    /// nobody. Its bytes.
    ///
    /// # Errors
    /// [`ForeverstoreError`]; the name then has what it had, except after
    /// [`DiskError::SyncFailed`].
    pub async fn keep(
        &self,
        name: &str,
        mut source: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Result<u64, ForeverstoreError> {
        let path = self.path(name)?;
        let mut file = self.errand(true, Files::begin).await??;
        loop {
            let mut piece = vec![0; PIECE];
            let mut len = 0;
            while len < piece.len() {
                let read = poll_fn(|cx| source(cx, &mut piece[len..])).await;
                match read.map_err(ForeverstoreError::Source)? {
                    0 => break,
                    count => len += count,
                }
            }
            if len == 0 {
                break;
            }
            let append = move |_: &Files<OsVfs>| {
                let appended = file.append(&piece[..len]);
                appended.map(|()| file)
            };
            file = self.errand(true, append).await??;
        }
        let size = file.len();
        let commit = move |files: &Files<OsVfs>| files.commit(file, &path);
        self.errand(true, commit).await??;
        Ok(size)
    }

    /// The second half of [`Foreverstore::store`]: sends a file that is kept here
    /// to every peer.
    ///
    /// # Errors
    /// As there. That there is no such file is every peer's failure.
    pub async fn spread(&self, name: &str) -> Result<Spread, ForeverstoreError> {
        let slot = Arc::new(Slot::default());
        let request = Request::Spread(name.to_owned(), Arc::clone(&slot));
        self.client.shared().request(request)?;
        Ok(poll_fn(|cx| slot.poll(cx)).await?)
    }

    /// Opens a file of this node's own; if it is not here, it is had from a peer
    /// first, and is here from then on. One peer after another is asked. As one
    /// that lacks it says nothing, this takes some seconds if none has it.
    ///
    /// # Errors
    /// [`ForeverstoreError`].
    pub async fn get(&self, name: &str) -> Result<OwnFile, ForeverstoreError> {
        match self.open(name).await {
            Err(ForeverstoreError::NotFound(_)) => {}
            opened => return opened,
        }
        let slot = Arc::new(Slot::default());
        let request = Request::Fetch(name.to_owned(), Arc::clone(&slot));
        self.client.shared().request(request)?;
        let fetched = poll_fn(|cx| slot.poll(cx)).await?;
        fetched.map_err(ForeverstoreError::NotFound)?;
        self.open(name).await
    }

    /// [`Foreverstore::get`] of what is here, without asking anybody.
    ///
    /// # Errors
    /// As there.
    pub async fn open(&self, name: &str) -> Result<OwnFile, ForeverstoreError> {
        let path = self.path(name)?;
        let open = move |files: &Files<OsVfs>| files.look_up(&path);
        let file = self.errand(false, open).await??;
        Ok(OwnFile {
            port: self.clone(),
            file: Arc::new(file),
            at: 0,
        })
    }

    /// Removes a file of this node's own here, and nothing beside it. Peers keep
    /// theirs: the language has no message for that. Whether it was here.
    ///
    /// # Errors
    /// [`ForeverstoreError`].
    pub async fn remove(&self, name: &str) -> Result<bool, ForeverstoreError> {
        let path = self.path(name)?;
        let remove = move |files: &Files<OsVfs>| files.remove(&path);
        Ok(self.errand(true, remove).await??)
    }

    fn desk(&self) -> Option<&Desk> {
        self.client.shared().desk.get()
    }

    fn path(&self, name: &str) -> Result<FilePath, ClientError> {
        let desk = self.desk().ok_or(ClientError::Closed)?;
        Ok(FilePath::own(&desk.id, name))
    }

    /// Has a worker do something with the files.
    async fn errand<T: Send + 'static>(
        &self,
        writes: bool,
        work: impl FnOnce(&Files<OsVfs>) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        let slot = Arc::new(Slot::default());
        let answer = Answer(Some(Arc::clone(&slot)));
        let work = move |files: &Files<OsVfs>| answer.give(work(files));
        let work = Box::new(work);
        let request = Request::Errand { writes, work };
        self.client.shared().request(request)?;
        poll_fn(|cx| slot.poll(cx)).await
    }
}

/// Answers an errand's caller, also if nobody does it.
struct Answer<T>(Option<Arc<Slot<T>>>);

impl<T> Answer<T> {
    fn give(mut self, value: T) {
        if let Some(slot) = self.0.take() {
            slot.set(Ok(value));
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.set(Err(ClientError::Closed));
        }
    }
}

/// A file of this node's own, open for reading. It stays as it was opened.
#[derive(Debug)]
pub struct OwnFile {
    port: Foreverstore,
    file: Arc<ReadFile<OsVfs>>,
    at: u64,
}

impl OwnFile {
    /// Its bytes, in plaintext.
    pub fn size(&self) -> u64 {
        self.file.len()
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// [`ForeverstoreError`], also if it has become shorter.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ForeverstoreError> {
        let left = self.file.len() - self.at;
        if left == 0 {
            return Ok(None);
        }
        let len = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = move |_: &Files<OsVfs>| file.read_at(at, len);
        let bytes = self.port.errand(false, read).await??;
        if bytes.is_empty() {
            return Err(ForeverstoreError::Disk(DiskError::Corrupt));
        }
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// [`Foreverstore`]'s calls, each of which parks the calling thread until it is
/// done, as those of [`Blocking`] do.
#[derive(Clone, Debug)]
pub struct BlockingForeverstore {
    by: Blocking,
    port: Foreverstore,
}

impl BlockingForeverstore {
    /// The handle whose calls these are.
    pub fn port(&self) -> &Foreverstore {
        &self.port
    }

    /// Waits for any future of this node, as [`Blocking::wait`].
    ///
    /// # Errors
    /// As there.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, ClientError> {
        self.by.wait(future)
    }

    /// As [`Foreverstore::store`].
    ///
    /// # Errors
    /// As there, and [`ClientError::WouldDeadlock`].
    pub fn store(&self, name: &str, mut source: impl Read) -> Result<Spread, ForeverstoreError> {
        let source = |_: &mut Context<'_>, buf: &mut [u8]| Poll::Ready(source.read(buf));
        self.by.wait(self.port.store(name, source))?
    }

    /// As [`Foreverstore::get`], to its end. Its bytes.
    ///
    /// # Errors
    /// As for [`BlockingForeverstore::store`], and [`ForeverstoreError::Sink`].
    pub fn get(&self, name: &str, mut sink: impl Write) -> Result<u64, ForeverstoreError> {
        let copy = pin!(async {
            let mut file = self.port.get(name).await?;
            while let Some(bytes) = file.next_bytes().await? {
                sink.write_all(&bytes).map_err(ForeverstoreError::Sink)?;
            }
            Ok::<u64, ForeverstoreError>(file.size())
        });
        self.by.wait(copy)?
    }

    /// As [`Foreverstore::remove`].
    ///
    /// # Errors
    /// As for [`BlockingForeverstore::store`].
    pub fn remove(&self, name: &str) -> Result<bool, ForeverstoreError> {
        self.by.wait(self.port.remove(name))?
    }
}
