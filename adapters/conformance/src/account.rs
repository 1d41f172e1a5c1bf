//! One scenario, the same on every driver: what its callers are told, and what
//! lies in its stores afterwards.
//!
//! Compared are the callers' results, the ids of the blobs that each node
//! holds, and what each holds of each name. Versions, the ids that come of
//! them, how streams are cut and how long things take are not: they differ
//! from run to run. That is why no wall clock is set here: it makes versions,
//! and nothing else that is compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use peerhold_host::ClientError;
use peerhold_host::os::KEY_FILE;
use peerhold_host::peerhold_core::disk::{
    DiskData, DiskKind, DiskOp, Part, RecordKey, Row, StoredRecord,
};
use peerhold_host::peerhold_core::seal::{Content, SealedRecord, open_record};
use peerhold_host::peerhold_core::{BlobId, Entry, Forget, Get, NodeId, Stored, UnixMillis};
use peerhold_host::peerhold_store::vfs::Vfs;
use peerhold_host::peerhold_store::{Store, StoreConfig};
use tempfile::TempDir;

use crate::lab::{Lab, Member, bytes, get, name, put, three, writer};
use crate::listing::{history, list, restore};

/// What every driver comes to.
const EXPECTED: &str = include_str!("account.txt");
const NODES: usize = 4;
/// Where a store has the blobs that are files.
const BLOBS: &str = "blobs";
/// The most of a listing that is asked for at once.
const PAGE: u32 = 1 << 20;

/// The scenario comes to what is written down in `account.txt`.
///
/// Where formats or behaviour of all drivers have changed on purpose, that
/// file is replaced by what this case prints.
pub fn one_scenario_comes_to_the_same_on_every_driver(lab: &Lab) {
    let account = account(lab);
    assert!(
        account == EXPECTED,
        "this driver comes to something else; first difference: {:?}\n\nits whole account:\n{account}",
        account
            .lines()
            .zip(EXPECTED.lines().chain(std::iter::repeat("(nothing)")))
            .find(|(ours, expected)| ours != expected)
    );
}

fn account(lab: &Lab) -> String {
    let members = start(lab);
    let mut told = Told {
        members: &members,
        text: String::new(),
    };
    told.scenario();
    let mut text = told.text;
    let dirs: Vec<(NodeId, TempDir)> = members
        .into_iter()
        .map(|member| (member.client.node(), member.stop()))
        .collect();
    for (index, (node, dir)) in dirs.iter().enumerate() {
        writeln!(text, "\nnode {index} {}", short(&node.to_hex())).unwrap();
        holds(&mut text, dir.path());
    }
    text
}

/// Nodes that are the same ones in every run, in one cluster.
fn start(lab: &Lab) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for index in 0..NODES {
        let dir = TempDir::new().unwrap();
        identity(dir.path(), index as u8 + 1);
        let bootstrap = members.iter().map(Member::bootstrap).collect();
        members.push(lab.start_in(dir, |config| {
            three(config);
            config.node.chunk_bytes = 64 << 10;
            config.node.bootstrap = bootstrap;
            // All blobs are files: so they are found.
            config.store.small_blob_max = 0;
        }));
    }
    for member in &members {
        member.meet(NODES, NODES - 1);
    }
    members
}

/// Makes a directory that of the node whose secret is this byte, repeated.
fn identity(dir: &Path, secret: u8) {
    let path = dir.join(KEY_FILE);
    let digits = format!("{secret:02x}").repeat(32);
    fs::write(&path, format!("peerhold-node-key-1 {digits}\n")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// What callers are told.
struct Told<'a> {
    members: &'a [Member],
    text: String,
}

impl Told<'_> {
    fn scenario(&mut self) {
        for (index, size) in [0, 1, 16_384, 16_385, 65_536, 300_000]
            .into_iter()
            .enumerate()
        {
            self.put(
                index % NODES,
                &format!("file of {size}"),
                &bytes(size, size as u64),
            );
        }
        // What is there already, under another name.
        self.put(1, "same as file of 300000", &bytes(300_000, 300_000));
        for size in [500_000, 20, 70_000] {
            self.put(2, "changing", &bytes(size, 1));
        }
        self.remove(3, "file of 16385");
        self.put(0, "removed and put", &bytes(100_000, 2));
        self.remove(0, "removed and put");
        self.put(1, "removed and put", &bytes(30_000, 3));
        self.remove(2, "never there");
        self.restore(3, "changing", 2);
        self.restore(0, "removed and put", 1);
        self.restore(0, "never there", 0);
        self.abandoned_put(1, "changing");
        self.forget(0, "file of 300000");
        self.forget(1, "same as file of 300000");
        self.forget(2, "nothing");
        for at in 0..NODES {
            for name in [
                "file of 0",
                "file of 16384",
                "file of 16385",
                "file of 300000",
                "same as file of 300000",
                "changing",
                "removed and put",
                "nothing",
            ] {
                self.read(at, name);
            }
            self.list(at, "", false);
            self.list(at, "file of 1", true);
            self.history(at, "changing");
            self.history(at, "nothing");
        }
        self.part(1, "file of 300000", 65_000..140_000);
        self.part(2, "file of 300000", 299_999..400_000);
        self.part(3, "file of 300000", 300_001..300_002);
        self.older(0, "changing");
        self.outcome(2, "file of 1");
    }

    fn say(&mut self, at: usize, what: &str, name: &str, told: Result<String, ClientError>) {
        let told = told.unwrap_or_else(|error| format!("error: {error}"));
        writeln!(self.text, "{at} {what} {name:?}: {told}").unwrap();
        // Nothing is under way when the next one begins.
        for member in self.members {
            let quiet = |status: &peerhold_host::peerhold_core::Status| {
                (status.operations, status.debts, status.peers.len()) == (0, 0, NODES - 1)
            };
            member.blocking().wait_until(quiet).unwrap();
        }
    }

    fn put(&mut self, at: usize, text: &str, data: &Bytes) {
        let mut request = put(text);
        request.modified = Some(UnixMillis(1_767_225_600_000));
        let told = (|| {
            let mut op = self.members[at].blocking().put(request)?;
            op.push(data.clone())?;
            let stored = op.finish()?;
            op.settled()?;
            Ok(is_stored(&stored))
        })();
        self.say(at, "put", text, told);
    }

    fn remove(&mut self, at: usize, text: &str) {
        let member = &self.members[at];
        let remove = peerhold_host::peerhold_core::Remove {
            writer: writer(),
            name: name(text),
        };
        let told = member.client.remove(remove).and_then(|mut op| {
            let stored = member.wait(&mut op)?;
            member.wait(op.settled())?;
            Ok(is_stored(&stored))
        });
        self.say(at, "remove", text, told);
    }

    /// Restores a version, counted from the newest.
    fn restore(&mut self, at: usize, text: &str, back: usize) {
        let member = &self.members[at];
        let told = match history(member, text).get(back) {
            Some(entry) => restore(member, text, entry.id).map(|stored| is_stored(&stored)),
            None => Ok("no such version".into()),
        };
        self.say(at, "restore", text, told);
    }

    fn abandoned_put(&mut self, at: usize, text: &str) {
        let mut op = self.members[at].blocking().put(put(text)).unwrap();
        let told = op.push(Bytes::from_static(b"never finished"));
        drop(op);
        self.say(at, "begin and drop", text, told.map(|()| "taken".into()));
    }

    fn forget(&mut self, at: usize, text: &str) {
        let forget = Forget {
            reader: writer().reader().clone(),
            name: name(text),
        };
        let told = self.members[at].blocking().forget(forget);
        let told = told.map(|told| format!("{} dropped, {} kept", told.blobs, told.kept));
        self.say(at, "forget", text, told);
    }

    fn read(&mut self, at: usize, text: &str) {
        self.get(at, "read", text, get(text));
    }

    fn part(&mut self, at: usize, text: &str, range: std::ops::Range<u64>) {
        let what = format!("read {range:?} of");
        let range = Some(range);
        self.get(at, &what, text, Get { range, ..get(text) });
    }

    fn older(&mut self, at: usize, text: &str) {
        let oldest = history(&self.members[at], text)
            .last()
            .map(|entry| entry.id);
        let oldest = Get::version(writer().reader(), &name(text), oldest.unwrap());
        self.get(at, "read the oldest", text, oldest);
    }

    fn get(&mut self, at: usize, what: &str, text: &str, get: Get) {
        let told = self.members[at].blocking().get_bytes(get, usize::MAX);
        let told = told.map(|(info, data)| {
            let unconfirmed = if info.unconfirmed.is_some() {
                ", unconfirmed"
            } else {
                ""
            };
            let hash = BlobId::of(&data).to_hex();
            format!(
                "{} of {} bytes, {}{unconfirmed}",
                data.len(),
                info.size,
                short(&hash)
            )
        });
        self.say(at, what, text, told);
    }

    fn list(&mut self, at: usize, prefix: &str, removed: bool) {
        let told = self.members[at].blocking().list(list(prefix, removed));
        let told = told.and_then(|listed| Ok(entries(listed.collect::<Result<_, _>>()?, true)));
        self.say(at, "list", prefix, told);
    }

    fn history(&mut self, at: usize, text: &str) {
        let told = entries(history(&self.members[at], text), false);
        self.say(at, "history", text, Ok(told));
    }

    /// What became of the newest put of a name.
    fn outcome(&mut self, at: usize, text: &str) {
        let put = history(&self.members[at], text)
            .first()
            .map(|entry| entry.put);
        let told = self.members[at].blocking();
        let told = told.outcome(writer().reader(), &name(text), put.unwrap());
        let told = told.map(|entry| entry.map_or("nothing".into(), |entry| line(&entry, true)));
        self.say(at, "outcome", text, told);
    }
}

fn is_stored(stored: &Stored) -> String {
    // When it finished there may have been fewer copies: it has settled now.
    format!("{} bytes, {} replicas", stored.size, stored.replicas)
}

fn entries(entries: Vec<Entry>, named: bool) -> String {
    let lines: Vec<String> = entries.iter().map(|entry| line(entry, named)).collect();
    format!("{} [{}]", entries.len(), lines.join(", "))
}

fn line(entry: &Entry, named: bool) -> String {
    let name = if named { entry.name.as_str() } else { "" };
    let kind = if entry.removed { "removed" } else { "put" };
    let unconfirmed = if entry.unconfirmed.is_some() {
        " unconfirmed"
    } else {
        ""
    };
    format!("{name} {kind} {}{unconfirmed}", entry.size)
        .trim_start()
        .to_owned()
}

/// What lies in a node's directory.
fn holds(text: &mut String, dir: &Path) {
    for blob in blobs(&dir.join(BLOBS)) {
        writeln!(text, "blob {}", short(&blob)).unwrap();
    }
    let store = Store::open_dir(dir, StoreConfig::new([0; 32])).unwrap();
    for key in keys(&store) {
        let (at, part) = (None, Part::All);
        let DiskData::Record(Some(record)) = ask(&store, DiskKind::GetRecord { key, at, part })
        else {
            panic!("a name that is listed has a record");
        };
        writeln!(
            text,
            "name {}: {}",
            short(&key.tag.to_hex()),
            content(record)
        )
        .unwrap();
    }
}

/// The ids of the blobs that are files, each of which is what it says.
fn blobs(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let id = BlobId::of(&fs::read(&path).unwrap()).to_hex();
            assert!(path.ends_with(&id), "{} is {id}", path.display());
            found.push(id);
        }
    }
    found.sort();
    found
}

fn keys<V: Vfs>(store: &Store<V>) -> Vec<RecordKey> {
    let namespace = writer().namespace();
    let mut keys: Vec<RecordKey> = Vec::new();
    loop {
        let kind = DiskKind::ListNames {
            namespace,
            after: keys.last().map(|key| key.tag),
            max: PAGE,
        };
        let DiskData::Page(page) = ask(store, kind) else {
            panic!("a list is answered with a page");
        };
        let tags = page.rows.iter().map(Row::tag);
        keys.extend(tags.map(|tag| RecordKey { namespace, tag }));
        if !page.more {
            return keys;
        }
    }
}

/// Kind and content of a record.
fn content(stored: StoredRecord) -> String {
    let record = SealedRecord::from_stored(stored).unwrap();
    let (head, reader) = (&record.head, writer());
    let opened = open_record(reader.reader(), head, &record.meta, &record.content);
    let (meta, content) = opened.unwrap();
    let (name, size) = (meta.name.as_str(), meta.size);
    match content {
        Content::Inline(data) => {
            let hash = BlobId::of(&data).to_hex();
            format!("{name:?} put, {size} bytes, {}", short(&hash))
        }
        Content::Root(root) => {
            let id = root.id.to_hex();
            format!(
                "{name:?} put, {size} bytes, root {} {}",
                short(&id),
                root.depth
            )
        }
        Content::Removed => format!("{name:?} removed"),
    }
}

/// Asks a store that no node uses.
fn ask<V: Vfs>(store: &Store<V>, kind: DiskKind) -> DiskData {
    let prepared = store.prepare(DiskOp::detached(kind));
    let mut done = store.commit(vec![prepared]);
    done.pop().unwrap().result().clone().unwrap()
}

fn short(hex: &str) -> &str {
    &hex[..16]
}
