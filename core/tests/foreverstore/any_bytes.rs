//! Whatever a peer sends.

use peerhold_core::check::goconn;
use peerhold_core::foreverstore::Message;
use quickcheck::{Arbitrary, Gen, quickcheck};

#[test]
fn the_corpus_of_the_fuzzer_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/goconn");
    let files = std::fs::read_dir(folder).unwrap();
    let checked = files.map(|file| goconn(&std::fs::read(file.unwrap().path()).unwrap()));
    assert!(checked.count() >= 6);
}

quickcheck! {
    fn any_bytes_come_to_the_same_in_any_cutting(bytes: Vec<u8>) -> bool {
        goconn(&bytes);
        true
    }

    fn any_talk_comes_to_the_same_in_any_cutting(choices: u8, cuts: Vec<u8>, talk: Vec<Said>) -> bool {
        let cuts = &cuts[..cuts.len().min(255)];
        let head = [choices & !1, cuts.len() as u8];
        let talk: Vec<u8> = talk.iter().flat_map(|said| said.0.clone()).collect();
        goconn(&[&head[..], cuts, &talk].concat());
        true
    }
}

/// Something that a peer may say, mostly in good order.
#[derive(Clone, Debug)]
struct Said(Vec<u8>);

impl Arbitrary for Said {
    fn arbitrary(g: &mut Gen) -> Self {
        let id = g.choose(&["ab", "cc"]).unwrap().repeat(32);
        let key = g.choose(&["0", "1"]).unwrap().repeat(32);
        let size = i64::from(u16::arbitrary(g) % 3000);
        let stream = |size: i64| {
            let sealed = (0..size).map(|at| at as u8);
            sealed.collect::<Vec<u8>>()
        };
        let message = |message: Message| [vec![1], message.encode()].concat();
        Self(match u8::arbitrary(g) % 8 {
            0 => message(Message::Get { id, key }),
            1..=3 => {
                let store = Message::Store {
                    id,
                    key,
                    size: size + 16,
                };
                [message(store), vec![2], stream(size + 16)].concat()
            }
            4 | 5 => [&[2], &(size + 16).to_le_bytes()[..], &stream(size + 16)].concat(),
            6 => message(Message::Store { id, key, size }),
            _ => Vec::arbitrary(g),
        })
    }
}
