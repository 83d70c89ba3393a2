//! Which bytes a reader asked for. Pure.

/// A piece of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// Number of bytes; 0 is an empty answer.
    pub length: u64,
}

/// What a `Range` header means for a blob of a known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// No header, several ranges, or one we do not understand: the whole blob, status 200.
    Whole,
    /// One satisfiable range: status 206.
    Part(ByteRange),
    /// One range entirely beyond the end: status 416.
    Unsatisfiable,
}

impl ByteRange {
    /// The whole of a blob.
    pub const fn whole(size: u64) -> Self {
        Self { start: 0, length: size }
    }

    /// The window of the `offset` and `limit` query parameters: a limit of 0 means to the end, and an offset at or
    /// beyond the end is an empty window, which clients rely on to find the end.
    pub fn window(offset: u64, limit: u64, size: u64) -> Self {
        let rest = size.saturating_sub(offset);
        Self { start: offset.min(size), length: if limit == 0 { rest } else { rest.min(limit) } }
    }

    /// Bytes between the start of the range and the end of a blob of `size` bytes.
    pub const fn start_to_end(&self, size: u64) -> u64 {
        size.saturating_sub(self.start)
    }

    /// The value of `Content-Range`.
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, (self.start + self.length).saturating_sub(1))
    }
}

/// Reads a `Range` header. Anything malformed is ignored, as HTTP asks.
pub fn parse_range(header: Option<&str>, size: u64) -> Requested {
    header.and_then(|header| parse_one(header.trim(), size)).unwrap_or(Requested::Whole)
}

fn parse_one(header: &str, size: u64) -> Option<Requested> {
    let (unit, spec) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| -> Option<Option<u64>> {
        match text.trim() {
            "" => Some(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
            _ => None,
        }
    };
    let (start, end) = match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
        (None, Some(0)) => return Some(Requested::Unsatisfiable),
        (None, Some(suffix)) => (size.saturating_sub(suffix), size),
        (None, None) => return None,
    };
    Some(if start >= size {
        Requested::Unsatisfiable
    } else {
        Requested::Part(ByteRange { start, length: end - start })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("bytes=0-0", Requested::Part(ByteRange { start: 0, length: 1 }))]
    #[case("bytes=2-", Requested::Part(ByteRange { start: 2, length: 8 }))]
    #[case("bytes=2-4", Requested::Part(ByteRange { start: 2, length: 3 }))]
    #[case("bytes=2-99", Requested::Part(ByteRange { start: 2, length: 8 }))]
    #[case("Bytes = 2-99", Requested::Part(ByteRange { start: 2, length: 8 }))]
    #[case("bytes=-3", Requested::Part(ByteRange { start: 7, length: 3 }))]
    #[case("bytes=-30", Requested::Part(ByteRange { start: 0, length: 10 }))]
    #[case("bytes=9-9", Requested::Part(ByteRange { start: 9, length: 1 }))]
    #[case("bytes=10-", Requested::Unsatisfiable)]
    #[case("bytes=-0", Requested::Unsatisfiable)]
    #[case("bytes=0-1,3-4", Requested::Whole)]
    #[case("bytes=4-2", Requested::Whole)]
    #[case("bytes=-", Requested::Whole)]
    #[case("bytes=+1-2", Requested::Whole)]
    #[case("lines=0-1", Requested::Whole)]
    #[case("bytes=99999999999999999999-", Requested::Whole)]
    #[case("", Requested::Whole)]
    fn headers_on_ten_bytes(#[case] header: &str, #[case] expected: Requested) {
        assert_eq!(parse_range(Some(header), 10), expected);
    }

    #[test]
    fn an_empty_blob_satisfies_no_range() {
        assert_eq!(parse_range(Some("bytes=0-"), 0), Requested::Unsatisfiable);
        assert_eq!(parse_range(None, 0), Requested::Whole);
    }

    #[rstest::rstest]
    #[case(0, 0, 0, 10)]
    #[case(4, 0, 4, 6)]
    #[case(4, 3, 4, 3)]
    #[case(4, 99, 4, 6)]
    #[case(10, 0, 10, 0)]
    #[case(u64::MAX, u64::MAX, 10, 0)]
    fn windows_on_ten_bytes(
        #[case] offset: u64,
        #[case] limit: u64,
        #[case] start: u64,
        #[case] length: u64,
    ) {
        assert_eq!(ByteRange::window(offset, limit, 10), ByteRange { start, length });
    }

    proptest::proptest! {
        #[test]
        fn a_part_is_inside_and_never_empty(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in 0u64..1000) {
            if let Requested::Part(range) = parse_range(Some(&header), size) {
                proptest::prop_assert!(range.length > 0 && range.start + range.length <= size);
            }
        }
    }
}
