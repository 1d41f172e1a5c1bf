//! The rules of PROTOCOL.md's Sealing section and their quotes in the code are
//! the same text.

use std::collections::BTreeMap;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");
const CODE: [&str; 9] = [
    include_str!("../src/seal/chunk.rs"),
    include_str!("../src/seal/cipher.rs"),
    include_str!("../src/seal/head.rs"),
    include_str!("../src/seal/keys.rs"),
    include_str!("../src/seal/manifest.rs"),
    include_str!("../src/seal/name.rs"),
    include_str!("../src/seal/record.rs"),
    include_str!("../src/seal/tree.rs"),
    include_str!("../src/seal/walk.rs"),
];

#[test]
fn every_rule_is_quoted_where_the_code_keeps_it() {
    let written = rules(PROTOCOL, "> ");
    let mut quoted = BTreeMap::new();
    for source in CODE {
        for (id, text) in rules(source, "//# ") {
            assert_eq!(written.get(&id), Some(&text), "{id} reads otherwise");
            assert!(
                quoted.insert(id.clone(), text).is_none(),
                "{id} is quoted twice"
            );
        }
    }
    assert_eq!(quoted, written);
}

/// Paragraphs of lines with this prefix that begin with a rule's number.
fn rules(text: &str, prefix: &str) -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    let mut lines = text.lines().map(str::trim_start).peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix(prefix) else {
            continue;
        };
        let mut rule = first.to_owned();
        while let Some(more) = lines.peek().and_then(|line| line.strip_prefix(prefix)) {
            rule = format!("{rule} {more}");
            lines.next();
        }
        let (id, _) = rule.split_once(':').expect("a rule begins with its number");
        if id.starts_with("SEAL-") {
            rules.insert(id.to_owned(), rule);
        }
    }
    rules
}
