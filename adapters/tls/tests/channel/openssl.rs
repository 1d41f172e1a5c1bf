//! A program that everybody has, against our listener.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use peerhold_tls::ChannelError;

use crate::support::*;

/// What our listener says to `openssl s_client` with these arguments; `None`
/// if there is no such program.
fn refused(args: &[&str]) -> Option<ChannelError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &addr])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let (mut socket, _) = listener.accept().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut channel = endpoint(OURS).server().unwrap();
    let mut buffer = [0; 4096];
    let error = loop {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "openssl gave up before it was refused");
        let taken = channel.receive(&buffer[..count], &mut BytesMut::new());
        socket.write_all(&flushed(&mut channel)).unwrap();
        if let Err(error) = taken {
            break error;
        }
    };
    drop(socket);
    assert!(!child.wait().unwrap().success());
    assert_eq!(channel.peer(), None);
    Some(error)
}

#[test]
fn openssl_s_client_is_refused() {
    let Some(old) = refused(&["-tls1_2"]) else {
        eprintln!("openssl_s_client_is_refused: not run, as `openssl` is not installed");
        return;
    };
    assert_eq!(old, ChannelError::Version);
    // Whatever it makes of the key agreement, it has no raw key to show.
    let new = refused(&["-tls1_3", "-alpn", "peerhold/1"]);
    assert!(
        matches!(new, Some(ChannelError::Algorithms | ChannelError::Key)),
        "{new:?}"
    );
    let plain = refused(&["-tls1_3", "-groups", "X25519"]);
    assert!(
        matches!(
            plain,
            Some(ChannelError::Algorithms | ChannelError::Key | ChannelError::Protocol)
        ),
        "{plain:?}"
    );
}
