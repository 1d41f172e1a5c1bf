//! Handles against an engine that the test plays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use peerhold_core::seal::{Name, NamespaceSecret};

use super::mail::{Sizes, Waiting};
use super::*;
use crate::engine::wake::Signal;

const SIZES: Sizes = Sizes {
    mailbox: 2,
    put_buffer: 100,
    get_buffer: 100,
    events: 4,
};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn client() -> (Client, Arc<Shared>) {
    let shared = Shared::new(NodeId([1; 32]), Arc::new(Signal::default()), SIZES);
    (Client::new(Arc::clone(&shared)), shared)
}

fn put() -> Put {
    let writer = NamespaceSecret::from_bytes([1; 32]).writer();
    Put {
        writer,
        name: Name::new("f").unwrap(),
        modified: None,
    }
}

fn get() -> Get {
    let reader = put().writer.reader().clone();
    Get::newest(&reader, &put().name)
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn cell(shared: &Shared) -> Arc<Cell> {
    let (_, cell): Waiting = shared.next_command().unwrap();
    cell
}

#[test]
fn commands_wait_in_order_and_in_bounded_number() {
    let (client, shared) = client();
    let _put = client.put(put()).unwrap();
    let _get = client.get(get()).unwrap();
    assert_eq!(
        client.put(put()).unwrap_err(),
        ClientError::Busy { limit: 2 }
    );
    assert!(matches!(shared.next_command(), Some((Command::Put(_), _))));
    assert!(matches!(shared.next_command(), Some((Command::Get(_), _))));
    assert!(shared.next_command().is_none());
}

#[test]
fn an_operation_dropped_while_it_waits_leaves_the_line() {
    let (client, shared) = client();
    drop(client.put(put()).unwrap());
    let _get = client.get(get()).unwrap();
    assert!(matches!(shared.next_command(), Some((Command::Get(_), _))));
}

#[test]
fn an_operation_dropped_while_it_runs_is_told_to_the_engine() {
    let (client, shared) = client();
    let op = client.put(put()).unwrap();
    let cell = cell(&shared);
    drop(op);
    let touched = shared.look().touched;
    assert!(Arc::ptr_eq(&touched[0], &cell) && cell.state().gone);
}

#[test]
fn a_put_takes_no_more_than_its_buffer_until_there_is_room() {
    let (client, shared) = client();
    let mut op = client.put(put()).unwrap();
    let cell = cell(&shared);
    assert_eq!(poll(op.write(vec![0; 100].into())), Poll::Ready(Ok(())));
    assert_eq!(poll(op.write(vec![1; 1].into())), Poll::Pending);
    assert!(cell.state().wants_room);
    cell.state().pop();
    assert_eq!(poll(op.write(vec![1; 1].into())), Poll::Ready(Ok(())));
}

#[test]
fn small_writes_gather_until_the_put_is_flushed_or_finished() {
    let (client, shared) = client();
    let mut op = client.put(put()).unwrap();
    let cell = cell(&shared);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert_eq!(op.poll_write(&mut cx, b"abc"), Poll::Ready(Ok(3)));
    }
    assert_eq!(cell.state().buffered, 0);
    assert_eq!(poll(op.finish()), Poll::Pending);
    assert_eq!(cell.state().pop().unwrap(), "abcabcabc");
    assert!(cell.state().finish);
    assert_eq!(
        op.poll_write(&mut cx, b"late"),
        Poll::Ready(Err(ClientError::Finished))
    );
}

#[test]
fn a_reader_is_woken_by_data_and_asks_for_more_at_half_a_buffer() {
    let (client, shared) = client();
    let mut op = client.get(get()).unwrap();
    let cell = cell(&shared);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(op.poll_read(&mut Context::from_waker(&waker)).is_pending());
    cell.tell(|state| (0..3).for_each(|_| state.push(vec![0; 40].into())));
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(op.read()), Poll::Ready(Ok(Some(_)))));
    assert!(shared.look().touched.is_empty(), "80 of 100 bytes are left");
    assert!(matches!(poll(op.read()), Poll::Ready(Ok(Some(_)))));
    assert_eq!(shared.look().touched.len(), 1);
}

#[test]
fn data_comes_before_the_end_that_follows_it() {
    let (client, shared) = client();
    let mut op = client.get(get()).unwrap();
    let cell = cell(&shared);
    cell.tell(|state| state.push(Bytes::from_static(b"data")));
    cell.end(Err(ClientError::Op(OpError::Missing)));
    assert_eq!(
        poll(op.read()),
        Poll::Ready(Ok(Some(Bytes::from_static(b"data"))))
    );
    assert_eq!(
        poll(op.read()),
        Poll::Ready(Err(ClientError::Op(OpError::Missing)))
    );
}

#[test]
fn the_engines_end_ends_everything_that_waits() {
    let (client, shared) = client();
    let mut waiting = client.put(put()).unwrap();
    let status = shared.ask(|node, _| node.status()).unwrap();
    let watch = shared.watch().unwrap();
    let mut events = client.events();
    let end = client.shutdown(Duration::from_secs(1));
    shared.close();
    assert_eq!(
        poll(waiting.finish()),
        Poll::Ready(Err(ClientError::Closed))
    );
    let cx = Context::from_waker(Waker::noop());
    assert_eq!(status.poll(&cx), Poll::Ready(Err(ClientError::Closed)));
    assert_eq!(watch.poll(&cx), Poll::Ready(Err(ClientError::Closed)));
    assert_eq!(poll(events.next()), Poll::Ready(None));
    assert_eq!(poll(end), Poll::Ready(()));
    assert_eq!(client.put(put()).unwrap_err(), ClientError::Closed);
    assert_eq!(poll(client.shutdown(Duration::ZERO)), Poll::Ready(()));
    assert_eq!(poll(client.events().next()), Poll::Ready(None));
}

#[test]
fn the_shortest_limit_counts_and_new_operations_are_refused() {
    let (client, shared) = client();
    drop(client.shutdown(Duration::from_secs(5)));
    drop(client.shutdown(Duration::from_secs(1)));
    drop(client.shutdown(Duration::from_secs(3)));
    assert_eq!(shared.look().limit, Some(Duration::from_secs(1)));
    assert_eq!(client.get(get()).unwrap_err(), ClientError::ShuttingDown);
}

#[test]
fn the_last_handle_or_operation_to_go_ends_the_node() {
    let (client, shared) = client();
    let op = client.clone().put(put()).unwrap();
    drop(client);
    assert_eq!(shared.look().limit, None);
    drop(op);
    assert_eq!(shared.look().limit, Some(Duration::ZERO));
}

#[test]
fn a_thread_that_turns_the_engine_is_not_parked() {
    let (client, shared) = client();
    shared.look();
    assert_eq!(client.blocking().status(), Err(ClientError::WouldDeadlock));
    assert!(shared.look().asks.is_empty(), "it has asked nevertheless");
    std::thread::spawn(move || shared.look()).join().unwrap();
    drop(client.shutdown(Duration::ZERO));
}

#[test]
fn a_source_is_read_to_its_end_and_then_the_put_is_finished() {
    let (client, shared) = client();
    let mut reads = [Ok(2), Err(io::ErrorKind::Interrupted.into()), Ok(3), Ok(0)].into_iter();
    let source = |_: &mut Context<'_>, buf: &mut [u8]| {
        let read = reads.next().expect("the end is read once");
        if let Ok(count) = read {
            buf[..count].fill(b'x');
        }
        Poll::Ready(read)
    };
    let mut putting = std::pin::pin!(client.put_from(put(), source));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(putting.as_mut().poll(&mut cx).is_pending());
    let cell = cell(&shared);
    assert_eq!(cell.state().pop().unwrap(), "xxxxx");
    assert!(cell.state().finish && cell.state().pop().is_none());
}

#[test]
fn a_source_that_fails_cancels_the_put_and_one_that_waits_is_waited_for() {
    let (client, shared) = client();
    let mut ready = false;
    let source = |_: &mut Context<'_>, _: &mut [u8]| match std::mem::replace(&mut ready, true) {
        false => Poll::Pending,
        true => Poll::Ready(Err(io::Error::other("on fire"))),
    };
    let mut putting = Box::pin(client.put_from(put(), source));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(putting.as_mut().poll(&mut cx).is_pending());
    let cell = cell(&shared);
    let failed = putting.as_mut().poll(&mut cx);
    assert!(matches!(failed, Poll::Ready(Err(PutError::Source(_)))));
    assert!(cell.state().gone && !cell.state().finish);
}
