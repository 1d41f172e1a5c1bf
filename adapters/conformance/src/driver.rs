//! What a driver shows of itself to be tested.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use peerhold_host::{Client, HostConfig, StartError};

/// A driver, as the suite sees it.
pub trait Driver: Send + Sync + 'static {
    /// Does what the driver's own `open` does: listens, opens the data
    /// directory, makes a node. It runs when the suite says so.
    ///
    /// # Errors
    /// The driver's. Nothing runs then, and no socket is left open.
    fn open(&self, config: HostConfig) -> Result<Opened, StartError>;
}

/// A node that has been opened and does not run yet.
pub struct Opened {
    pub(crate) client: Client,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) run: Box<dyn FnOnce(Abandon) + Send>,
}

impl Opened {
    /// `client` is the node's handle, and the only one that is kept; `addrs`
    /// are the addresses that it listens on, ports included.
    ///
    /// `run` is called on a thread of its own. It drives the node and returns
    /// when that has ended; or, when it is asked to [`Abandon`] the node, as
    /// soon as it has dropped the driver. It also ends whatever it has started
    /// to drive the node, a runtime for instance.
    pub fn new(
        client: Client,
        addrs: Vec<SocketAddr>,
        run: impl FnOnce(Abandon) + Send + 'static,
    ) -> Self {
        Self {
            client,
            addrs,
            run: Box::new(run),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("client", &self.client)
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// The suite's wish that a driver be dropped in the middle of its work.
///
/// A driver that is a future is raced against this one, which is ready when
/// the wish is there. A driver that is a loop looks at
/// [`Abandon::is_wished`] every time it has turned: the suite sees to it that
/// the node has something to turn for.
#[derive(Clone, Debug, Default)]
pub struct Abandon {
    wish: Arc<Mutex<Wish>>,
}

#[derive(Debug, Default)]
struct Wish {
    is_there: bool,
    waker: Option<Waker>,
}

impl Abandon {
    /// Whether the driver is to be dropped now.
    pub fn is_wished(&self) -> bool {
        self.with(|wish| wish.is_there)
    }

    pub(crate) fn wish(&self) {
        let waker = self.with(|wish| {
            wish.is_there = true;
            wish.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Wish) -> T) -> T {
        look(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Future for Abandon {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|wish| {
            if wish.is_there {
                return Poll::Ready(());
            }
            wish.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wish_wakes_who_waits_for_it_and_stays() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let abandon = Abandon::default();
        let mut other = abandon.clone();
        assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
        assert!(!other.is_wished());
        abandon.wish();
        assert!(woken.0.load(Ordering::Relaxed) && other.is_wished());
        assert!(Pin::new(&mut other).poll(&mut cx).is_ready());
    }
}
