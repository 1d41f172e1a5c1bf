//! Stands between a node and whoever dials it, and keeps all that crosses.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// One node's tap.
pub(crate) struct Tap {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: JoinHandle<Vec<JoinHandle<Vec<u8>>>>,
}

impl Tap {
    /// Passes on to `to` whatever comes to `listener`, and back.
    pub(crate) fn start(listener: TcpListener, to: SocketAddr) -> Self {
        let addr = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let accepting = thread::spawn(move || {
            let mut passing = Vec::new();
            while let Ok((dialler, _)) = listener.accept() {
                if told.load(Ordering::Acquire) {
                    break;
                }
                // A node that has ended refuses: so does its tap.
                let Ok(node) = TcpStream::connect(to) else {
                    continue;
                };
                let back = (node.try_clone().unwrap(), dialler.try_clone().unwrap());
                passing.push(thread::spawn(move || pass(dialler, node)));
                passing.push(thread::spawn(move || pass(back.0, back.1)));
            }
            passing
        });
        Self {
            addr,
            stop,
            accepting,
        }
    }

    /// Where to dial.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it, once the connections have ended: what went over each, each
    /// way.
    pub(crate) fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.addr));
        let passing = self.accepting.join().unwrap();
        passing.into_iter().map(|one| one.join().unwrap()).collect()
    }
}

/// Passes all bytes on, and gives them back at the end.
pub(crate) fn pass(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    seen
}
