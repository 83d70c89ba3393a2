//! Where header bytes come from, with a limit on how many are read.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{MAX_READ, Stop, refuse};

/// Bytes of the prefix that is read at once; everything a format is recognised by is in it.
const PREFIX: usize = 64 * 1024;

/// A file, or bytes that stand for one.
pub trait Source {
    /// Length in bytes.
    ///
    /// # Errors
    /// The file cannot be inspected.
    fn size(&self) -> io::Result<u64>;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// The file cannot be read or ends before.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl Source for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// One file under inspection.
pub(super) struct Input<'a> {
    source: &'a dyn Source,
    size: u64,
    prefix: Vec<u8>,
    left: Cell<u64>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a dyn Source) -> io::Result<Self> {
        let size = source.size()?;
        let mut prefix = vec![0; usize::try_from(size).unwrap_or(PREFIX).min(PREFIX)];
        source.read_exact_at(0, &mut prefix)?;
        Ok(Self { source, size, prefix, left: Cell::new(MAX_READ - PREFIX as u64) })
    }

    /// Length of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The first bytes of the file, at most 64 KiB.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Reads a table the header points to. `what` names it in the refusal.
    pub(super) fn table(&self, what: &str, offset: u64, length: u64) -> Result<Vec<u8>, Stop> {
        self.inside(what, offset, length)?;
        if length > self.left.get() {
            return refuse("tables", format!("its {what} is too large"));
        }
        self.left.set(self.left.get() - length);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_exact_at(offset, &mut bytes).map_err(Stop::Io)?;
        Ok(bytes)
    }

    /// The last `length` bytes, or `None` when the file is shorter.
    pub(super) fn tail(&self, length: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(offset) = self.size.checked_sub(length) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_exact_at(offset, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Refuses an extent that is not inside the file.
    pub(super) fn inside(&self, what: &str, offset: u64, length: u64) -> Result<(), Stop> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size => Ok(()),
            _ => refuse("outside", format!("its {what} is outside the file")),
        }
    }
}
