//! Looks for secrets in bytes, in whatever way they could have got there.

use std::fmt::Write;

/// So much of a secret gives it away: pieces of this size are looked for, so
/// that any 15 bytes in a row are found.
const PIECE: usize = 8;

/// What is looked for.
#[derive(Default)]
pub(crate) struct Search {
    needles: Vec<(&'static str, Vec<u8>)>,
    /// Needles by their first byte.
    by_first: Vec<Vec<usize>>,
}

impl Search {
    /// Bytes, and as they would be printed: in hex, as a list of numbers, as
    /// an escaped string.
    pub(crate) fn add(&mut self, what: &'static str, secret: &[u8]) {
        for piece in secret.chunks_exact(PIECE) {
            let hex = |upper| {
                piece.iter().fold(String::new(), |mut text, byte| {
                    let _ = match upper {
                        true => write!(text, "{byte:02X}"),
                        false => write!(text, "{byte:02x}"),
                    };
                    text
                })
            };
            let list = format!("{piece:?}");
            // Over several lines, as `{:#?}` has it, nested once or twice.
            let tall = |indent: &str| {
                let lines: Vec<String> = piece.iter().map(u8::to_string).collect();
                lines.join(&format!(",\n{indent}"))
            };
            let escaped = format!("{:?}", bytes::Bytes::copy_from_slice(piece));
            self.needle(what, piece.to_vec());
            self.needle(what, hex(false).into());
            self.needle(what, hex(true).into());
            self.needle(what, list[1..list.len() - 1].into());
            self.needle(what, escaped[2..escaped.len() - 1].into());
            for depth in 0..8 {
                self.needle(what, tall(&"    ".repeat(depth)).into());
            }
        }
    }

    /// A text, of which no part may be seen either but its beginning, which
    /// says what it is.
    pub(crate) fn add_text(&mut self, what: &'static str, text: &str) {
        let secret = &text.as_bytes()[16..];
        for piece in secret.chunks_exact(PIECE) {
            self.needle(what, piece.to_vec());
        }
    }

    fn needle(&mut self, what: &'static str, needle: Vec<u8>) {
        self.by_first.resize(256, Vec::new());
        self.by_first[usize::from(needle[0])].push(self.needles.len());
        self.needles.push((what, needle));
    }

    /// What of it is there, if anything is.
    pub(crate) fn find(&self, data: &[u8]) -> Option<&'static str> {
        (0..data.len()).find_map(|at| {
            let (first, rest) = (usize::from(data[at]), &data[at..]);
            let found = self.by_first[first]
                .iter()
                .find(|index| rest.starts_with(&self.needles[**index].1));
            found.map(|index| self.needles[*index].0)
        })
    }
}
