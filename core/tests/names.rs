//! Names as people and others make them: the bad-input catalogue's row of
//! names. A name is its bytes; nothing that looks like another one is it, and
//! nothing in it reaches a terminal or a log as anything but text.

use bytes::Bytes;
use peerhold_core::id::PutId;
use peerhold_core::seal::{
    Content, Draft, Meta, Name, NameError, NamespaceSecret, Writer, open_record, seal_record,
};
use peerhold_core::version::Version;
use quickcheck::quickcheck;

fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

/// Names that look alike, or are shown as nothing, or as something else.
const ODD: [(&str, &str); 17] = [
    ("composed (NFC)", "caf\u{e9}"),
    ("decomposed (NFD)", "cafe\u{301}"),
    ("small", "file.txt"),
    ("capital", "FILE.TXT"),
    ("dotless", "f\u{131}le.txt"),
    ("full width", "\u{ff46}\u{ff49}\u{ff4c}\u{ff45}.txt"),
    ("right-to-left override", "file\u{202e}txt.exe"),
    ("isolates", "\u{2067}file\u{2069}"),
    ("zero-width space", "fi\u{200b}le.txt"),
    ("zero-width joiner", "fi\u{200d}le.txt"),
    ("byte order mark", "\u{feff}file.txt"),
    ("line feed", "file.txt\nERROR: all is lost"),
    ("carriage return", "file.txt\rok"),
    ("escape sequence", "\u{1b}[2J\u{1b}]0;title\u{7}"),
    ("C1 control", "file\u{9b}31m.txt"),
    ("line separator", "file\u{2028}.txt"),
    ("a path", "../../etc/passwd"),
];

fn sealed(name: &Name) -> Result<Name, String> {
    let writer = writer();
    let meta = Meta {
        name: name.clone(),
        size: 0,
        modified: None,
        chunk_size: 1 << 20,
    };
    let draft = Draft {
        epoch: 0,
        version: Version::from_bytes([1; 16]),
        put: PutId([2; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let content = Content::Inline(Bytes::new());
    let record = seal_record(&writer, draft, &meta, &content).map_err(|error| error.to_string())?;
    let opened = open_record(writer.reader(), &record.head, &record.meta, &record.content);
    Ok(opened.map_err(|error| error.to_string())?.0.name)
}

#[test]
fn names_that_look_alike_are_different_names_and_come_back_byte_for_byte() {
    let mut tags = Vec::new();
    for (what, text) in ODD {
        let name = Name::new(text).expect(what);
        assert_eq!(name.as_str().as_bytes(), text.as_bytes(), "{what}");
        assert_eq!(sealed(&name).as_ref(), Ok(&name), "{what}");
        tags.push(writer().reader().tag(&name));
    }
    let all = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), all, "two names have one tag");
}

#[test]
fn nothing_in_a_name_reaches_a_log_as_anything_but_text() {
    for (what, text) in ODD {
        let shown = format!("{:?}", Name::new(text).expect(what));
        let odd = |char: char| {
            char.is_control()
                || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        assert!(!shown.contains(odd), "{what}: {shown}");
    }
}

#[test]
fn names_have_one_to_1024_bytes_and_no_nul() {
    for len in [0, 1025, 65_535, 65_536, 1 << 20] {
        let expected = match len {
            0 => NameError::Empty,
            len => NameError::TooLong { len },
        };
        assert_eq!(Name::new(&"n".repeat(len)), Err(expected));
    }
    for len in [1, 255, 256, 1023, 1024] {
        let name = Name::new(&"n".repeat(len)).expect("a name");
        assert_eq!(sealed(&name).as_ref(), Ok(&name));
    }
    // Bytes count, not characters.
    assert_eq!(
        Name::new(&"\u{1f4be}".repeat(257)),
        Err(NameError::TooLong { len: 1028 })
    );
    for at in [0, 3, 1023] {
        let mut text = "n".repeat(1024);
        text.replace_range(at..=at, "\0");
        assert_eq!(Name::new(&text), Err(NameError::Nul { at }));
    }
}

quickcheck! {
    fn any_text_is_a_name_that_comes_back_or_is_refused(text: String) -> bool {
        match Name::new(&text) {
            Ok(name) => sealed(&name) == Ok(name),
            Err(_) => text.is_empty() || text.len() > 1024 || text.contains('\0'),
        }
    }
}
