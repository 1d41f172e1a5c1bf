//! The README shows what works.

#[test]
fn the_readme_shows_the_simulators_example_whole() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(include_str!("../examples/own_test.rs")));
}
