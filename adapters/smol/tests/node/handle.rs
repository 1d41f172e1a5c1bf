//! The handle, whose files are read and written as all of smol's streams are.
//! That nodes do what they are asked to, the suite of all drivers shows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::cluster::{bytes, cluster, name, read, start, stop_all, writer};
use peerhold_smol::peerhold_core::{Get, OpError, Put};
use peerhold_smol::{ClientError, PutError};
use smol::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt};

#[test]
fn files_are_written_and_read_as_streams() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let (data, name) = (bytes(3 << 20, 9), name("f"));
        let put = Put {
            writer: writer(),
            name: name.clone(),
            modified: None,
        };
        let mut file = members[0].handle.put_writer(put).unwrap();
        let id = file.id().await.unwrap();
        file.write_all(&data[..1 << 20]).await.unwrap();
        file.push(data[1 << 20..].to_vec().into()).await.unwrap();
        file.close().await.unwrap();
        let late = file.write_all(b"late").await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::Other, "{late}");
        let stored = file.finish().await.unwrap();
        assert_eq!((stored.size, stored.put), (data.len() as u64, id));
        assert_eq!(file.progress(), stored.size);
        file.settled().await.unwrap();

        let handle = &members[1].handle;
        let mut file = handle.get(writer().reader(), &name).await.unwrap();
        let mut all = file.fill_buf().await.unwrap()[..100].to_vec();
        file.consume(100);
        all.extend(file.next_bytes().await.unwrap().unwrap());
        file.read_to_end(&mut all).await.unwrap();
        assert!(all == data);
        assert_eq!(file.next_bytes().await, Ok(None));
        let reader = writer();
        let part = handle.get_range(reader.reader(), &name, 1_000_000..1_100_000);
        let mut part = part.await.unwrap();
        assert_eq!(part.info().range, 1_000_000..1_100_000);
        all.clear();
        part.read_to_end(&mut all).await.unwrap();
        assert!(all == data[1_000_000..1_100_000]);
        stop_all(members).await;
    });
}

#[test]
fn what_a_file_was_is_found_by_name_and_restored() {
    smol::block_on(async {
        let member = start(|_| {});
        let (handle, name, writer) = (&member.handle, name("f"), writer());
        let reader = writer.reader();
        let first = handle.put(&writer, &name, &b"first"[..]).await.unwrap();
        handle.put(&writer, &name, &b"second"[..]).await.unwrap();
        handle.remove(&writer, &name).unwrap().await.unwrap();
        let mut list = handle.list(reader, "").unwrap();
        assert_eq!(list.next().await, Ok(None));
        let mut versions = handle.history(reader, &name).unwrap();
        let versions = versions.page(10).await.unwrap();
        let oldest = versions.last().unwrap().id;
        let mut old = handle.get_version(reader, &name, oldest).await.unwrap();
        let mut data = Vec::new();
        old.read_to_end(&mut data).await.unwrap();
        assert_eq!(data, b"first");
        let found = handle.outcome(reader, &name, first.put).await.unwrap();
        assert_eq!(found.map(|entry| entry.id), Some(oldest));
        let restored = handle.restore(&writer, &name, oldest).unwrap();
        assert_eq!(restored.await.unwrap().size, 5);
        assert_eq!(read(handle, &name).await, b"first");
        let get = Get::version(reader, &name, versions[1].id);
        let mut second = handle.get_with(get).await.unwrap();
        data.clear();
        second.read_to_end(&mut data).await.unwrap();
        assert_eq!(data, b"second");
        assert_eq!(handle.peers().await.unwrap(), []);
        member.stop().await;
    });
}

#[test]
fn a_file_that_is_not_there_is_not_found() {
    smol::block_on(async {
        let member = start(|_| {});
        let gone = member.handle.get(writer().reader(), &name("f")).await;
        let error = gone.map(drop).unwrap_err();
        assert_eq!(error, ClientError::Op(OpError::NotFound));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
        member.stop().await;
    });
}

#[test]
fn a_source_that_fails_stores_nothing() {
    smol::block_on(async {
        let member = start(|_| {});
        let source = b"some".chain(Broken);
        let error = member.handle.put(&writer(), &name("f"), source).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, PutError::Source(source) if source.to_string() == "bad sector"),
            "{error}"
        );
        let gone = member.handle.get(writer().reader(), &name("f")).await;
        assert!(
            matches!(gone, Err(ClientError::Op(OpError::NotFound))),
            "{gone:?}"
        );
        member.stop().await;
    });
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::other("bad sector")))
    }
}
