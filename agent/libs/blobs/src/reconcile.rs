//! Compares the replicas on disk with the rows the database has for this node. A pure function: the caller lists both
//! sides and carries out the actions.

use std::collections::BTreeMap;
use std::fs;

use sf_model::BlobId;

use crate::error::StoreError;
use crate::layout::Store;

/// What the database says about a replica row of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaRow {
    /// The blob's size in bytes.
    pub size: u64,
    /// Whether the row is `present` (others are being added or removed and are left to whoever does that).
    pub present: bool,
}

/// What the database says about a blob that has no replica row on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Alive, of this size.
    Created(u64),
    /// Being written; leave it alone.
    Initial,
    /// Deleted, or never heard of.
    Gone,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// Rows confirmed by a file of the right size.
    pub seen: Vec<BlobId>,
    /// Files without a row whose blob is alive and has this size: a replica after a full BLAKE3 match.
    pub candidates: Vec<BlobId>,
    /// Files nobody wants: removed after the grace.
    pub unwanted: Vec<BlobId>,
    /// Rows without a file.
    pub missing: Vec<BlobId>,
    /// Rows whose file has another size.
    pub suspect: Vec<BlobId>,
}

/// Compares. `standing` answers for files without a row; a file it says nothing about is left alone, because an
/// incomplete answer must never delete.
pub fn plan(
    on_disk: &BTreeMap<BlobId, u64>,
    rows: &BTreeMap<BlobId, ReplicaRow>,
    standing: &BTreeMap<BlobId, Standing>,
) -> Actions {
    let mut actions = Actions::default();
    for (blob, size) in on_disk {
        match (rows.get(blob), standing.get(blob)) {
            (Some(row), _) if !row.present => {}
            (Some(row), _) if row.size == *size => actions.seen.push(*blob),
            (Some(_), _) => actions.suspect.push(*blob),
            (None, Some(Standing::Created(expected))) if expected == size => actions.candidates.push(*blob),
            (None, Some(Standing::Created(_) | Standing::Gone)) => actions.unwanted.push(*blob),
            (None, Some(Standing::Initial) | None) => {}
        }
    }
    actions.missing = rows
        .iter()
        .filter(|(blob, row)| row.present && !on_disk.contains_key(blob))
        .map(|(blob, _)| *blob)
        .collect();
    actions
}

/// Lists every replica on disk with its size. Names that are not blob ids (probe files, outboard trees) are left out.
///
/// # Errors
/// A directory cannot be read: then nothing is known and nothing may be concluded.
pub fn list_replicas(store: &Store) -> Result<BTreeMap<BlobId, u64>, StoreError> {
    let root = store.blobs();
    let mut found = BTreeMap::new();
    for fan in fs::read_dir(&root).map_err(StoreError::io("list", &root))? {
        let fan = fan.map_err(StoreError::io("list", &root))?;
        if fan.file_name().len() != 2 || !fan.path().is_dir() {
            continue;
        }
        let path = fan.path();
        for entry in fs::read_dir(&path).map_err(StoreError::io("list", &path))? {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            let Ok(blob) = entry.file_name().to_string_lossy().parse::<BlobId>() else { continue };
            match entry.metadata() {
                Ok(metadata) => drop(found.insert(blob, metadata.len())),
                // Removed between the listing and the look: it is not on disk.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("inspect", &entry.path())(error)),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_reconcile_table() {
        let [seen, wrong, leaving, candidate, resized, gone, writing, unasked, missing, incoming] =
            std::array::from_fn(|_| BlobId::random());
        let on_disk = [seen, wrong, leaving, candidate, resized, gone, writing, unasked]
            .into_iter()
            .map(|blob| (blob, 5))
            .collect();
        let row = |size, present| ReplicaRow { size, present };
        let rows = BTreeMap::from([
            (seen, row(5, true)),
            (wrong, row(6, true)),
            (leaving, row(6, false)),
            (missing, row(5, true)),
            (incoming, row(5, false)),
        ]);
        let standing = BTreeMap::from([
            (candidate, Standing::Created(5)),
            (resized, Standing::Created(6)),
            (gone, Standing::Gone),
            (writing, Standing::Initial),
        ]);
        let mut unwanted = vec![resized, gone];
        unwanted.sort();
        let expected = Actions {
            seen: vec![seen],
            candidates: vec![candidate],
            unwanted,
            missing: vec![missing],
            suspect: vec![wrong],
        };
        assert_eq!(plan(&on_disk, &rows, &standing), expected);
    }

    #[test]
    fn only_blob_names_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob = BlobId::random();
        let directory = store.make_fan_directory(blob).unwrap();
        fs::write(store.blob(blob), "12345").unwrap();
        fs::write(directory.join("_heartbeat"), "x").unwrap();
        fs::write(directory.join(format!("{blob}.ob")), "x").unwrap();
        assert_eq!(list_replicas(&store).unwrap(), BTreeMap::from([(blob, 5)]));
    }

    proptest::proptest! {
        /// Whatever the database says, a file with a `present` row of the right size is never unwanted, and a file the
        /// database said nothing about is never touched.
        #[test]
        fn nothing_good_is_ever_unwanted(cases in proptest::collection::vec((0u64..3, 0u8..5, 0u8..4), 0..40)) {
            let mut on_disk = BTreeMap::new();
            let mut rows = BTreeMap::new();
            let mut standing = BTreeMap::new();
            for (size, row, state) in cases {
                let blob = BlobId::random();
                on_disk.insert(blob, size);
                match row { 0 => {} n => { rows.insert(blob, ReplicaRow { size: u64::from(n % 3), present: n > 2 }); } }
                match state { 0 => {} 1 => { standing.insert(blob, Standing::Gone); } n => { standing.insert(blob, Standing::Created(u64::from(n))); } }
            }
            let actions = plan(&on_disk, &rows, &standing);
            for blob in &actions.unwanted {
                proptest::prop_assert!(!rows.contains_key(blob));
                proptest::prop_assert!(standing.contains_key(blob));
            }
        }
    }
}
