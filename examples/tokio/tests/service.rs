//! The web service over real HTTP.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures_lite::StreamExt;
use futures_lite::stream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use peerhold_examples_tokio::{Failure, Options, Service};
use peerhold_tokio::peerhold_core::Ticket;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long the slowest of machines may take.
const LIMIT: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;

/// A service that runs, and a connection to it.
struct Running {
    to: http1::SendRequest<Body>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Failure>>,
    /// Of one that listens.
    ticket: Option<Ticket>,
}

/// A service that nobody can join.
fn options(data: &Path, copies: u8) -> Options {
    Options {
        data: data.to_owned(),
        listen: Vec::new(),
        join: None,
        replicas: copies,
        durable: copies,
        patience: LIMIT,
        grace: Duration::from_secs(10),
    }
}

impl Running {
    /// A cluster of one.
    async fn start(data: &Path) -> Self {
        Self::open(options(data, 1)).await
    }

    async fn open(options: Options) -> Self {
        let service = Service::open(options).unwrap();
        let ticket = match service.node().addrs() {
            [] => None,
            _ => Some(service.node().client().ticket().await.unwrap()),
        };
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(http.local_addr().unwrap())
            .await
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(service.serve(http, async {
            stopped.await.unwrap();
        }));
        let (to, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the connection, whatever way that ends.
        tokio::spawn(async { drop(connection.await) });
        Self {
            to,
            stop,
            serving,
            ticket,
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Body,
    ) -> (StatusCode, HeaderMap, Body) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "test");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.to.ready().await.unwrap();
        let answer = self.to.send_request(request.body(body).unwrap()).await;
        let (parts, body) = answer.unwrap().into_parts();
        (parts.status, parts.headers, Body::new(body))
    }

    /// The status and the whole body.
    async fn get(
        &mut self,
        path: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> (StatusCode, HeaderMap, Bytes) {
        let (status, headers, body) = self.ask(Method::GET, path, headers, Body::empty()).await;
        (status, headers, whole(body).await)
    }

    async fn put(
        &mut self,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let (status, headers, body) = self.ask(Method::PUT, path, headers, body.into()).await;
        (status, headers, whole(body).await)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

async fn whole(body: Body) -> Bytes {
    axum::body::to_bytes(body, 128 * MIB).await.unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime: Runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.unwrap() });
}

#[test]
fn what_is_uploaded_is_read_in_parts_listed_and_deleted() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::start(dir.path()).await;
        let text = "0123456789";
        let (status, headers, told) = service.put("/files/a%20dir/digits", &[], text).await;
        assert_eq!(status, StatusCode::CREATED);
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!((&told["size"], &told["copies"]), (&10.into(), &1.into()));
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();

        let path = "/files/a%20dir/digits";
        let (status, headers, body) = service.get(path, &[]).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, text.as_bytes()));
        assert_eq!(headers[header::CONTENT_LENGTH], "10");
        assert_eq!(headers[header::ETAG], tag.as_str());
        let had = [(header::IF_NONE_MATCH, tag.as_str())];
        assert_eq!(service.get(path, &had).await.0, StatusCode::NOT_MODIFIED);

        for (range, part, content) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=8-99", "bytes 8-9/10", "89"),
            ("bytes=-3", "bytes 7-9/10", "789"),
            ("bytes=-99", "bytes 0-9/10", "0123456789"),
        ] {
            let (status, headers, body) = service.get(path, &[(header::RANGE, range)]).await;
            assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(headers[header::CONTENT_RANGE], part);
            assert_eq!(&body[..], content.as_bytes());
        }
        for range in ["bytes=10-", "bytes=11-12", "bytes=-0"] {
            let (status, headers, _) = service.get(path, &[(header::RANGE, range)]).await;
            assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
            assert_eq!(headers[header::CONTENT_RANGE], "bytes */10");
        }
        let stale = [
            (header::RANGE, "bytes=2-4"),
            (header::IF_RANGE, "\"other\""),
        ];
        assert_eq!(service.get(path, &stale).await.0, StatusCode::OK);

        service.put("/files/other", &[], "x").await;
        let (status, _, list) = service.get("/files/?prefix=a%20d", &[]).await;
        assert_eq!(status, StatusCode::OK);
        let entry: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(
            (&entry["name"], &entry["size"]),
            (&"a dir/digits".into(), &10.into())
        );
        let (_, _, list) = service.get("/files/", &[]).await;
        assert_eq!(list.split(|byte| *byte == b'\n').count(), 3);

        let (status, headers, body) = service.ask(Method::HEAD, path, &[], Body::empty()).await;
        assert_eq!((status, whole(body).await.len()), (StatusCode::OK, 0));
        assert_eq!(headers[header::CONTENT_LENGTH], "10");
        let (status, _, _) = service.ask(Method::DELETE, path, &[], Body::empty()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let (status, _, body) = service.ask(method.clone(), path, &[], Body::empty()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method}");
            whole(body).await;
        }
        service.stop().await;
    });
}

#[test]
fn writes_that_expect_another_state_are_refused_and_change_nothing() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::start(dir.path()).await;
        let new = [(header::IF_NONE_MATCH, "*")];
        let (status, headers, _) = service.put("/files/f", &new, "first").await;
        assert_eq!(status, StatusCode::CREATED);
        let first = headers[header::ETAG].to_str().unwrap().to_owned();
        let (status, ..) = service.put("/files/f", &new, "again").await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
        let same = [(header::IF_MATCH, first.as_str())];
        let (status, ..) = service.put("/files/f", &same, "second").await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, ..) = service
            .ask(Method::DELETE, "/files/f", &same, Body::empty())
            .await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(&service.get("/files/f", &[]).await.2[..], b"second");
        let (status, ..) = service.put("/files/none", &same, "x").await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
        service.stop().await;
    });
}

#[test]
fn sixty_four_mib_go_in_and_out_in_pieces_and_outlast_a_restart() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::start(dir.path()).await;
        let piece = |number: u8| Bytes::from(vec![number; MIB]);
        // Of unknown length, as a client sends what it makes on the way.
        let pieces = stream::iter(0..64).map(move |n| Ok::<_, std::io::Error>(piece(n)));
        let body = Body::from_stream(pieces);
        let (status, ..) = service.put("/files/large", &[], body).await;
        assert_eq!(status, StatusCode::CREATED);
        service.stop().await;

        let mut service = Running::start(dir.path()).await;
        let (status, headers, body) = service
            .ask(Method::GET, "/files/large", &[], Body::empty())
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CONTENT_LENGTH], (64 * MIB).to_string());
        let mut pieces = body.into_data_stream();
        let mut at = 0;
        while let Some(piece) = pieces.next().await {
            for byte in piece.unwrap() {
                assert_eq!(byte, (at / MIB) as u8, "byte {at}");
                at += 1;
            }
        }
        assert_eq!(at, 64 * MIB);
        service.stop().await;
    });
}

#[test]
fn an_upload_that_breaks_off_stores_nothing() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::start(dir.path()).await;
        service.put("/files/f", &[], "whole").await;
        let pieces = stream::iter([Ok("half"), Err(std::io::Error::other("gone"))]);
        let request = Request::put("/files/f")
            .header(header::HOST, "test")
            .body(Body::from_stream(pieces))
            .unwrap();
        service.to.ready().await.unwrap();
        service.to.send_request(request).await.unwrap_err();
        service.stop().await;
        let mut service = Running::start(dir.path()).await;
        assert_eq!(&service.get("/files/f", &[]).await.2[..], b"whole");
        service.stop().await;
    });
}

#[test]
fn names_that_are_none_and_places_that_are_none_are_told_apart() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::start(dir.path()).await;
        let long = format!("/files/{}", "n".repeat(1025));
        let (status, _, told) = service.get(&long, &[]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(serde_json::from_slice::<serde_json::Value>(&told).unwrap()["error"].is_string());
        assert_eq!(
            service.get("/elsewhere", &[]).await.0,
            StatusCode::NOT_FOUND
        );
        let (status, ..) = service
            .ask(Method::POST, "/files/f", &[], Body::empty())
            .await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        service.stop().await;
    });
}

#[test]
fn without_enough_members_an_upload_is_refused_with_the_numbers() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Running::open(Options {
            patience: Duration::from_millis(300),
            ..options(dir.path(), 2)
        })
        .await;
        let (status, headers, told) = service.put("/files/f", &[], "x").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(headers[header::RETRY_AFTER], "1");
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["needed"], 2, "{told}");
        service.stop().await;
    });
}

#[test]
fn a_service_that_joins_by_ticket_serves_the_same_files_and_remembers_whom_it_joined() {
    run(async {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = dirs.each_ref().map(|dir| dir.path());
        let mut founder = Running::open(Options {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            ..options(first, 2)
        })
        .await;
        let secret = "namespace.secret";
        std::fs::copy(first.join(secret), second.join(secret)).unwrap();
        let mut joiner = Running::open(Options {
            join: founder.ticket.clone(),
            ..options(second, 2)
        })
        .await;
        // Durable at both, so it waits until they have met.
        let (status, ..) = founder.put("/files/f", &[], "from the founder").await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(
            &joiner.get("/files/f", &[]).await.2[..],
            b"from the founder"
        );
        joiner.stop().await;

        let mut joiner = Running::open(options(second, 2)).await;
        let (status, ..) = joiner.put("/files/f", &[], "from the joiner").await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(
            &founder.get("/files/f", &[]).await.2[..],
            b"from the joiner"
        );
        joiner.stop().await;
        founder.stop().await;
    });
}
