//! A canary: random markers in contents and names, and the secrets
//! themselves, are looked for wherever somebody else could look: in every
//! byte between the nodes, in every file that a node keeps, its owner's too,
//! and in all that is printed of public values. They are found nowhere.
//!
//! What stays with the owner: the values that he himself makes of a name, or
//! is handed for one (`Put`, `Entry`, `FileInfo`, ..), show the name. Tapes,
//! which say themselves that they hold everything, are not recorded here.

use std::fmt::Debug;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use peerhold_smol::peerhold_core::seal::{Name, NamespaceSecret, Writer};
use peerhold_smol::peerhold_core::{Bootstrap, ClusterKey, Get, PeerAddr, Put, Ticket};
use peerhold_smol::{Driver, Events, Handle, HostConfig, Notice, open};
use tempfile::TempDir;

use super::cluster::{Member, alone, bytes};
use super::search::Search;
use super::tap::Tap;

/// Plaintext in one chunk.
const CHUNK: usize = 64 << 10;
/// Between what was printed of one value and of the next.
const END: &str = "\n\n";

/// What must not be seen, and whose it is.
struct Canaries {
    cluster: [u8; 32],
    secret: [u8; 32],
    /// In contents: any bytes, and printable ones.
    contents: [[u8; 32]; 2],
    /// In names.
    names: [String; 2],
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Canaries {
    fn new() -> Self {
        // No letter that hex or text forms of ids have.
        let printable = random().map(|byte: u8| b'G' + byte % 20);
        let latin = random::<32>().map(|byte| char::from(b'G' + byte % 20));
        let others: [char; 16] = random()
            .map(|byte: u8| char::from_u32(0x4e00 + 61 * u32::from(byte)).expect("an ideograph"));
        Self {
            cluster: random(),
            secret: random(),
            contents: [random(), printable],
            names: [latin.iter().collect(), others.iter().collect()],
        }
    }

    fn writer(&self) -> Writer {
        NamespaceSecret::from_bytes(self.secret).writer()
    }

    fn name(&self, index: usize) -> Name {
        let [latin, others] = &self.names;
        Name::new(&format!("folder/{latin}/{others}/{index}")).unwrap()
    }

    /// Contents and keys, which are to be seen nowhere.
    fn secrets(&self) -> Search {
        let mut search = Search::default();
        search.add("the cluster key", &self.cluster);
        search.add("the namespace secret", &self.secret);
        search.add("the read key", &self.writer().read_key().to_bytes()[32..]);
        search.add("contents", &self.contents[0]);
        search.add("printable contents", &self.contents[1]);
        let key = ClusterKey::from_bytes(self.cluster);
        search.add_text("the cluster key's text", &key.to_text());
        let secret = NamespaceSecret::from_bytes(self.secret);
        search.add_text("the namespace secret's text", &secret.to_text());
        let read_key = self.writer().read_key().to_text();
        search.add_text("the read key's text", &read_key);
        search
    }

    /// Those, and names.
    fn all(&self) -> Search {
        let mut search = self.secrets();
        for name in &self.names {
            search.add("a name", name.as_bytes());
        }
        search
    }

    /// A file with both markers at its begin, at its end, and across and
    /// beside every border of chunks.
    fn file(&self, len: usize) -> Vec<u8> {
        let mut file = bytes(len, len as u64);
        let mut put = |at: usize, marker: &[u8; 32]| {
            if let Some(place) = file.get_mut(at..at + 32) {
                place.copy_from_slice(marker);
            }
        };
        let [raw, printable] = &self.contents;
        put(0, raw);
        put(64, printable);
        for border in (CHUNK..=len).step_by(CHUNK) {
            put(
                border - 16,
                if border % (2 * CHUNK) == 0 {
                    raw
                } else {
                    printable
                },
            );
            put(border - 64, raw);
            put(border + 32, printable);
        }
        put(len - 32, raw);
        file
    }

    /// Inline, one chunk, exactly one, some with a manifest.
    fn files(&self) -> Vec<Vec<u8>> {
        let lens = [
            32,
            100,
            16_384,
            16_385,
            CHUNK,
            CHUNK + 48,
            5 * CHUNK,
            40 * CHUNK + 7,
        ];
        lens.map(|len| self.file(len)).into()
    }
}

/// All that was printed: of the owner's own values for a name, and of the
/// rest.
#[derive(Default)]
struct Printed {
    owners: String,
    others: String,
}

impl Printed {
    fn owner(&mut self, value: &dyn Debug) {
        self.owners.push_str(&format!("{value:?}\n{value:#?}{END}"));
    }

    fn other(&mut self, value: &dyn Debug) {
        self.others.push_str(&format!("{value:?}\n{value:#?}{END}"));
    }

    fn error(&mut self, error: &dyn std::error::Error) {
        self.others
            .push_str(&format!("{error}\n{error:?}\n{error:#?}{END}"));
    }
}

/// A node whose connections all go through a tap, and what it tells.
struct Tapped {
    member: Member,
    tap: Tap,
    events: Events,
}

impl Tapped {
    fn start(canaries: &Canaries, peers: &[Self], insecure: bool, printed: &mut Printed) -> Self {
        let dir = TempDir::new().unwrap();
        let between = TcpListener::bind("127.0.0.1:0").unwrap();
        let tapped = between.local_addr().unwrap();
        let mut config: HostConfig = alone(&dir);
        config.insecure = insecure;
        config.node.cluster_keys = vec![ClusterKey::from_bytes(canaries.cluster)];
        (config.node.replicas, config.node.durable) = (3, 2);
        config.node.chunk_bytes = CHUNK as u32;
        config.node.timing.operation = Duration::from_secs(2);
        config.node.timing.answer = Duration::from_millis(200);
        config.node.advertise = vec![PeerAddr::from(tapped.to_string())];
        let taps = peers.iter().map(|peer| peer.tap.addr().to_string());
        config.node.bootstrap = taps.map(Bootstrap::from).collect();
        printed.other(&config);
        let (handle, driver): (Handle, Driver) = open(config).unwrap();
        printed.other(&driver);
        let tap = Tap::start(between, handle.addrs()[0]);
        let events = handle.events();
        let driver = smol::spawn(driver);
        let member = Member {
            handle,
            driver,
            dir,
        };
        Self {
            member,
            tap,
            events,
        }
    }

    /// Ends it. Where its data is, and every stream of bytes that came to it
    /// or was answered.
    async fn stop(mut self, printed: &mut Printed) -> (TempDir, Vec<Vec<u8>>) {
        printed.other(&self.member.handle);
        let dir = self.member.stop().await;
        while let Some(notice) = self.events.next().await {
            printed.other(&notice);
        }
        (dir, smol::unblock(|| self.tap.stop()).await)
    }
}

/// What a node keeps on its disk: contents, and paths.
fn look_at_files(dir: &Path, search: &Search) -> u64 {
    let mut len = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display().to_string();
        assert_eq!(search.find(shown.as_bytes()), None, "in the path {shown}");
        if path.is_dir() {
            len += look_at_files(&path, search);
        } else {
            let data = fs::read(&path).unwrap();
            assert_eq!(search.find(&data), None, "in {shown}");
            len += data.len() as u64;
        }
    }
    len
}

#[test]
fn nothing_of_contents_names_and_keys_is_seen_between_secure_nodes_or_on_their_disks() {
    smol::block_on(nothing_is_seen(false));
}

#[test]
fn nothing_of_contents_names_and_keys_is_seen_where_sealed_bytes_cross_in_clear() {
    smol::block_on(nothing_is_seen(true));
}

async fn nothing_is_seen(insecure: bool) {
    let (canaries, mut printed) = (Canaries::new(), Printed::default());
    let mut nodes: Vec<Tapped> = Vec::new();
    for _ in 0..3 {
        let node = Tapped::start(&canaries, &nodes, insecure, &mut printed);
        nodes.push(node);
    }
    for node in &nodes {
        node.member.handle.wait_for(3, 2).await.unwrap();
    }
    store(&nodes[0].member.handle, &canaries, &mut printed).await;
    look(&nodes[1].member.handle, &canaries, &mut printed).await;
    change(&nodes[2].member.handle, &canaries, &mut printed).await;
    let third = nodes.pop().unwrap();
    damage_one(&third, &nodes, &canaries, &mut printed).await;
    let mut ended = vec![third.stop(&mut printed).await];
    fail(&mut nodes, &mut ended, &canaries, &mut printed).await;
    for node in nodes {
        ended.push(node.stop(&mut printed).await);
    }

    let all = canaries.all();
    let moved: usize = canaries.files().iter().map(Vec::len).sum();
    let (mut crossed, mut kept) = (0, 0);
    for (dir, streams) in &ended {
        for stream in streams {
            assert_eq!(all.find(stream), None, "between nodes");
            crossed += stream.len();
        }
        kept += look_at_files(dir.path(), &all);
    }
    // All of it has crossed and is kept, sealed: the search had its chance.
    assert!(crossed > 2 * moved, "{crossed} bytes crossed, of {moved}");
    assert!(kept > 2 * moved as u64, "{kept} bytes are kept, of {moved}");
    for lines in printed.others.split(END) {
        assert_eq!(all.find(lines.as_bytes()), None, "printed: {lines}");
    }
    let owners = printed.owners.as_bytes();
    assert_eq!(
        canaries.secrets().find(owners),
        None,
        "printed for the owner"
    );
    assert_eq!(
        all.find(owners),
        Some("a name"),
        "names are the owner's to see"
    );
}

fn put_of(canaries: &Canaries, index: usize) -> Put {
    Put {
        writer: canaries.writer(),
        name: canaries.name(index),
        modified: None,
    }
}

/// Every file is put; values are printed half way.
async fn store(handle: &Handle, canaries: &Canaries, printed: &mut Printed) {
    for (index, file) in canaries.files().into_iter().enumerate() {
        let put = put_of(canaries, index);
        printed.owner(&put);
        let mut op = handle.put_writer(put).unwrap();
        // The handle and what waits in it, before and after the node looks.
        printed.other(handle);
        let (first, rest) = file.split_at(file.len() / 2);
        op.write_all(first).await.unwrap();
        printed.other(&op);
        op.write_all(rest).await.unwrap();
        printed.other(&op.finish().await.unwrap());
        op.settled().await.unwrap();
        printed.other(&op);
    }
    printed.other(&handle.status().await.unwrap());
    printed.other(&handle.peers().await.unwrap());
    printed.other(&handle.blocking());
    let writer = canaries.writer();
    printed.other(&(&writer, writer.reader(), writer.read_key()));
    printed.other(&NamespaceSecret::from_bytes(canaries.secret));
    let key = ClusterKey::from_bytes(canaries.cluster);
    let ticket = Ticket::new(key, vec![handle.addrs()[0].to_string().into()]);
    printed.other(&ticket.unwrap());
}

/// Every file is got whole, in part, and listed by another node.
async fn look(handle: &Handle, canaries: &Canaries, printed: &mut Printed) {
    let writer = canaries.writer();
    let reader = writer.reader();
    for (index, file) in canaries.files().into_iter().enumerate() {
        let name = canaries.name(index);
        let mut got = handle.get(reader, &name).await.unwrap();
        let mut data = vec![0; 16];
        got.fill_buf().await.unwrap();
        // It holds plaintext now.
        printed.owner(&got);
        got.read_exact(&mut data).await.unwrap();
        printed.owner(&got);
        got.read_to_end(&mut data).await.unwrap();
        assert!(data == file);
        let range = handle.get_range(reader, &name, 8..40);
        let mut part = Vec::new();
        range.await.unwrap().read_to_end(&mut part).await.unwrap();
        assert!(part == file[8..file.len().min(40)]);
    }
    let mut list = handle.list(reader, "folder/").unwrap();
    while let Some(entry) = list.next().await.unwrap() {
        printed.owner(&list);
        printed.owner(&entry);
    }
    printed.other(&list.end());
}

/// Histories, an older version, a restore, a remove, a forget.
async fn change(handle: &Handle, canaries: &Canaries, printed: &mut Printed) {
    let writer = canaries.writer();
    let reader = writer.reader();
    for index in [0, 6] {
        let name = canaries.name(index);
        printed.other(&handle.put(&writer, &name, &b"newer"[..]).await.unwrap());
        let mut history = handle.history(reader, &name).unwrap();
        let versions = history.page(10).await.unwrap();
        printed.owner(&versions);
        let old = versions[1].id;
        let mut got = handle.get_version(reader, &name, old).await.unwrap();
        let mut data = Vec::new();
        got.read_to_end(&mut data).await.unwrap();
        assert!(data == canaries.files()[index]);
        let restore = handle.restore(&writer, &name, old).unwrap();
        printed.other(&restore);
        printed.other(&restore.await.unwrap());
    }
    let removed = handle.remove(&writer, &canaries.name(1)).unwrap();
    printed.other(&removed);
    printed.other(&removed.await.unwrap());
    let forgotten = handle.forget(reader, &canaries.name(2)).unwrap();
    printed.other(&forgotten.await.unwrap());
}

/// A replica's blob files are cut short; it reads on, from others, and tells.
async fn damage_one(node: &Tapped, others: &[Tapped], canaries: &Canaries, printed: &mut Printed) {
    assert!(others.len() > 1);
    let cut = cut_blobs(node.member.dir.path());
    assert!(cut > 0, "there are blobs that are files");
    let writer = canaries.writer();
    let handle = &node.member.handle;
    let mut data = Vec::new();
    let mut events = handle.events();
    let mut got = handle
        .get(writer.reader(), &canaries.name(7))
        .await
        .unwrap();
    got.read_to_end(&mut data).await.unwrap();
    assert!(data == canaries.files()[7]);
    loop {
        let notice = events.next().await.unwrap();
        printed.other(&notice);
        if let Notice::Damaged(_) = notice {
            break;
        }
    }
}

/// Cuts every file of blobs in half: how many there were.
fn cut_blobs(dir: &Path) -> usize {
    let mut cut = 0;
    for entry in fs::read_dir(dir.join("blobs")).unwrap() {
        for blob in fs::read_dir(entry.unwrap().path()).unwrap() {
            let path = blob.unwrap().path();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            cut += 1;
        }
    }
    cut
}

/// What fails, and what is said of it: with one node down, then with two.
async fn fail(
    nodes: &mut Vec<Tapped>,
    ended: &mut Vec<(TempDir, Vec<Vec<u8>>)>,
    canaries: &Canaries,
    printed: &mut Printed,
) {
    let writer = canaries.writer();
    let handle = nodes[0].member.handle.clone();
    let missing = handle.get(writer.reader(), &canaries.name(1)).await;
    printed.error(&missing.unwrap_err());
    let other = NamespaceSecret::from_bytes(random()).writer();
    let foreign = handle.get(other.reader(), &canaries.name(0)).await;
    printed.error(&foreign.unwrap_err());
    // One that is dropped half way.
    let mut dropped = handle.put_writer(put_of(canaries, 8)).unwrap();
    dropped.write_all(&canaries.file(3 * CHUNK)).await.unwrap();
    drop(dropped);
    ended.push(nodes.pop().unwrap().stop(printed).await);
    let file = canaries.file(2 * CHUNK);
    let alone = handle.put(&writer, &canaries.name(9), &file[..]).await;
    printed.error(&alone.unwrap_err());
    let confirmed = Get {
        confirmed: true,
        ..Get::newest(writer.reader(), &canaries.name(0))
    };
    printed.owner(&confirmed);
    printed.error(&handle.get_with(confirmed).await.unwrap_err());
}

#[test]
fn the_search_finds_what_is_there_whole_or_cut_and_in_every_way_of_printing_it() {
    let canaries = Canaries::new();
    let all = canaries.all();
    let noise = bytes(1 << 20, 9);
    assert_eq!(all.find(&noise), None);
    for file in canaries.files() {
        assert!(all.find(&file).is_some());
        // On the owner's disk it would be found as well.
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("source"), &file).unwrap();
        let looked = std::panic::catch_unwind(|| look_at_files(dir.path(), &all));
        assert!(looked.is_err());
        let shown = format!("{:?}", bytes_of(&file));
        assert!(all.find(shown.as_bytes()).is_some(), "{shown}");
        assert!(all.find(format!("{file:?}").as_bytes()).is_some());
    }
    let marker = canaries.contents[0];
    for at in 0..=32 - 15 {
        let mut hidden = noise.clone();
        hidden[5000..5015].copy_from_slice(&marker[at..at + 15]);
        assert_eq!(all.find(&hidden), Some("contents"), "15 bytes from {at}");
    }
    let key = format!("{:?}", canaries.cluster);
    assert_eq!(all.find(key.as_bytes()), Some("the cluster key"));
    let name = format!("{:?}", canaries.name(0));
    assert_eq!(all.find(name.as_bytes()), Some("a name"));
}

/// As the values of this program hold bytes.
fn bytes_of(data: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(data)
}

#[test]
fn a_tap_sees_what_crosses_it() {
    smol::block_on(async {
        let (canaries, mut printed) = (Canaries::new(), Printed::default());
        let node = Tapped::start(&canaries, &[], false, &mut printed);
        let addr = node.tap.addr();
        let marker = canaries.contents[1];
        smol::unblock(move || {
            use std::io::{Read, Write};
            let mut socket = std::net::TcpStream::connect(addr).unwrap();
            socket.write_all(&marker).unwrap();
            // The refusal.
            let _ = socket.read(&mut [0; 64]);
        })
        .await;
        let (_, streams) = node.stop(&mut printed).await;
        let seen = streams
            .iter()
            .find_map(|stream| canaries.all().find(stream));
        assert_eq!(seen, Some("printable contents"));
    });
}
