//! The rules of PROTOCOL.md, TAPE.md and FOREVERSTORE.md and their quotes in the code are the
//! same text, and every rule is quoted where it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PROTOCOL: &str = include_str!("../PROTOCOL.md");
const TAPE: &str = include_str!("../TAPE.md");
const FOREVERSTORE: &str = include_str!("../FOREVERSTORE.md");
const PAGES: [&str; 3] = [PROTOCOL, TAPE, FOREVERSTORE];

#[test]
fn every_quote_in_the_code_reads_as_its_rule() {
    let rules = rules();
    for (file, id, text) in quotes() {
        assert_eq!(rules.get(&id), Some(&text), "{id} in {file}");
    }
}

#[test]
fn every_rule_is_quoted_where_the_code_keeps_it() {
    let quoted: BTreeSet<String> = quotes().into_iter().map(|(_, id, _)| id).collect();
    let elsewhere = kept_elsewhere();
    for id in rules().into_keys() {
        assert_ne!(
            quoted.contains(&id),
            elsewhere.contains(&id),
            "{id} must be quoted in the code, or listed as kept elsewhere"
        );
    }
}

#[test]
fn rules_are_numbered_without_gaps() {
    let mut sections: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for id in rules().into_keys() {
        let (section, number) = id.split_once('-').expect("a rule's number");
        let number = number.parse().expect("a rule's number");
        sections.entry(section.into()).or_default().insert(number);
    }
    for (section, numbers) in sections {
        let all: BTreeSet<usize> = (1..=numbers.len()).collect();
        assert_eq!(numbers, all, "{section}");
        let last = format!("{section}-1 to {section}-{}", all.len());
        let listed = PAGES.iter().any(|page| page.contains(&last));
        assert!(listed, "the contents lack {last}");
    }
}

/// The text of each rule, by its number: lines `- **FRAME-1**: text`.
fn rules() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    let lines = PAGES
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("- **"));
    for line in lines {
        let (id, text) = line.split_once("**: ").expect("a rule's number");
        let other = rules.insert(id.to_owned(), text.to_owned());
        assert_eq!(other, None, "{id} is there twice");
    }
    rules
}

/// The rules in the table of what other packages keep: lines `| PATH-5 | ..`.
fn kept_elsewhere() -> BTreeSet<String> {
    let (_, table) = PROTOCOL
        .split_once("## Rules kept elsewhere")
        .expect("the section of rules kept elsewhere");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| "));
    let ids = cells.filter_map(|row| row.split_once(' ').map(|(id, _)| id));
    ids.filter(|id| id.contains('-') && !id.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

/// File, number and text of every quote: comments `//# FRAME-1: text` with more
/// lines of `//# text`.
fn quotes() -> Vec<(String, String, String)> {
    let mut quotes = Vec::new();
    for (file, code) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let mut in_quote = false;
        for line in code.lines().map(str::trim_start) {
            let Some(text) = line.strip_prefix("//# ") else {
                in_quote = false;
                continue;
            };
            match text.split_once(": ").filter(|(id, _)| is_number(id)) {
                Some((id, text)) => quotes.push((file.clone(), id.to_owned(), text.to_owned())),
                None => {
                    assert!(in_quote, "a quote without a number in {file}: {text}");
                    let (.., quote) = quotes.last_mut().expect("the quote that goes on");
                    quote.push(' ');
                    quote.push_str(text);
                }
            }
            in_quote = true;
        }
    }
    quotes
}

fn is_number(text: &str) -> bool {
    let capitals = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
    let number = |text: &str| text.parse::<u16>().is_ok();
    text.split_once('-')
        .is_some_and(|(section, rest)| capitals(section) && number(rest))
}

/// Path and text of every source file below `folder`.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else {
            let code = fs::read_to_string(&path).expect("a source file");
            sources.push((path.display().to_string(), code));
        }
    }
    sources
}
