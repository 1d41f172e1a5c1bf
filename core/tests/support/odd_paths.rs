//! Texts that are, on some system, another path than they seem, or none.

pub(crate) fn texts() -> Vec<String> {
    let fixed = [
        "",
        ".",
        "..",
        "./a",
        "a/.",
        "../a",
        "../../../../../../../../../../etc/passwd",
        "a/../../b",
        "a/..",
        "a//b",
        "a/",
        "/",
        "/etc/passwd",
        "//server/share",
        "\\",
        "..\\..\\b",
        "a\\b",
        "\\\\server\\share",
        "\\\\?\\C:\\b",
        "C:",
        "C:b",
        "C:\\b",
        "C:/b",
        "CON",
        "con.txt",
        "NUL",
        "COM1",
        "LPT9.",
        "a.",
        "a ",
        " a",
        "a. .",
        "a:stream",
        "a\0b",
        "\0",
        "a\nb",
        "~",
        "~/a",
        "$HOME",
        "%2e%2e%2f",
        "\u{ff0e}\u{ff0e}\u{ff0f}",
        "\u{2024}\u{2024}/a",
        "e\u{301}",
        "\u{e9}",
        "\u{202e}a",
    ];
    let long = [254, 255, 256, 257].map(|len| "a".repeat(len));
    let longer = [4095, 4096, 4097].map(|len| "a/".repeat(len)[..len].to_owned());
    // As long as an id, a key and a hash are.
    let digits = [32, 40, 64].map(|len| format!("../{}", "0".repeat(len - 3)));
    let others = [32, 40, 64].map(|len| "A".repeat(len));
    let fixed = fixed.into_iter().map(str::to_owned);
    fixed
        .chain(long)
        .chain(longer)
        .chain(digits)
        .chain(others)
        .collect()
}
