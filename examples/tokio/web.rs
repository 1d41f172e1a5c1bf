//! What the service answers:
//!
//! | request | does |
//! | --- | --- |
//! | `PUT /files/NAME` | stores the body: 201, with `ETag` and how many copies there are |
//! | `GET /files/NAME` | 200, or 206 for one `Range` of bytes |
//! | `HEAD /files/NAME` | the same without the file |
//! | `DELETE /files/NAME` | removes it: 204 |
//! | `GET /files/?prefix=P` | lists the files, one JSON object a line |
//!
//! `If-Match` and `If-None-Match` are obeyed: 412, or 304 for a GET. Before a
//! write they are looked up and not locked: of two writers at the same moment
//! both may pass, and the later version is the newest.
//!
//! Files go through in pieces, both ways, however large they are.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_lite::StreamExt;
use futures_lite::stream::{self, Stream};
use peerhold_tokio::peerhold_core::{
    Entry, FileInfo, Get, Name, OpError, Put, PutId, UnixMillis, Writer,
};
use peerhold_tokio::{ClientError, GetReader, Handle, Listing};
use serde_json::json;

use crate::range::Wanted;
use crate::refusal::Refusal;

/// Set on what may not be the newest version.
const UNCONFIRMED: HeaderName = HeaderName::from_static("x-peerhold-unconfirmed");

/// The service's requests, answered by this node in this namespace.
pub(crate) fn router(node: Handle, writer: Writer) -> Router {
    let file = get(read).head(head).put(store).delete(remove);
    Router::new()
        .route("/files/", get(list))
        .route("/files/{*name}", file)
        .fallback(async |uri: Uri| {
            let told = json!({"error": format!("there is nothing at {}: files are at /files/", uri.path())});
            (StatusCode::NOT_FOUND, axum::Json(told))
        })
        .with_state(Files { node, writer })
}

/// The files of one namespace, by one node.
#[derive(Clone)]
struct Files {
    node: Handle,
    writer: Writer,
}

impl Files {
    fn newest(&self, name: &Name) -> Get {
        Get::newest(self.writer.reader(), name)
    }

    /// What there is to know of a file, without its bytes.
    async fn look(&self, name: &Name) -> Result<FileInfo, ClientError> {
        let nothing = Get {
            range: Some(0..0),
            ..self.newest(name)
        };
        Ok(self.node.get_with(nothing).await?.info().clone())
    }

    /// Refuses a write whose client expects another state of the file.
    async fn expected(&self, name: &Name, headers: &HeaderMap) -> Result<(), Refusal> {
        let (wanted, unwanted) = (
            headers.get(header::IF_MATCH),
            headers.get(header::IF_NONE_MATCH),
        );
        if wanted.is_none() && unwanted.is_none() {
            return Ok(());
        }
        let put = match self.look(name).await {
            Ok(info) => Some(info.put),
            Err(ClientError::Op(OpError::NotFound)) => None,
            Err(error) => return Err(error.into()),
        };
        let as_wanted = wanted.is_none_or(|tags| put.is_some_and(|put| names(tags, put)));
        let unwanted = unwanted.is_some_and(|tags| put.is_some_and(|put| names(tags, put)));
        match as_wanted && !unwanted {
            true => Ok(()),
            false => Err(Refusal::Precondition),
        }
    }

    /// Opens the part of a file that a request wants.
    async fn part(&self, name: &Name, wanted: &Wanted) -> Result<GetReader, Refusal> {
        let all = self.newest(name);
        let get = match wanted {
            Wanted::All => all,
            Wanted::Part(range) => Get {
                range: Some(range.clone()),
                ..all
            },
            // Where it begins depends on the file, so the very version that
            // was looked at is read.
            Wanted::Last(count) => {
                let info = self.look(name).await?;
                let begin = info.size.saturating_sub(*count);
                Get {
                    range: Some(begin..info.size),
                    ..Get::version(self.writer.reader(), name, info.id)
                }
            }
        };
        let file = match self.node.get_with(get).await {
            Err(ClientError::Op(OpError::Range { size, .. })) => {
                return Err(Refusal::Range { size });
            }
            file => file?,
        };
        match file.info() {
            info if *wanted != Wanted::All && info.range.is_empty() => {
                Err(Refusal::Range { size: info.size })
            }
            _ => Ok(file),
        }
    }
}

async fn store(
    State(files): State<Files>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let name = Name::new(&name)?;
    files.expected(&name, &headers).await?;
    // Dropped before it has finished, it is cancelled.
    let mut put = files.node.put_writer(Put {
        writer: files.writer,
        name,
        modified: Some(now()),
    })?;
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        put.push(piece.map_err(Refusal::Upload)?).await?;
    }
    let stored = put.finish().await?;
    let told = json!({
        "size": stored.size,
        "version": stored.version.to_string(),
        "copies": stored.copies,
        "replicas": stored.replicas,
    });
    let tag = [(header::ETAG, tag(stored.put))];
    Ok((StatusCode::CREATED, tag, axum::Json(told)).into_response())
}

async fn read(
    State(files): State<Files>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = Name::new(&name)?;
    let wanted = headers.get(header::RANGE);
    let wanted = wanted.and_then(|range| range.to_str().ok());
    let mut wanted = wanted.map_or(Wanted::All, Wanted::parse);
    let mut file = files.part(&name, &wanted).await?;
    // A part is of no use to who has the beginning of another version.
    let base = headers.get(header::IF_RANGE);
    if wanted != Wanted::All && base.is_some_and(|base| *base != tag(file.info().put)) {
        wanted = Wanted::All;
        file = files.part(&name, &wanted).await?;
    }
    let info = file.info().clone();
    if let Some(had) = headers.get(header::IF_NONE_MATCH)
        && names(had, info.put)
    {
        return Ok((StatusCode::NOT_MODIFIED, describe(&info)).into_response());
    }
    let mut all = describe(&info);
    let range = &info.range;
    all.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let status = match wanted {
        Wanted::All => StatusCode::OK,
        _ => {
            let last = range.end.saturating_sub(1);
            let part = value(format!("bytes {}-{last}/{}", range.start, info.size));
            all.insert(header::CONTENT_RANGE, part);
            StatusCode::PARTIAL_CONTENT
        }
    };
    // What fails after the first byte breaks the connection off, so that
    // nobody takes a part for the whole.
    let pieces = stream::try_unfold(file, async |mut file| {
        let piece = file.next_bytes().await?;
        Ok::<_, ClientError>(piece.map(|piece| (piece, file)))
    });
    Ok((status, all, Body::from_stream(pieces)).into_response())
}

async fn head(State(files): State<Files>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let info = files.look(&Name::new(&name)?).await?;
    let mut all = describe(&info);
    all.insert(header::CONTENT_LENGTH, info.size.into());
    Ok(all.into_response())
}

async fn remove(
    State(files): State<Files>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let name = Name::new(&name)?;
    files.expected(&name, &headers).await?;
    // A remove of nothing is none.
    files.look(&name).await?;
    files.node.remove(&files.writer, &name)?.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(files): State<Files>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let prefix = query.iter().find(|(key, _)| key == "prefix");
    let prefix = prefix.map_or("", |(_, prefix)| prefix);
    let mut listing = files.node.list(files.writer.reader(), prefix)?;
    // What fails at once has a status of its own.
    let first = listing.next().await?;
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines(first, listing))).into_response())
}

/// A line for each entry, and at the end one that says so if any may be
/// missing.
fn lines(
    first: Option<Entry>,
    listing: Listing,
) -> impl Stream<Item = Result<String, ClientError>> {
    stream::try_unfold(Some((first, listing)), async |state| {
        let Some((entry, mut listing)) = state else {
            return Ok(None);
        };
        let Some(entry) = entry else {
            let listed = listing.end().unwrap_or_default();
            if listed.unread == 0 && listed.unreadable == 0 {
                return Ok(None);
            }
            let missing = json!({"incomplete": {
                "answered": listed.answered,
                "members": listed.members,
                "unreadable": listed.unreadable,
            }});
            return Ok(Some((format!("{missing}\n"), None)));
        };
        let line = json!({
            "name": entry.name.as_str(),
            "size": entry.size,
            "modified_ms": entry.modified.map(|at| at.0),
            "etag": entry.put.to_hex(),
        });
        let next = listing.next().await?;
        Ok(Some((format!("{line}\n"), Some((next, listing)))))
    })
}

/// The headers that tell of a file.
fn describe(info: &FileInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, tag(info.put));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Some(of) = info.unconfirmed {
        let told = format!("{} of {} answers", of.answered, of.needed);
        headers.insert(UNCONFIRMED, value(told));
    }
    headers
}

/// A version's tag: the put that wrote it.
fn tag(put: PutId) -> HeaderValue {
    value(format!("\"{}\"", put.to_hex()))
}

/// Whether a list of tags, or `*`, names this version.
fn names(tags: &HeaderValue, put: PutId) -> bool {
    let own = tag(put);
    let mut tags = tags.as_bytes().split(|byte| *byte == b',');
    tags.any(|tag| matches!(tag.trim_ascii(), tag if tag == b"*" || tag == own.as_bytes()))
}

/// Of text that has nothing but visible ASCII in it.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

fn now() -> UnixMillis {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    UnixMillis(since.as_millis().try_into().unwrap_or(u64::MAX))
}
