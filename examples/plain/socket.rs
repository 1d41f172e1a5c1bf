//! A connection's socket, and threads that block for it, so that the engine's
//! need not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::thread::Builder;

use peerhold_host::SocketId;

use crate::News;

/// A connection's socket and its two threads.
pub(crate) struct Conn {
    pub(crate) stream: Arc<TcpStream>,
    /// Is told to read so many bytes at most..
    pub(crate) reader: Helper<usize>,
    /// ..and to write these.
    pub(crate) writer: Helper<Vec<u8>>,
}

impl Conn {
    pub(crate) fn start(
        id: SocketId,
        stream: TcpStream,
        tell: &SyncSender<News>,
    ) -> io::Result<Self> {
        let stream = Arc::new(stream);
        let (source, sink) = (Arc::clone(&stream), Arc::clone(&stream));
        let read = move |space: usize| {
            let mut data = vec![0; space.min(256 << 10)];
            let count = loop {
                match (&*source).read(&mut data) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    count => break count,
                }
            };
            News::Read(
                id,
                count.map(|count| {
                    data.truncate(count);
                    data.into()
                }),
            )
        };
        let write = move |data: Vec<u8>| {
            let written = (&*sink).write_all(&data);
            News::Wrote(id, written.map(|()| data.len()))
        };
        Ok(Self {
            reader: Helper::start(tell, read)?,
            writer: Helper::start(tell, write)?,
            stream,
        })
    }
}

/// Ends what blocks in a read or a write, and so its threads.
impl Drop for Conn {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A thread that may block: it does one thing whenever it is told to, and tells
/// what came of it. It ends by itself when nobody can tell it to go on.
pub(crate) struct Helper<T> {
    orders: Sender<T>,
    /// What it was told is not done yet.
    pub(crate) busy: bool,
}

impl<T: Send + 'static> Helper<T> {
    /// `work` is what it does, and gives what is to be told.
    pub(crate) fn start<N: Send + 'static>(
        tell: &SyncSender<N>,
        mut work: impl FnMut(T) -> N + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, todo) = channel();
        let tell = tell.clone();
        let run = move || while todo.recv().is_ok_and(|it| tell.send(work(it)).is_ok()) {};
        Builder::new().spawn(run)?;
        Ok(Self {
            orders,
            busy: false,
        })
    }

    /// Tells it to do something. Not while it is busy.
    pub(crate) fn give(&mut self, order: T) {
        self.busy = self.orders.send(order).is_ok();
    }
}
