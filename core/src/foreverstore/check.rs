//! A connection against itself on arbitrary bytes, for fuzzing, and files in
//! memory for it and for tests.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::{Config, Limits};
use super::connection::Connection;
use super::file::{FileData, FileDone, FileId, FileKind, FileOp};
use super::framing::Framing;
use super::names::{OwnerId, OwnerKey};
use super::output::{Event, Input, Store, Wake};
use crate::check::{Pieces, Source};
use crate::disk::DiskError;
use crate::time::Instant;

/// Files in memory: an executor of [`FileOp`]s for tests and tools.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    /// What lies at each path.
    pub files: BTreeMap<String, Bytes>,
    reading: BTreeMap<FileId, Bytes>,
    writing: BTreeMap<FileId, Vec<u8>>,
}

impl MemoryFiles {
    /// Executes an operation.
    ///
    /// # Panics
    /// If the operation breaks what the operations before it have begun: no
    /// connection asks for one like that.
    pub fn execute(&mut self, op: FileOp) -> FileDone {
        let result = match op.kind() {
            FileKind::Open { file, path } => match self.files.get(path.as_str()) {
                Some(bytes) => {
                    assert!(self.reading.insert(*file, bytes.clone()).is_none());
                    let len = bytes.len() as u64;
                    Ok(FileData::Opened { len })
                }
                None => Err(DiskError::NotFound),
            },
            FileKind::Read { file, at, len } => {
                let bytes = self.reading.get(file).expect("a file that is open");
                let at = usize::try_from(*at).expect("an offset within memory");
                Ok(FileData::Read(bytes.slice(at..at + len)))
            }
            FileKind::Close { file } => {
                self.reading.remove(file).expect("a file that is open");
                Ok(FileData::Done)
            }
            FileKind::Create { file } => {
                assert!(self.writing.insert(*file, Vec::new()).is_none());
                Ok(FileData::Done)
            }
            FileKind::Append { file, at, bytes } => {
                let whole = self.writing.get_mut(file).expect("a file that is begun");
                assert_eq!(*at, whole.len() as u64, "a gap");
                whole.extend_from_slice(bytes);
                Ok(FileData::Done)
            }
            FileKind::Commit { file, path } => {
                let whole = self.writing.remove(file).expect("a file that is begun");
                self.files.insert(path.to_string(), whole.into());
                Ok(FileData::Done)
            }
            FileKind::Discard { file } => {
                self.writing.remove(file);
                Ok(FileData::Done)
            }
        };
        op.complete(result)
    }

    /// Files that are open or begun.
    pub fn open(&self) -> usize {
        self.reading.len() + self.writing.len()
    }
}

/// Checks a connection on what an arbitrary peer sends, for fuzzing: received
/// whole and in pieces it must come to the same; it must hold no more than its
/// limits allow; and when it ends nothing may be left open.
///
/// `data` is one byte of choices, one that says how many bytes of piece lengths
/// follow, these, and what the peer sends.
///
/// # Panics
///
/// If any of this does not hold.
#[doc(hidden)]
pub fn check_connection(data: &[u8]) {
    let mut source = Source::new(data);
    let choices = source.byte();
    let Pieces { whole: sent, cut } = Pieces::of(source);
    let whole = run(choices, core::slice::from_ref(&sent), false);
    let in_pieces = run(choices, &cut, false);
    assert_eq!(in_pieces, whole, "cutting changed the outcome");
    run(choices, &cut, true);
}

/// What a run comes to: events, what was sent, what lies on the disk.
type Course = (Vec<Event>, Vec<u8>, BTreeMap<String, Bytes>);

fn run(choices: u8, pieces: &[Bytes], drain: bool) -> Course {
    let mut config = Config::new(OwnerId([0xcc; 32]), OwnerKey::from_bytes([7; 32]));
    if choices & 1 != 0 {
        config.framing = Framing::Envelopes;
    }
    config.limits = Limits {
        file: 1 << 20,
        window: 4096,
        chunk: 1024,
        files: 2,
        ..Limits::default()
    };
    let mut now = Instant::ZERO;
    let mut connection = Connection::new(config, now).expect("limits above zero");
    let mut files = MemoryFiles::default();
    let own = super::FilePath::own(&OwnerId([0xcc; 32]), "a");
    files
        .files
        .insert(own.to_string(), Bytes::from_static(&[1; 3000]));
    let mut course = (Vec::new(), Vec::new(), BTreeMap::new());
    if choices & 2 != 0 {
        connection.get(now, "b".into()).expect("room");
    }
    if choices & 4 != 0 {
        let (name, iv, verify) = ("a".into(), [9; 16], choices & 8 != 0);
        connection
            .store(now, Store { name, iv, verify })
            .expect("room");
    }
    if choices & 16 != 0 {
        settle(&mut connection, &mut files, &mut now, &mut course);
    }
    for piece in pieces {
        connection.handle(now, Input::Received(piece.clone()));
        if drain {
            settle(&mut connection, &mut files, &mut now, &mut course);
        }
    }
    settle(&mut connection, &mut files, &mut now, &mut course);
    connection.handle(now, Input::Closed);
    settle(&mut connection, &mut files, &mut now, &mut course);
    assert!(connection.is_over(), "something is left of {connection:?}");
    assert_eq!(files.open(), 0, "files are left open");
    assert_eq!(connection.read_budget(), 0, "it is read after its end");
    course.2 = files.files;
    course
}

/// Drains until nothing comes, pauses gone by.
fn settle(
    connection: &mut Connection,
    files: &mut MemoryFiles,
    now: &mut Instant,
    (events, sent, _): &mut Course,
) {
    loop {
        while let Some(op) = connection.poll_file() {
            let done = files.execute(op);
            connection.handle(*now, Input::File(done));
        }
        if let Some(event) = connection.poll_event() {
            events.push(event);
        } else if let Some(bytes) = connection.poll_transmit(1000) {
            sent.extend_from_slice(&bytes);
            connection.handle(*now, Input::Written);
        } else if let Some((at, Wake::Pause)) = connection.poll_timeout() {
            *now = at;
            connection.handle_timeout(at);
        } else {
            break;
        }
    }
}
