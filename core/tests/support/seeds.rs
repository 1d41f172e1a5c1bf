//! Inputs of fuzz targets made of the vectors.

use minicbor::Encoder;
use peerhold_core::check;
use peerhold_core::text::Kind;
use peerhold_core::wire::frame::{Flags, HEADER_LEN};
use peerhold_core::wire::message::kind;

use crate::hex::{unhex, unhex_array};
use crate::jsonl::text;

const MESSAGES: &str = include_str!("../vectors/messages.txt");
const MEMBERS: &str = include_str!("../vectors/members.txt");
const ADMISSION: &str = include_str!("../vectors/admission.txt");
const TEXT: &str = include_str!("../vectors/text.txt");
const TICKETS: &str = include_str!("../vectors/tickets.txt");
const PATHS: &str = include_str!("../vectors/paths.txt");
const GO_PATHS: &str = include_str!("../vectors/foreverstore/paths.jsonl");
const GRANTS: &str = include_str!("../vectors/grants.txt");
const RECORDS: &str = include_str!("../vectors/seal_records.jsonl");
const NODES: &str = include_str!("../vectors/seal_nodes.jsonl");
const CHUNKS: &str = include_str!("../vectors/seal_chunks.jsonl");
const TAPE: &str = include_str!("../vectors/tape.txt");

type Inputs = Vec<Vec<u8>>;

/// The targets that have vectors.
pub(crate) fn all() -> Vec<(&'static str, Inputs)> {
    vec![
        ("frame", frames()),
        ("message", messages()),
        ("admission", admissions()),
        ("text", texts()),
        ("path", paths()),
        ("record", records()),
        ("manifest", blobs()),
        ("tape", tapes()),
    ]
}

pub(crate) fn check(target: &str) -> fn(&[u8]) {
    match target {
        "frame" => check::frame,
        "message" => check::message,
        "admission" => check::admission,
        "text" => check::text,
        "path" => check::path,
        "record" => check::record,
        "manifest" => check::manifest,
        "tape" => check::tape,
        other => panic!("no vectors for {other}"),
    }
}

/// Lines that are not comments, in words.
fn lines(vectors: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = vectors.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn frames() -> Inputs {
    let frames = lines(MESSAGES).filter(|words| words[0] == "frame");
    let frames = frames.map(|words| unhex(words[2]));
    let cut = |frame: Vec<u8>| [&[0xff, 0xff, 3, 1, 8, 20], &frame[..]].concat();
    frames.map(cut).collect()
}

/// Which message the target is to read, as its check numbers them.
fn number(of: u8, flags: u8) -> u8 {
    let answer = flags & Flags::RESPONSE.bits() != 0;
    match (of, answer) {
        (kind::HELLO, _) => 0,
        (kind::PROOF, _) => 1,
        (kind::MEMBERS, _) => 2,
        (kind::PEERS, _) => 3,
        (kind::CLAIM, false) => 4,
        (kind::CLAIM, true) => 5,
        (kind::FETCH, _) => 6,
        (kind::LOOKUP, false) => 7,
        (kind::LOOKUP, true) => 8,
        (kind::KEEP, _) => 9,
        (kind::LIST, false) => 10,
        (kind::HISTORY, false) => 11,
        (kind::LIST | kind::HISTORY, true) => 12,
        (kind::REFUSED, _) => 13,
        _ => 14,
    }
}

fn messages() -> Inputs {
    let names = [
        "hello", "proof", "members", "peers", "claim", "claimed", "fetch", "lookup", "found",
        "keep", "list", "history", "rows", "refused",
    ];
    let mut inputs = Vec::new();
    for words in lines(MESSAGES) {
        match words[0] {
            "frame" => {
                let frame = unhex(words[2]);
                let which = number(frame[8], frame[9]);
                inputs.push([&[which], &frame[HEADER_LEN..]].concat());
                if [3, 4].contains(&which) {
                    inputs.push([&[14], &frame[HEADER_LEN..]].concat());
                }
            }
            "bad" => {
                let which = names.iter().position(|name| *name == words[1]);
                let which = which.expect("a known message") as u8;
                let body = words.get(3).map_or(Vec::new(), |hex| unhex(hex));
                inputs.push([&[which], &body[..]].concat());
            }
            _ => {
                let of = |name: &&str| words[1].starts_with(*name);
                let which = names.iter().position(of).unwrap_or(12) as u8;
                inputs.push([&[which], &unhex(words[2])[..]].concat());
            }
        }
    }
    let members = lines(MEMBERS).filter(|words| words[0] == "encoding");
    inputs.extend(members.map(|words| [&[15], &unhex(words[1])[..]].concat()));
    inputs
}

fn admissions() -> Inputs {
    let mut inputs = Vec::new();
    for words in lines(ADMISSION) {
        for (hello, proof) in [(7, 9), (8, 10)] {
            for role in [1, 3] {
                let [hello, proof] = [hello, proof].map(|at| sized(&unhex(words[at])));
                inputs.push([&[role], &hello[..], &proof].concat());
            }
        }
        for (choices, change) in [(0, 0), (2, 0), (4, 0), (0, 1)] {
            let nonce = unhex_array::<32>(words[2]);
            let rest = [0, 0, 0, 100, 0, 40, change];
            inputs.push([&[choices], &nonce[..], &rest].concat());
        }
    }
    inputs
}

fn texts() -> Inputs {
    let mut inputs = Vec::new();
    for words in lines(TEXT).chain(lines(TICKETS)) {
        let written = words.last().expect("a text");
        inputs.push([&[0], written.as_bytes()].concat());
        let upper = written.to_ascii_uppercase();
        inputs.push([&[0], upper.as_bytes()].concat());
        let kind = Kind::ALL
            .iter()
            .position(|kind| Kind::of(written) == Some(*kind));
        if let Some(at) = kind.filter(|_| words.len() == 3 && words[0] != "refused") {
            inputs.push([&[at as u8 + 1], &unhex(words[1])[..]].concat());
        }
    }
    inputs
}

fn paths() -> Inputs {
    let ids = lines(PATHS).map(|words| [&unhex(words[0])[..], words[1].as_bytes()].concat());
    let keys = GO_PATHS.lines().filter_map(|line| text(line, "key"));
    let keys = keys.map(|key| [&[7; 32], key.as_bytes()].concat());
    ids.chain(keys).collect()
}

fn records() -> Inputs {
    let mut inputs = Vec::new();
    for line in RECORDS.lines().filter(|line| line.len() < 6000) {
        let field = |name| unhex(text(line, name).expect("a field"));
        let (head, meta, content) = (field("head"), field("sealed_meta"), field("sealed_content"));
        inputs.push([&[0], &sized(&head)[..], &sized(&meta), &content].concat());
        inputs.push([&[1], &head[..head.len() - 64]].concat());
        let name = text(line, "name").expect("a field");
        let number = |field| text(line, field).expect("a field").parse::<u64>().ok();
        let mut meta = Vec::new();
        let mut e = Encoder::new(&mut meta);
        let e = e.array(4).unwrap().str(name).unwrap();
        let e = e.u64(number("size").expect("a size")).unwrap();
        match number("modified") {
            Some(at) => e.u64(at).unwrap(),
            None => e.null().unwrap(),
        };
        e.u64(number("chunk_size").expect("a size")).unwrap();
        let (choice, content) = match text(line, "content").expect("a field") {
            "inline" => (0, field("data")),
            "removed" => (1, Vec::new()),
            _ => (2, vec![5; 32]),
        };
        let fixed = [field("version"), field("floor"), field("put")].concat();
        let root = [&[0, 0, 0, 0], &[9; 32][..]].concat();
        let meta = sized(&meta);
        // A tree of two levels, where there is one.
        let choice = [3, choice, choice];
        inputs.push([&choice, &fixed[..], &root, &meta, &content].concat());
    }
    let bytes = |words: Vec<&str>| {
        let hex = match words[0] {
            "bad" => words.get(2),
            _ => words.last(),
        };
        hex.map_or(Vec::new(), |hex| unhex(hex))
    };
    let grants = lines(GRANTS).map(bytes);
    inputs.extend(grants.map(|grant| [&[2], &grant[..]].concat()));
    inputs
}

fn blobs() -> Inputs {
    let mut inputs = Vec::new();
    for line in NODES.lines().filter(|line| line.len() < 6000) {
        let field = |name| unhex(text(line, name).expect("a field"));
        inputs.push([&[0], &field("blob")[..]].concat());
        let level: u8 = text(line, "level").expect("a field").parse().unwrap();
        let chunk: u32 = text(line, "chunk_size").expect("a field").parse().unwrap();
        let children = field("children");
        let len: u64 = children
            .chunks(72)
            .map(|child| u64::from_be_bytes(child[64..].try_into().unwrap()))
            .sum();
        let shape = [
            &[level, level],
            &len.to_be_bytes()[..],
            &chunk.to_be_bytes(),
        ]
        .concat();
        for range in [0..len, len / 2..len, 1..2] {
            let range = [range.start.to_be_bytes(), range.end.to_be_bytes()].concat();
            inputs.push([&[1], &shape[..], &range, &children].concat());
        }
    }
    for line in CHUNKS.lines().filter(|line| line.len() < 2000) {
        let field = |name| unhex(text(line, name).expect("a field"));
        inputs.push([&[0], &field("blob")[..]].concat());
        let plain = field("plain");
        let len = (plain.len() as u32).to_be_bytes();
        inputs.push([&[2], &len[..], &plain, &[0; 3]].concat());
    }
    inputs
}

/// The tape as it is, and as its bodies.
fn tapes() -> Inputs {
    let mut inputs = Vec::new();
    for words in lines(TAPE) {
        let tape = unhex(words[1]);
        inputs.push([&[0, 3, 16, 5, 200], &tape[..]].concat());
        let mut bodies = vec![1, 2, 40, 100];
        let mut rest = &tape[16..];
        while let Some((header, behind)) = rest.split_first_chunk::<12>() {
            let len = u32::from_be_bytes(*header.first_chunk().unwrap()) as usize;
            bodies.extend(sized(&behind[..len]));
            rest = &behind[len..];
        }
        inputs.push(bodies);
    }
    inputs
}
