//! Nodes of the driver under test, on loopback, on ports that the system
//! chooses.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::client::Blocking;
use peerhold_host::peerhold_core::{
    Bootstrap, ClusterKey, Get, Name, NamespaceSecret, Put, Remove, Stored, Writer,
};
use peerhold_host::{Client, ClientError, HostConfig, Notice, StartError};
use tempfile::TempDir;

use crate::driver::{Abandon, Driver};

/// How long a case may take before it counts as one that hangs. On an idle
/// machine each takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// For a shutdown that waits for nothing but the node's own work.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Where a case has its nodes from. [`run`] makes it.
pub struct Lab {
    driver: Arc<dyn Driver>,
    test: &'static str,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("test", &self.test)
            .finish_non_exhaustive()
    }
}

/// Runs one case; `test` is the whole path of the test that this is, by which
/// a case finds itself again in a process of its own.
/// [`suite!`](crate::suite) calls it in every test that it makes.
///
/// # Panics
/// If the driver does not behave as the case demands, or the case hangs.
pub fn run(driver: impl Driver, test: &'static str, case: fn(&Lab)) {
    let lab = Lab {
        driver: Arc::new(driver),
        // Without the name of the crate.
        test: test.split_once("::").map_or(test, |(_, rest)| rest),
    };
    let (ended, end) = channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        case(&lab);
    });
    if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        panic!("{test} has not ended after {LIMIT:?}: the driver sleeps while there is work");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    /// The name of the test that this is.
    pub(crate) fn test(&self) -> &'static str {
        self.test
    }

    /// Whether this process runs this test and nothing else. If not, one that
    /// does is started by this line of a shell, in which `"$@"` is the test, and
    /// must pass.
    pub(crate) fn is_alone(&self, line: &str) -> bool {
        const ALONE: &str = "PEERHOLD_CONFORMANCE_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let run = Command::new("sh")
            .args(["-c", line, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", self.test, "--test-threads", "1"])
            .args(["--include-ignored"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = [&run.stdout[..], &run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        false
    }

    /// Opens a node without running it.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn try_open(&self, config: HostConfig) -> Result<(), StartError> {
        self.driver.open(config).map(drop)
    }

    /// Starts a node whose configuration is that of one by itself, changed.
    pub(crate) fn start(&self, change: impl FnOnce(&mut HostConfig)) -> Member {
        self.start_in(TempDir::new().unwrap(), change)
    }

    /// As [`Lab::start`], with what a directory holds.
    pub(crate) fn start_in(&self, dir: TempDir, change: impl FnOnce(&mut HostConfig)) -> Member {
        let mut config = alone(dir.path());
        change(&mut config);
        let opened = self.driver.open(config).unwrap();
        let abandon = Abandon::default();
        let (run, wish) = (opened.run, abandon.clone());
        let runner = Runner {
            thread: Some(thread::spawn(move || run(wish))),
            abandon,
        };
        Member {
            client: opened.client,
            addrs: opened.addrs,
            runner,
            dir,
        }
    }

    /// Starts a cluster of this many nodes with R = 3 and W = 2, and waits
    /// until all have met.
    pub(crate) fn cluster(
        &self,
        count: usize,
        mut change: impl FnMut(usize, &mut HostConfig),
    ) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for index in 0..count {
            let bootstrap: Vec<Bootstrap> = members.iter().map(Member::bootstrap).collect();
            members.push(self.start(|config| {
                three(config);
                config.node.bootstrap = bootstrap;
                change(index, config);
            }));
        }
        for member in &members {
            member.meet(count, count - 1);
        }
        members
    }
}

/// A configuration for one node by itself, with short deadlines.
pub(crate) fn alone(dir: &Path) -> HostConfig {
    let mut config = HostConfig::new(dir, cluster_key()).unwrap();
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.node.replicas = 1;
    config.node.durable = 1;
    config.node.timing.dial_min = Duration::from_millis(20);
    config.node.timing.dial_max = Duration::from_millis(200);
    config
}

/// Three copies, of which two finish a put.
pub(crate) fn three(config: &mut HostConfig) {
    (config.node.replicas, config.node.durable) = (3, 2);
}

/// Two copies, both of which a put needs.
pub(crate) fn two(config: &mut HostConfig) {
    (config.node.replicas, config.node.durable) = (2, 2);
}

pub(crate) fn cluster_key() -> ClusterKey {
    ClusterKey::from_bytes([7; 32])
}

/// A node that runs.
pub(crate) struct Member {
    pub(crate) client: Client,
    addrs: Vec<SocketAddr>,
    runner: Runner,
    dir: TempDir,
}

/// The thread on which a driver runs.
struct Runner {
    thread: Option<JoinHandle<()>>,
    abandon: Abandon,
}

impl Runner {
    fn join(mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.abandon.wish();
        // A case that has failed does not wait for a driver that may hang.
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            let _ = thread.join();
        }
    }
}

impl Member {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    pub(crate) fn bootstrap(&self) -> Bootstrap {
        self.addr().to_string().into()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The calls that wait.
    pub(crate) fn blocking(&self) -> Blocking {
        self.client.blocking()
    }

    /// Waits for a future of this node.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.blocking().wait(future).unwrap()
    }

    /// Waits until so many members are active and so many peers admitted.
    pub(crate) fn meet(&self, members: usize, peers: usize) {
        let met = |status: &peerhold_host::peerhold_core::Status| {
            status.active() >= members && status.peers.len() >= peers
        };
        self.blocking().wait_until(met).unwrap();
    }

    /// Stores a file.
    pub(crate) fn try_put(&self, name: &str, data: &Bytes) -> Result<Stored, ClientError> {
        self.blocking().put_bytes(put(name), data.clone())
    }

    /// Stores a file that has to be stored.
    pub(crate) fn put(&self, name: &str, data: &Bytes) -> Stored {
        let stored = self.try_put(name, data);
        stored.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Stores a file and waits until all members that are to have it do.
    pub(crate) fn put_settled(&self, name: &str, data: &Bytes) {
        let mut op = self.blocking().put(put(name)).unwrap();
        op.push(data.clone()).unwrap();
        op.finish().unwrap();
        op.settled().unwrap();
    }

    /// A whole file.
    pub(crate) fn try_read(&self, name: &str) -> Result<Bytes, ClientError> {
        let (info, data) = self.blocking().get_bytes(get(name), usize::MAX)?;
        assert_eq!(info.size, data.len() as u64, "{name}");
        Ok(data)
    }

    /// A whole file that has to be there.
    pub(crate) fn read(&self, name: &str) -> Bytes {
        let data = self.try_read(name);
        data.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Sees that a file has this content.
    pub(crate) fn holds(&self, name: &str, data: &Bytes) {
        // Not `assert_eq`, which would print both.
        assert!(self.read(name) == *data, "{name} differs");
    }

    /// Removes a file.
    pub(crate) fn try_remove(&self, name: &str) -> Result<Stored, ClientError> {
        let (writer, name) = (writer(), self::name(name));
        self.blocking().remove(Remove { writer, name })
    }

    /// Removes a file that is there.
    pub(crate) fn remove(&self, name: &str) {
        let removed = self.try_remove(name);
        removed.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The next of its notices that is wanted.
    pub(crate) fn told<T>(
        &self,
        notices: &mut impl Iterator<Item = Notice>,
        wanted: impl FnMut(Notice) -> Option<T>,
    ) -> T {
        notices
            .find_map(wanted)
            .expect("the node runs until that was told")
    }

    /// What it tells from now on.
    pub(crate) fn notices(&self) -> impl Iterator<Item = Notice> + use<> {
        self.blocking().events().map(Result::unwrap)
    }

    /// Ends it in good order.
    pub(crate) fn stop(self) -> TempDir {
        self.blocking().shutdown(SOON).unwrap();
        self.ended()
    }

    /// Waits until its driver has ended by itself. Its handle is dropped.
    pub(crate) fn ended(self) -> TempDir {
        drop(self.client);
        self.runner.join();
        self.dir
    }

    /// Drops its driver in the middle of its work.
    pub(crate) fn abandon(self) -> (Client, TempDir) {
        self.runner.abandon.wish();
        // A loop that sleeps has to turn to see that.
        is_ready(pin!(self.client.status()));
        self.runner.join();
        (self.client, self.dir)
    }
}

/// Ends nodes in good order.
pub(crate) fn stop_all(members: impl IntoIterator<Item = Member>) {
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// What all of these come to, which run at once.
pub(crate) async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<(Pin<Box<_>>, Option<T>)> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    poll_fn(|cx| {
        let mut waiting = false;
        for (future, value) in &mut running {
            if value.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => *value = Some(done),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    running.into_iter().filter_map(|(_, value)| value).collect()
}

/// Looks at a future once.
pub(crate) fn is_ready<T>(future: Pin<&mut impl Future<Output = T>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    future.poll(&mut cx).is_ready()
}

pub(crate) fn writer() -> Writer {
    NamespaceSecret::from_bytes([5; 32]).writer()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn put(text: &str) -> Put {
    Put {
        writer: writer(),
        name: name(text),
        modified: None,
    }
}

pub(crate) fn get(text: &str) -> Get {
    Get::newest(writer().reader(), &name(text))
}

/// Numbers that look random, the same ones for a seed.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below `end`, which is above 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end as u64) as usize
    }

    /// One of these.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Bytes that repeat nowhere near.
pub(crate) fn bytes(len: usize, seed: u64) -> Bytes {
    let mut numbers = Numbers::new(seed);
    (0..len.div_ceil(8))
        .flat_map(|_| numbers.next().to_le_bytes())
        .take(len)
        .collect::<Vec<u8>>()
        .into()
}
