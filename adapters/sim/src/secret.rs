//! Looking for bytes that must not be where they are looked for.

/// Whether `needle` stands in `hay`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let mut hay = hay;
    while let Some(at) = hay.iter().position(|byte| byte == first) {
        hay = &hay[at + 1..];
        if hay.starts_with(rest) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_needle_is_found_wherever_it_stands_and_nowhere_else() {
        assert!(contains(b"needle in", b"needle"));
        assert!(contains(b"in a neneedle", b"needle"));
        assert!(contains(b"abc", b""));
        assert!(!contains(b"needl", b"needle"));
        assert!(!contains(b"", b"n"));
    }
}
