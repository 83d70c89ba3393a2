//! Reads numbers out of headers. A header that is too short reads as refused, never as zero.

use super::{Stop, refuse};

/// Bytes of a header.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

macro_rules! numbers {
    ($($name:ident: $type:ty, $from:ident;)*) => {$(
        pub(super) fn $name(&self, at: usize) -> Result<$type, Stop> {
            self.array(at).map(<$type>::$from)
        }
    )*};
}

impl<'a> Fields<'a> {
    numbers! {
        be32: u32, from_be_bytes;
        be64: u64, from_be_bytes;
        le16: u16, from_le_bytes;
        le32: u32, from_le_bytes;
        le64: u64, from_le_bytes;
    }

    /// A fixed number of bytes.
    pub(super) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Stop> {
        match self.bytes(at, N)?.try_into() {
            Ok(array) => Ok(array),
            Err(_) => refuse("truncated", "its header is cut short"),
        }
    }

    /// A run of bytes.
    pub(super) fn bytes(&self, at: usize, length: usize) -> Result<&'a [u8], Stop> {
        match at.checked_add(length).and_then(|end| self.0.get(at..end)) {
            Some(bytes) => Ok(bytes),
            None => refuse("truncated", "its header is cut short"),
        }
    }
}
