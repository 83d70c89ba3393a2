//! A writer of small ISO 9660 images with Rock Ridge and Joliet names.
//!
//! Both name trees point at the same file contents, and both carry the same names, so a guest sees the same files
//! whichever extension it reads. Equal contents are stored once. Layout of an image, in 2,048-byte sectors:
//! 16 system sectors, the volume descriptors, four path tables, the plain directories, the Joliet directories, then
//! the contents.

mod descriptors;
mod layout;
mod records;
mod tree;

use chrono::{DateTime, Utc};

use layout::Layout;
pub use tree::Tree;

/// Bytes per sector.
pub(crate) const SECTOR: usize = 2048;

/// Why an image could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IsoError {
    /// A name is empty, longer than 64 characters, or has characters outside `[A-Za-z0-9._-]`.
    #[error("{0:?} cannot be a file name on a config drive: use 1 to 64 of A-Z a-z 0-9 . _ -")]
    Name(String),
    /// A path was added twice, or is both file and directory.
    #[error("{0:?} is on the config drive twice")]
    Duplicate(String),
    /// A file, a directory or the image is larger than 4 GiB.
    #[error("the config drive would be larger than its format allows")]
    TooLarge,
}

/// The bytes of an image that holds `tree`. Equal arguments give equal bytes.
///
/// # Errors
/// [`IsoError::TooLarge`] if a size does not fit the format's 32-bit fields.
pub fn write(tree: &Tree, volume_id: &str, made_at: DateTime<Utc>) -> Result<Vec<u8>, IsoError> {
    let layout = Layout::plan(tree)?;
    let mut image = vec![0u8; 16 * SECTOR];
    for descriptor in descriptors::all(&layout, volume_id, made_at) {
        push_sectors(&mut image, &descriptor);
    }
    for table in layout.path_tables(tree) {
        push_sectors(&mut image, &table);
    }
    for directory in layout.directories(tree, made_at)? {
        push_sectors(&mut image, &directory);
    }
    for content in tree.contents() {
        push_sectors(&mut image, content);
    }
    Ok(image)
}

/// Appends `bytes`, padded with zeros to whole sectors.
fn push_sectors(image: &mut Vec<u8>, bytes: &[u8]) {
    image.extend_from_slice(bytes);
    image.resize(image.len().next_multiple_of(SECTOR), 0);
}

/// Number of sectors that hold `bytes` bytes.
fn sectors(bytes: usize) -> Result<u32, IsoError> {
    u32::try_from(bytes.div_ceil(SECTOR)).map_err(|_| IsoError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_are_stored_once_and_equal_inputs_give_equal_bytes() {
        let made_at = DateTime::UNIX_EPOCH;
        let mut tree = Tree::new();
        tree.add_file(&["a", "one"], vec![5; 5000]).unwrap();
        let single = write(&tree, "x", made_at).unwrap();
        tree.add_file(&["a", "two"], vec![5; 5000]).unwrap();
        let double = write(&tree, "x", made_at).unwrap();
        assert_eq!(single.len(), double.len());
        assert_eq!(double, write(&tree, "x", made_at).unwrap());
        assert_eq!(double.len() % SECTOR, 0);
    }
}
