//! The examples of this package are in its other files:
//! `cargo run --example smol_cluster`, and so `smol_embed`, `smol_history`,
//! `smol_join`, `foreverstore_node` and `foreverstore_import`.

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_embedding_example_whole() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(include_str!("smol_embed.rs")));
    }
}
