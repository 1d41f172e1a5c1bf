//! The rules of PROTOCOL.md that this package keeps are quoted where it keeps
//! them, word by word.

const PROTOCOL: &str = include_str!("../../../core/PROTOCOL.md");
const SOURCES: [&str; 4] = [
    include_str!("../src/channel.rs"),
    include_str!("../src/config.rs"),
    include_str!("../src/identity.rs"),
    include_str!("../src/record.rs"),
];

#[test]
fn every_rule_of_channels_is_quoted_as_it_reads() {
    let mut quotes: Vec<String> = Vec::new();
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        match line.trim_start().strip_prefix("//# ") {
            Some(text) if text.starts_with("CHANNEL-") => quotes.push(text.to_owned()),
            Some(text) => {
                let quote = quotes.last_mut().expect("the quote that goes on");
                quote.push(' ');
                quote.push_str(text);
            }
            None => {}
        }
    }
    let rules = PROTOCOL.lines().filter_map(|line| {
        let (id, text) = line.strip_prefix("- **CHANNEL-")?.split_once("**: ")?;
        Some(format!("CHANNEL-{id}: {text}"))
    });
    let mut rules: Vec<String> = rules.collect();
    rules.sort();
    quotes.sort();
    assert!(rules.len() >= 10);
    assert_eq!(quotes, rules);
}
