//! Members that hold records and answer what is asked of them, for tests of
//! listings.

use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskKind, RecordKey, StoredRecord};
use peerhold_core::seal::{Content, Draft, Meta, seal_record};
use peerhold_core::wire::frame::Frame;
use peerhold_core::wire::message::{self, Rows, kind};
use peerhold_core::{
    Entry, History, List, Listed, Name, NodeId, OpError, OpId, Outcome, PutId, UnixMillis, Version,
};

use crate::fake_peer::{Peer, id};
use crate::host::{Disk, Host, ME, WALL, config, writer};

/// A member of the cluster, played by a test.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    pub(crate) disk: Disk,
    /// Rows that it puts into one page at most.
    pub(crate) rows_max: usize,
    /// It answers nothing.
    pub(crate) silent: bool,
}

/// A client, and the members of its cluster.
pub(crate) struct Cluster {
    pub(crate) host: Host,
    pub(crate) members: Vec<Member>,
}

impl Cluster {
    pub(crate) fn new(members: u8) -> Self {
        Self::of_connected(members, |_| true)
    }

    /// A cluster of which the client has sessions with some.
    pub(crate) fn of_connected(members: u8, connected: impl Fn(usize) -> bool) -> Self {
        let ids = (1..).map(id).filter(|id| *id != ME);
        let ids: Vec<NodeId> = ids.take(members.into()).collect();
        let mut config = config(ME);
        config.weight = 0;
        let mut host = Host::founded(config, &ids);
        let members = ids.iter().enumerate().map(|(at, id)| Member {
            peer: if connected(at) {
                Peer::admitted(&mut host, *id)
            } else {
                Peer::open(&mut host, *id)
            },
            disk: Disk::default(),
            rows_max: usize::MAX,
            silent: !connected(at),
        });
        let members = members.collect();
        Self { host, members }
    }

    /// These members come to hold a record.
    pub(crate) fn hold(&mut self, at: &[usize], record: &StoredRecord) {
        for at in at {
            let kind = DiskKind::PutRecord(record.clone());
            self.members[*at].disk.run(&kind).unwrap();
        }
    }

    /// The requests of a member that are not answered yet.
    pub(crate) fn asked(&mut self, at: usize) -> Vec<Frame> {
        let Self { host, members } = self;
        let peer = &mut members[at].peer;
        let mut asked = peer.asked(host, kind::LIST);
        asked.extend(peer.asked(host, kind::HISTORY));
        asked
    }

    /// Members answer what they have been asked. How many pages that were.
    pub(crate) fn serve(&mut self) -> usize {
        let mut pages = 0;
        for at in 0..self.members.len() {
            if self.members[at].silent {
                continue;
            }
            for frame in self.asked(at) {
                pages += 1;
                let rows = self.members[at].page(&frame);
                self.members[at].peer.answer(&mut self.host, &frame, &rows);
            }
        }
        pages
    }

    /// Takes all entries that come.
    pub(crate) fn entries(&mut self, op: OpId) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let served = self.serve();
            let before = entries.len();
            entries.extend(std::iter::from_fn(|| self.host.node.poll_entry(op)));
            if served == 0 && entries.len() == before {
                return entries;
            }
        }
    }

    /// Entries and outcome of an operation for which time passes.
    pub(crate) fn ended(&mut self, op: OpId) -> (Vec<Entry>, Result<Listed, OpError>) {
        let mut entries = self.entries(op);
        for _ in 0..10 {
            if let Some(result) = self.host.result(op) {
                return match result {
                    Ok(Outcome::Listed(listed)) => (entries, Ok(listed)),
                    Ok(other) => panic!("{other:?}"),
                    Err(error) => (entries, Err(error)),
                };
            }
            self.host.pass(std::time::Duration::from_secs(6));
            entries.extend(self.entries(op));
        }
        panic!("it never ends");
    }

    pub(crate) fn list(&mut self, list: List) -> OpId {
        let op = self.host.node.list(self.host.now, list).unwrap();
        self.host.run();
        op
    }

    pub(crate) fn history(&mut self, history: History) -> OpId {
        let op = self.host.node.history(self.host.now, history).unwrap();
        self.host.run();
        op
    }

    /// Lists all names, and gives what is shown of each.
    pub(crate) fn names(&mut self) -> (Vec<Entry>, Result<Listed, OpError>) {
        let op = self.list(list_of());
        self.ended(op)
    }
}

impl Member {
    pub(crate) fn page(&mut self, frame: &Frame) -> Rows {
        let kind = match frame.kind {
            kind::LIST => {
                let message::List {
                    namespace,
                    after,
                    max,
                } = message::decode(&frame.body).unwrap();
                DiskKind::ListNames {
                    namespace,
                    after,
                    max,
                }
            }
            _ => {
                let message::History { key, below, max } = message::decode(&frame.body).unwrap();
                DiskKind::ListVersions { key, below, max }
            }
        };
        let Ok(DiskData::Page(mut page)) = self.disk.run(&kind) else {
            panic!("a page is answered")
        };
        page.more |= page.rows.len() > self.rows_max;
        page.rows.truncate(self.rows_max);
        Rows::from(&page)
    }
}

/// A list of all names that are not removed.
pub(crate) fn list_of() -> List {
    List {
        reader: writer().reader().clone(),
        prefix: None,
        after: None,
        removed: false,
    }
}

pub(crate) fn history_of(name: &str) -> History {
    History {
        reader: writer().reader().clone(),
        name: Name::new(name).unwrap(),
        below: None,
    }
}

pub(crate) fn key_of(name: &str) -> RecordKey {
    writer().reader().key(&Name::new(name).unwrap())
}

/// The record of a name that was written at this time, or removed. Different
/// sizes of one time are a fork.
pub(crate) fn version(name: &str, at: u64, size: Option<usize>) -> StoredRecord {
    let content = match size {
        Some(size) => Content::Inline(Bytes::from(vec![7; size])),
        None => Content::Removed,
    };
    let draft = Draft {
        epoch: 0,
        version: Version::next(UnixMillis(WALL + at), Version::ZERO, [1; 8]).unwrap(),
        put: PutId([at as u8; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new(name).unwrap(),
        size: size.unwrap_or(0) as u64,
        modified: Some(UnixMillis(at)),
        chunk_size: 1 << 16,
    };
    let sealed = seal_record(&writer(), draft, &meta, &content).unwrap();
    sealed.to_stored()
}
