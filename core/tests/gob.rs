//! Gob: Go's own streams in both directions, any cutting, and streams that no
//! Go program would write.

use bytes::Bytes;
use peerhold_core::foreverstore::{Message, NAMES, Rpc};
use peerhold_core::gob::{Decoder, Encoder, FieldType, GobError, Item, Limits, StructShape, Value};
use quickcheck::{Arbitrary, Gen, quickcheck};

#[path = "support/gob_bombs.rs"]
mod gob_bombs;
#[path = "support/hex.rs"]
mod hex;
#[path = "support/jsonl.rs"]
mod jsonl;

use gob_bombs::{
    array, bombs, def, int, interface_struct, map, nested_interfaces, slice, struct_of, text, uint,
    value_of,
};
use hex::{unhex, unhex_array};

const GOB: &str = include_str!("vectors/foreverstore/gob.jsonl");

#[test]
fn go_streams_decode_to_their_values() {
    let mut lines = 0;
    for line in GOB.lines() {
        let value = decode(&stream_of(line)).unwrap();
        assert_eq!(Spoken::from_value(line, &value), Spoken::of(line), "{line}");
        lines += 1;
    }
    assert_eq!(lines, 34);
}

#[test]
fn values_encode_to_gos_own_bytes() {
    for line in GOB.lines() {
        let bytes = match Spoken::of(line) {
            Spoken::Message(message) => message.encode(),
            Spoken::Rpc(rpc) => rpc.encode(),
        };
        assert_eq!(bytes, stream_of(line), "{line}");
    }
}

#[test]
fn go_streams_decode_in_every_cutting() {
    for line in GOB.lines() {
        let stream = Bytes::from(stream_of(line));
        let whole = decode(&stream).unwrap();
        for at in 0..=stream.len() {
            let pieces = [stream.slice(..at), stream.slice(at..)];
            assert_eq!(decode_pieces(&pieces), Ok(whole.clone()), "cut at {at}");
        }
        let bytes: Vec<Bytes> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        assert_eq!(decode_pieces(&bytes), Ok(whole));
    }
}

#[test]
fn the_example_of_gos_documentation_decodes() {
    let stream = "1fff8103010105506f696e7401ff82000102010158010400010159010400000007ff82012c014200";
    let value = decode(&unhex_array::<40>(stream)).unwrap();
    let point = value.as_struct().unwrap();
    assert_eq!(point.shape().name(), "Point");
    let fields: Vec<_> = point.fields().collect();
    assert_eq!(fields, [("X", &Value::Int(22)), ("Y", &Value::Int(33))]);
}

#[test]
fn no_type_id_is_assumed() {
    static HELD: StructShape = StructShape {
        id: 1000,
        name: "MessageGetFile",
        fields: &[("ID", FieldType::Str), ("Key", FieldType::Str)],
    };
    static OUTER: StructShape = StructShape {
        id: 65,
        name: "Message",
        fields: &[("Payload", FieldType::Interface)],
    };
    let fields = [Item::Str("i"), Item::Str("k")];
    let mut encoder = Encoder::new();
    let payload = Item::Interface(Some(("main.MessageGetFile", &HELD, &fields)));
    encoder.encode(&OUTER, &[payload]);
    let value = decode(&encoder.finish()).unwrap();
    let (id, key) = ("i".to_owned(), "k".to_owned());
    assert_eq!(Message::from_value(&value), Ok(Message::Get { id, key }));
}

#[test]
fn fields_that_a_message_does_not_have_are_passed_over() {
    let shapes = [
        slice(70, 2),
        array(71, 3, 2),
        gob_bombs::map(72, 6, 4),
        def(73, 5, &[]),
        struct_of(74, &[("Deep", 70)]),
        struct_of(
            64,
            &[
                ("S", 70),
                ("A", 71),
                ("M", 72),
                ("O", 73),
                ("T", 74),
                ("F", 4),
                ("C", 7),
                ("N", 8),
                ("From", 6),
            ],
        ),
    ];
    let body: [&[u8]; 10] = [
        &[1, 2, 2, 4],                      // S: 1, 2
        &[1, 2, 5, 6],                      // A: 5, 6
        &[1, 1, 1, b'k', 0xfe, 0xf0, 0x3f], // M: k = 1.0
        &[1, 3, 7, 7, 7],                   // O: three bytes
        &[1, 1, 1, 2, 0],                   // T: Deep: 1
        &[1, 0xfe, 0xf8, 0x7f],             // F: not a number
        &[1, 0, 0xfe, 0xf0, 0x3f],          // C: 0 + 1i
        &[1, 0],                            // N: nil
        &[1, 2, b'm', b'e'],                // From
        &[0],
    ];
    let stream = [shapes.concat(), value_of(64, &body.concat())].concat();
    let value = decode(&stream).unwrap();
    let from = "me".to_owned();
    let rpc = Rpc {
        from,
        ..Rpc::default()
    };
    assert_eq!(Rpc::from_value(&value), Ok(rpc));
    let fields = value.as_struct().unwrap();
    assert_eq!(
        fields.get("S"),
        Some(&Value::List(vec![Value::Int(1), Value::Int(2)]))
    );
    assert_eq!(fields.get("C"), Some(&Value::Complex(0.0, 1.0)));
    assert!(matches!(fields.get("F"), Some(Value::Float(value)) if value.is_nan()));
}

#[test]
fn values_that_are_no_structs_decode() {
    assert_eq!(decode(&value_of(2, &[0, 3])), Ok(Value::Int(-2)));
    assert_eq!(
        decode(&value_of(2, &[&[0], &int(i64::MIN)[..]].concat())),
        Ok(Value::Int(i64::MIN))
    );
    assert_eq!(
        decode(&value_of(3, &[&[0], &uint(u64::MAX)[..]].concat())),
        Ok(Value::Uint(u64::MAX))
    );
    assert_eq!(
        decode(&value_of(5, &[&[0], &text(b"x")[..]].concat())),
        Ok(Value::Bytes(Bytes::from_static(b"x")))
    );
    let held = [&[1, 1, b'a'], &int(2)[..], &[2, 0, 4, 0]].concat();
    let stream = [interface_struct(), value_of(64, &held)].concat();
    let value = decode(&stream).unwrap();
    let named = value
        .as_struct()
        .unwrap()
        .get("X")
        .unwrap()
        .as_named()
        .unwrap();
    assert_eq!((named.name.as_str(), &named.value), ("a", &Value::Int(2)));
}

#[test]
fn what_go_would_not_write_is_refused_in_any_cutting() {
    for (what, stream, expected) in bombs() {
        let stream = Bytes::from(stream);
        assert_eq!(decode(&stream), Err(expected), "{what}");
        let bytes: Vec<Bytes> = (0..stream.len()).map(|at| stream.slice(at..=at)).collect();
        assert_eq!(decode_pieces(&bytes), Err(expected), "{what}, byte by byte");
    }
}

#[test]
fn what_is_within_the_limits_is_not_refused() {
    let ints = |count: usize| {
        let body = [&[0], &uint(count as u64)[..], &vec![2; count]].concat();
        [slice(64, 2), value_of(64, &body)].concat()
    };
    assert!(decode(&ints(255)).is_ok());
    let long = [
        struct_of(64, &[("P", 5)]),
        value_of(64, &[&[1], &text(&[7; 65_000])[..], &[0]].concat()),
    ];
    assert!(decode(&long.concat()).is_ok());
    let types: Vec<u8> = (64..128).flat_map(|id| slice(id, 2)).collect();
    assert!(decode(&[types, value_of(127, &[0, 0])].concat()).is_ok());
}

#[test]
fn a_key_that_is_twice_in_a_map_is_there_twice_in_the_order_of_the_stream() {
    let pairs = [&[1, b'a'][..], &[2], &[1, b'b'], &[4], &[1, b'a'], &[6]].concat();
    let stream = [map(64, 6, 2), value_of(64, &[&[0, 3], &pairs[..]].concat())].concat();
    let value = decode(&stream).unwrap();
    let Value::Map(items) = &value else {
        panic!("{value:?}");
    };
    let items = items.iter().map(|(key, value)| {
        let (key, value) = (key.as_str(), value.as_int());
        (key.unwrap(), value.unwrap())
    });
    assert_eq!(items.collect::<Vec<_>>(), [("a", 1), ("b", 2), ("a", 3)]);
}

#[test]
fn a_field_delta_of_zero_ends_a_struct_and_nothing_else() {
    let shape = struct_of(64, &[("A", 2), ("B", 65), ("C", 2)]);
    let inner = struct_of(65, &[("D", 2)]);
    let with = |body: &[u8]| decode(&[&shape[..], &inner, &value_of(64, body)].concat());
    let empty = with(&[0]).unwrap();
    let fields = empty.as_struct().unwrap();
    let none = ["A", "B", "C"].map(|name| fields.get(name));
    assert_eq!(none, [None; 3]);
    // The zero of the inner one ends that alone; the next delta counts from it.
    let value = with(&[2, 1, 8, 0, 1, 6, 0]).unwrap();
    let fields = value.as_struct().unwrap();
    let inner = fields.get("B").unwrap().as_struct().unwrap();
    assert_eq!(inner.get("D"), Some(&Value::Int(4)));
    assert_eq!(
        (fields.get("A"), fields.get("C")),
        (None, Some(&Value::Int(3)))
    );
    // Behind the zero there is nothing, not even another one, and what is
    // behind it is no field.
    assert_eq!(with(&[0, 0]), Err(GobError::Trailing(1)));
    assert_eq!(with(&[0, 1, 2, 0]), Err(GobError::Trailing(3)));
    // The inner one's zero is not the outer one's.
    assert_eq!(with(&[2, 1, 8, 0]), Err(GobError::Truncated));
}

#[test]
fn ten_thousand_levels_are_refused_without_a_deep_stack() {
    const LEVELS: usize = 10_001;
    let nested = Bytes::from(nested_interfaces(LEVELS));
    let run = |limits| {
        let mut decoder = Decoder::new(limits, &["a"]);
        decoder.decode(&mut nested.clone())
    };
    // By their length, or where an embedder allows that, by their depth.
    let max = Limits::default().bytes;
    let refused = run(Limits::default());
    assert!(
        matches!(refused, Err(GobError::TooLong { max: of, .. }) if of == max),
        "{refused:?}"
    );
    for depth in [16, 10_000] {
        let limits = Limits {
            bytes: nested.len(),
            values: nested.len(),
            depth,
            ..Limits::default()
        };
        assert_eq!(run(limits), Err(GobError::TooDeep(depth)));
    }
}

#[test]
fn an_error_is_final_until_the_decoder_is_started_anew() {
    let mut decoder = Decoder::new(Limits::default(), NAMES);
    let mut input = Bytes::from_static(&[0, 1, 2, 3]);
    assert_eq!(decoder.decode(&mut input), Err(GobError::Empty));
    let mut good = Bytes::from(value_of(2, &[0, 2]));
    let whole = good.len();
    assert_eq!(decoder.decode(&mut good), Err(GobError::Empty));
    assert_eq!(good.len(), whole, "something was taken");
    assert!(!decoder.is_mid_value());
    decoder.restart();
    assert_eq!(decoder.decode(&mut good), Ok(Some(Value::Int(1))));
}

#[test]
fn types_last_for_their_stream_and_no_longer() {
    let mut decoder = Decoder::new(Limits::default(), NAMES);
    let value = value_of(64, &[0, 1, 2]);
    let mut stream = Bytes::from([slice(64, 2), value.clone(), value.clone()].concat());
    let list = Value::List(vec![Value::Int(1)]);
    assert_eq!(decoder.decode(&mut stream), Ok(Some(list.clone())));
    assert!(!decoder.is_mid_value());
    assert_eq!(decoder.decode(&mut stream), Ok(Some(list)));
    decoder.restart();
    assert_eq!(
        decoder.decode(&mut value.into()),
        Err(GobError::UndefinedType(64))
    );
}

#[test]
fn one_flipped_bit_of_gos_streams_ends_the_same_in_any_cutting() {
    for line in GOB.lines().filter(|line| line.len() < 800) {
        let stream = stream_of(line);
        for bit in 0..8 * stream.len() {
            let mut flipped = stream.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            peerhold_core::check::gob(&[&[3, 1, 30, 50], &flipped[..]].concat());
        }
    }
}

#[test]
fn the_corpus_of_the_fuzzer_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gob");
    let files = std::fs::read_dir(folder).unwrap();
    let checked =
        files.map(|file| peerhold_core::check::gob(&std::fs::read(file.unwrap().path()).unwrap()));
    assert!(checked.count() >= 15);
}

quickcheck! {
    fn any_message_comes_back(id: String, key: String, size: i64, get: bool) -> bool {
        let message = if get { Message::Get { id, key } } else { Message::Store { id, key, size } };
        let bytes = Bytes::from(message.encode());
        Message::decode(bytes, Limits::default()) == Ok(message)
    }

    fn any_envelope_comes_back(from: String, payload: Vec<u8>, stream: bool) -> bool {
        let rpc = Rpc { from, payload: payload.into(), stream };
        Rpc::from_value(&decode(&rpc.encode()).unwrap()) == Ok(rpc)
    }

    fn any_tree_comes_back_in_any_cutting(tree: Tree, cuts: Vec<u8>) -> bool {
        let mut encoder = Encoder::new();
        tree.with(&mut |fields| encoder.encode(&TREE, fields));
        let mut left = Bytes::from(encoder.finish());
        let mut pieces: Vec<Bytes> = cuts
            .iter()
            .map(|cut| left.split_to(left.len().min(usize::from(*cut))))
            .collect();
        pieces.push(left);
        let value = decode_pieces(&pieces).unwrap();
        tree.is(&value)
    }

    fn any_bytes_end_the_same_in_any_cutting(bytes: Vec<u8>) -> bool {
        peerhold_core::check::gob(&bytes);
        true
    }
}

/// A value that holds others in interfaces and in itself, of two types.
#[derive(Clone, Debug)]
struct Tree {
    number: i64,
    text: String,
    flag: bool,
    leaf: i64,
    /// In an interface: another tree, or a leaf.
    held: Option<Result<Box<Tree>, i64>>,
    more: Option<i64>,
}

static LEAF: StructShape = StructShape {
    id: 70,
    name: "Leaf",
    fields: &[("N", FieldType::Int)],
};

static TREE: StructShape = StructShape {
    id: 69,
    name: "Tree",
    fields: &[
        ("Number", FieldType::Int),
        ("Text", FieldType::Str),
        ("Flag", FieldType::Bool),
        ("Leaf", FieldType::Struct(&INNER)),
        ("Held", FieldType::Interface),
        ("More", FieldType::Interface),
    ],
};

static INNER: StructShape = StructShape {
    id: 71,
    name: "",
    fields: &[("L", FieldType::Int)],
};

impl Tree {
    fn with(&self, then: &mut dyn FnMut(&[Item<'_>])) {
        let leaf = [Item::Int(self.leaf)];
        let more = self.more.map(|more| [Item::Int(more)]);
        let more = Item::Interface(more.as_ref().map(|more| ("a", &LEAF, &more[..])));
        let mut finish = |held: Item<'_>| {
            then(&[
                Item::Int(self.number),
                Item::Str(&self.text),
                Item::Bool(self.flag),
                Item::Struct(&leaf),
                held,
                more,
            ]);
        };
        match &self.held {
            None => finish(Item::Interface(None)),
            Some(Err(leaf)) => finish(Item::Interface(Some(("a", &LEAF, &[Item::Int(*leaf)])))),
            Some(Ok(tree)) => {
                tree.with(&mut |fields| finish(Item::Interface(Some(("b", &TREE, fields)))))
            }
        }
    }

    fn is(&self, value: &Value) -> bool {
        let fields = value.as_struct().expect("a struct");
        let int = |value: Option<&Value>| value.map_or(Some(0), Value::as_int);
        let leaf_is = |value: Option<&Value>, leaf: Option<i64>| match (value, leaf) {
            (None, None) => true,
            (Some(value), Some(leaf)) => value.as_named().is_some_and(|named| {
                named.name.as_str() == "a"
                    && int(named.value.as_struct().unwrap().get("N")) == Some(leaf)
            }),
            _ => false,
        };
        let held = fields.get("Held");
        int(fields.get("Number")) == Some(self.number)
            && fields.get("Text").map_or(Some(""), Value::as_str) == Some(&self.text)
            && fields.get("Flag").map_or(Some(false), Value::as_bool) == Some(self.flag)
            && int(fields.get("Leaf").unwrap().as_struct().unwrap().get("L")) == Some(self.leaf)
            && leaf_is(fields.get("More"), self.more)
            && match &self.held {
                None => held.is_none(),
                Some(Err(leaf)) => leaf_is(held, Some(*leaf)),
                Some(Ok(tree)) => held
                    .and_then(Value::as_named)
                    .is_some_and(|named| named.name.as_str() == "b" && tree.is(&named.value)),
            }
    }
}

impl Arbitrary for Tree {
    fn arbitrary(g: &mut Gen) -> Self {
        tree(g, 6)
    }
}

fn tree(g: &mut Gen, depth: u8) -> Tree {
    let held = match u8::arbitrary(g) % 4 {
        0 => None,
        1 => Some(Err(i64::arbitrary(g))),
        _ if depth == 0 => None,
        _ => Some(Ok(Box::new(tree(g, depth - 1)))),
    };
    Tree {
        number: i64::arbitrary(g),
        text: String::arbitrary(g),
        flag: bool::arbitrary(g),
        leaf: i64::arbitrary(g),
        held,
        more: Option::arbitrary(g),
    }
}

/// What a line of the vectors says.
#[derive(Debug, PartialEq)]
enum Spoken {
    Message(Message),
    Rpc(Rpc),
}

impl Spoken {
    fn of(line: &str) -> Self {
        let text = |field| jsonl::text(line, field).unwrap().to_owned();
        let bare = |field| {
            let value = jsonl::value(line, field).unwrap();
            value.split([',', '}']).next().unwrap().to_owned()
        };
        match jsonl::text(line, "type").unwrap() {
            "MessageStoreFile" => Self::Message(Message::Store {
                id: text("id"),
                key: text("key"),
                size: bare("size").parse().unwrap(),
            }),
            "MessageGetFile" => Self::Message(Message::Get {
                id: text("id"),
                key: text("key"),
            }),
            "RPC" => Self::Rpc(Rpc {
                from: text("from"),
                payload: unhex(&text("payload")).into(),
                stream: bare("stream") == "true",
            }),
            other => panic!("{other}"),
        }
    }

    fn from_value(line: &str, value: &Value) -> Self {
        if line.contains("\"RPC\"") {
            Self::Rpc(Rpc::from_value(value).unwrap())
        } else {
            Self::Message(Message::from_value(value).unwrap())
        }
    }
}

fn stream_of(line: &str) -> Vec<u8> {
    unhex(jsonl::text(line, "hex").unwrap())
}

/// The one value that is all of a stream.
fn decode(stream: &[u8]) -> Result<Value, GobError> {
    decode_pieces(&[Bytes::copy_from_slice(stream)])
}

fn decode_pieces(pieces: &[Bytes]) -> Result<Value, GobError> {
    const KNOWN: &[&str] = &["main.MessageStoreFile", "main.MessageGetFile", "a", "b"];
    let mut decoder = Decoder::new(Limits::default(), KNOWN);
    let mut whole = None;
    for piece in pieces {
        let mut input = piece.clone();
        if let Some(value) = decoder.decode(&mut input)? {
            assert_eq!(whole.replace(value), None, "a second value");
        }
        assert!(input.is_empty(), "bytes are left");
    }
    Ok(whole.unwrap_or_else(|| panic!("the stream ends within a value: {decoder:?}")))
}
