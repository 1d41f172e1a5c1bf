//! Texts of people, and paths.

use alloc::string::{String, ToString};
use core::fmt::Debug;
use core::str::FromStr;

use super::Source;
use crate::config::ClusterKey;
use crate::foreverstore::{FileKey, FilePath, OwnerId};
use crate::id::{BlobId, NamespaceId, NodeId, PutId};
use crate::path::{CasPath, Layout, sha1_path};
use crate::seal::{FileCapability, NamespaceSecret, ReadKey};
use crate::text::{Kind, TextError, secret};
use crate::ticket::Ticket;
use crate::version::RecordId;

/// Text forms: whatever is read must be of the kind that its prefix says, and
/// is written as the text that it was read from, in small letters; whatever
/// bytes there are of a kind are read back.
///
/// `data` is one byte, and a text. If the byte is that of a kind, from 1, what
/// follows are bytes of that kind, which are written down first.
///
/// # Panics
/// If any of this does not hold.
pub fn text(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let kind = which
        .checked_sub(1)
        .and_then(|at| Kind::ALL.get(usize::from(at)));
    let Some(kind) = kind else {
        if let Ok(text) = core::str::from_utf8(rest) {
            let read = Kind::ALL.map(|kind| read(kind, text).is_ok());
            let read = read.iter().filter(|read| **read).count();
            assert!(read <= 1, "a text of two kinds");
        }
        return;
    };
    let bytes = rest.get(..kind.bytes()).unwrap_or(rest);
    let written = secret(*kind, bytes);
    let whole = bytes.len() == kind.bytes();
    match read(*kind, &written) {
        Ok(()) => {}
        // Not all bytes of the right number are a ticket.
        Err(error) => assert!(
            !whole || (*kind == Kind::Ticket && error == TextError::Content(Kind::Ticket)),
            "{error}"
        ),
    }
}

fn read(kind: Kind, text: &str) -> Result<(), TextError> {
    match kind {
        Kind::Node => same(kind, text, NodeId::to_string),
        Kind::Namespace => same(kind, text, NamespaceId::to_string),
        Kind::Blob => same(kind, text, BlobId::to_string),
        Kind::Put => same(kind, text, PutId::to_string),
        Kind::Record => same(kind, text, RecordId::to_string),
        Kind::ReadKey => same(kind, text, |key: &ReadKey| key.to_text().to_string()),
        Kind::NamespaceSecret => same(kind, text, |key: &NamespaceSecret| {
            key.to_text().to_string()
        }),
        Kind::ClusterKey => same(kind, text, |key: &ClusterKey| key.to_text().to_string()),
        Kind::File => same(kind, text, |file: &FileCapability| {
            file.to_text().to_string()
        }),
        Kind::Ticket => same(kind, text, |ticket: &Ticket| ticket.to_text().to_string()),
    }
}

fn same<T: FromStr<Err = TextError> + Debug>(
    kind: Kind,
    text: &str,
    write: fn(&T) -> String,
) -> Result<(), TextError> {
    let value = match text.parse::<T>() {
        Ok(value) => value,
        // What it says of itself is not to panic either.
        Err(error) => return Err(error).inspect_err(|error| drop(error.to_string())),
    };
    assert_eq!(Kind::of(text), Some(kind), "another kind was read");
    assert_eq!(write(&value), text.to_ascii_lowercase());
    let shown = alloc::format!("{value:?}");
    assert!(!shown.contains(text), "it shows itself");
    Ok(())
}

/// Paths: whatever the id, key or name, a path is hex digits in folders of a
/// known shape.
///
/// `data` is 32 bytes of an id, and a text.
///
/// # Panics
/// If it is not.
pub fn path(data: &[u8]) {
    let mut source = Source::new(data);
    let id = BlobId(source.array());
    for layout in Layout::ALL {
        assert_eq!(Layout::from_name(layout.name()), Some(layout));
        let path = layout.path(&id);
        assert_eq!(path.file_name(), id.to_hex(), "a file is named by its id");
        check_path(&path, layout == Layout::Flat);
    }
    let Ok(text) = core::str::from_utf8(source.rest()) else {
        return;
    };
    if let Some(layout) = Layout::from_name(text) {
        assert_eq!(layout.name(), text);
    }
    check_path(&sha1_path(text), false);
    let owner = OwnerId(id.0);
    let key = FileKey::of(text);
    assert_eq!(FileKey::from_hex(&key.to_string()), Some(key));
    for path in [FilePath::replica(&owner, &key), FilePath::own(&owner, text)] {
        let (folder, rest) = path.as_str().split_once('/').expect("an owner's folder");
        assert_eq!(OwnerId::from_hex(folder), Some(owner));
        assert_eq!(rest.len(), 8 * 6 + 40);
        assert!(rest.bytes().all(|byte| byte == b'/' || is_digit(byte)));
    }
    // Hex is read in one form alone.
    if let Some(owner) = OwnerId::from_hex(text) {
        assert_eq!(owner.to_string(), text);
    }
    if let Some(key) = FileKey::from_hex(text) {
        assert_eq!(key.to_string(), text);
    }
}

fn check_path(path: &CasPath, flat: bool) {
    assert!(path.as_str().len() <= CasPath::LEN_MAX);
    let (folders, digits) = if flat { (1, 2) } else { (8, 5) };
    assert_eq!(path.parents().count(), folders);
    for (at, component) in path.components().enumerate() {
        assert!(component.bytes().all(is_digit), "{path}");
        assert!(at == folders || component.len() == digits, "{path}");
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
