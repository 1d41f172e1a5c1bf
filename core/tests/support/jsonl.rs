//! Just enough JSON for vector files: one flat object per line, no escapes.

/// The text of a string field, if the line has it.
pub(crate) fn text<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    assert!(!line.contains('\\'), "escapes are not read: {line}");
    let value = value(line, field)?.strip_prefix('"')?;
    value.split_once('"').map(|(text, _)| text)
}

/// What follows a field's name and colon, if the line has it.
pub(crate) fn value<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{field}\":"))?;
    Some(rest.trim_start())
}
