//! Which part of a file a request wants: `Range` of RFC 9110, section 14.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it. So are answered, as they may be, headers in other units, of
    /// several ranges, and such as make no sense.
    All,
    /// From one byte up to another, or to the end if that is nearer.
    Part(Range<u64>),
    /// So many bytes at the end.
    Last(u64),
}

impl Wanted {
    /// Reads a header's value.
    pub(crate) fn parse(value: &str) -> Self {
        Self::read(value).unwrap_or(Self::All)
    }

    fn read(value: &str) -> Option<Self> {
        let (unit, range) = value.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                Some(Self::Part(first..last.saturating_add(1)))
            }
            (Some(first), None) if last.is_empty() => Some(Self::Part(first..u64::MAX)),
            (None, Some(count)) if first.is_empty() => Some(Self::Last(count)),
            _ => None,
        }
    }
}

/// Digits and nothing else; what is too large for a number lies beyond every
/// file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_read_and_all_else_is_the_whole_file() {
        assert_eq!(Wanted::parse("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(Wanted::parse("bytes=5-9"), Wanted::Part(5..10));
        assert_eq!(Wanted::parse("Bytes= 7-"), Wanted::Part(7..u64::MAX));
        assert_eq!(Wanted::parse("bytes=-3"), Wanted::Last(3));
        let huge = "bytes=1-99999999999999999999999";
        assert_eq!(Wanted::parse(huge), Wanted::Part(1..u64::MAX));
        for all in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=+1-2",
            "bytes=0-1,4-5",
            "lines=1-2",
            "bytes=a-b",
            "bytes=1-2-3",
        ] {
            assert_eq!(Wanted::parse(all), Wanted::All, "{all}");
        }
    }
}
