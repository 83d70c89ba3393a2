//! The image cache on disk: immutable disk bases, each with a note of what it is. The note's time of change is the
//! time of last use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sf_blobs::durable;
use sf_blobs::error::StoreError;
use sf_blobs::layout::{CacheKind, SEALED_MODE, Store};
use sf_images::header::BASE_STYLE;
use sf_model::BlobId;

/// A usable cache file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) path: PathBuf,
    pub(crate) kind: CacheKind,
    pub(crate) virtual_size: u64,
}

/// What is noted beside a cache file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    iso: bool,
    style: String,
    virtual_size: u64,
}

/// The style of media that are attached as they are.
const ISO_STYLE: &str = "iso;v1";

fn style(kind: CacheKind) -> &'static str {
    match kind {
        CacheKind::Qcow2 => BASE_STYLE,
        CacheKind::Iso => ISO_STYLE,
    }
}

fn note_path(store: &Store, blob: BlobId) -> PathBuf {
    store.image_cache().join(format!("{blob}.json"))
}

/// The cache file of a blob, if it is there, complete, and of the style this program makes. Using it refreshes it.
pub(crate) fn find(store: &Store, blob: BlobId) -> Option<Cached> {
    let note: Note = serde_json::from_slice(&fs::read(note_path(store, blob)).ok()?).ok()?;
    let kind = if note.iso { CacheKind::Iso } else { CacheKind::Qcow2 };
    let path = store.cached(blob, kind);
    if note.style != style(kind) || !path.is_file() {
        return None;
    }
    touch(store, blob);
    Some(Cached { path, kind, virtual_size: note.virtual_size })
}

/// Refreshes the time of last use. Returns whether there is a cache file.
pub(crate) fn touch(store: &Store, blob: BlobId) -> bool {
    let Ok(note) = File::open(note_path(store, blob)) else { return false };
    match note.set_modified(SystemTime::now()) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%blob, %error, "the use time of a cache file could not be refreshed");
            true
        }
    }
}

/// Puts the replica of a blob into the cache: as a hard link, or as a copy when the cache is on another file system.
///
/// # Errors
/// The file cannot be linked, copied or made durable.
pub(crate) fn link_replica(
    store: &Store,
    blob: BlobId,
    kind: CacheKind,
    virtual_size: u64,
) -> Result<Cached, StoreError> {
    let replica = store.blob(blob);
    let path = store.cached(blob, kind);
    if store.cache_is_linkable() {
        // Without a note nobody uses what may be here.
        durable::remove_if_present(&path)?;
        fs::hard_link(&replica, &path).map_err(StoreError::io("link", &path))?;
    } else {
        copy(store, blob, &replica, &path)?;
    }
    finish(store, blob, kind, path, virtual_size)
}

/// Moves a converted file into the cache.
///
/// # Errors
/// The file cannot be moved or made durable.
pub(crate) fn install(
    store: &Store,
    blob: BlobId,
    converted: &Path,
    virtual_size: u64,
) -> Result<Cached, StoreError> {
    let path = store.cached(blob, CacheKind::Qcow2);
    if store.cache_is_linkable() {
        let file = File::open(converted).map_err(StoreError::io("open", converted))?;
        file.sync_data().map_err(StoreError::io("flush", converted))?;
        durable::set_mode(converted, SEALED_MODE)?;
        fs::rename(converted, &path).map_err(StoreError::io("rename into place", converted))?;
    } else {
        copy(store, blob, converted, &path)?;
        durable::remove_if_present(converted)?;
    }
    finish(store, blob, CacheKind::Qcow2, path, virtual_size)
}

fn copy(store: &Store, blob: BlobId, from: &Path, to: &Path) -> Result<(), StoreError> {
    // Names that begin with an underscore are ignored by every scan.
    let draft = store.image_cache().join(format!("_draft-{blob}"));
    fs::copy(from, &draft).map_err(StoreError::io("copy", from))?;
    let file = File::open(&draft).map_err(StoreError::io("open", &draft))?;
    file.sync_data().map_err(StoreError::io("flush", &draft))?;
    durable::set_mode(&draft, SEALED_MODE)?;
    fs::rename(&draft, to).map_err(StoreError::io("rename into place", &draft))
}

fn finish(
    store: &Store,
    blob: BlobId,
    kind: CacheKind,
    path: PathBuf,
    virtual_size: u64,
) -> Result<Cached, StoreError> {
    durable::sync_directory(&store.image_cache())?;
    let note = Note { iso: kind == CacheKind::Iso, style: style(kind).to_owned(), virtual_size };
    let text = serde_json::to_vec(&note).unwrap_or_default();
    durable::write_atomically(&note_path(store, blob), &text, 0o644)?;
    durable::sync_directory(&store.image_cache())?;
    Ok(Cached { path, kind, virtual_size })
}

/// A file of the cache as the sweep sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) blob: BlobId,
    pub(crate) bytes: u64,
    pub(crate) unused: Duration,
}

/// Lists every blob that has something in the cache, with the age of its last use; without a note, of its last change.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn list(store: &Store) -> Result<Vec<Candidate>, StoreError> {
    let root = store.image_cache();
    let mut found: std::collections::BTreeMap<BlobId, Candidate> = std::collections::BTreeMap::new();
    for entry in fs::read_dir(&root).map_err(StoreError::io("list", &root))? {
        let entry = entry.map_err(StoreError::io("list", &root))?;
        let path = entry.path();
        let Some(blob) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        let note = path.extension().is_some_and(|extension| extension == "json");
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let candidate = found.entry(blob).or_insert(Candidate { blob, bytes: 0, unused: age });
        if note {
            candidate.unused = age;
        } else {
            candidate.bytes += metadata.len();
            // A hard link keeps the time of the replica, which says nothing about use.
            if note_path(store, blob).exists() {
                continue;
            }
            candidate.unused = candidate.unused.min(age);
        }
    }
    Ok(found.into_values().collect())
}

/// Chooses what goes: whatever nobody names and nobody has used for `idle`, and of the rest, least recently used
/// first, what exceeds `max_bytes` (0: no limit) and was not used for 15 minutes.
pub(crate) fn choose(
    mut candidates: Vec<Candidate>,
    named: impl Fn(BlobId) -> bool,
    idle: Duration,
    max_bytes: u64,
) -> Vec<Candidate> {
    const KEEP_AT_LEAST: Duration = Duration::from_secs(900);
    let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    candidates.retain(|candidate| !named(candidate.blob));
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.unused));
    candidates.retain(|candidate| {
        let over = max_bytes > 0 && total > max_bytes && candidate.unused > KEEP_AT_LEAST;
        let goes = candidate.unused > idle || over;
        if goes {
            total = total.saturating_sub(candidate.bytes);
        }
        goes
    });
    candidates
}

/// Removes everything the cache has of a blob. The note goes first: without it the rest is nothing.
///
/// # Errors
/// A file cannot be removed.
pub(crate) fn remove(store: &Store, blob: BlobId) -> Result<(), StoreError> {
    durable::remove_if_present(&note_path(store, blob))?;
    for kind in [CacheKind::Qcow2, CacheKind::Iso] {
        durable::remove_if_present(&store.cached(blob, kind))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn store_with(blob: BlobId) -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        store.make_fan_directory(blob).unwrap();
        fs::write(store.blob(blob), "bytes").unwrap();
        (root, store)
    }

    #[test]
    fn a_linked_file_shares_its_bytes_and_outlives_the_replica() {
        let blob = BlobId::random();
        let (_root, store) = store_with(blob);
        assert_eq!(find(&store, blob), None);
        let cached = link_replica(&store, blob, CacheKind::Iso, 5).unwrap();
        assert_eq!(fs::metadata(&cached.path).unwrap().ino(), fs::metadata(store.blob(blob)).unwrap().ino());
        assert_eq!(find(&store, blob), Some(cached.clone()));
        link_replica(&store, blob, CacheKind::Iso, 5).unwrap();
        fs::remove_file(store.blob(blob)).unwrap();
        assert_eq!(fs::read(&cached.path).unwrap(), b"bytes");
        remove(&store, blob).unwrap();
        assert_eq!(fs::read_dir(store.image_cache()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_another_style_is_not_used() {
        let blob = BlobId::random();
        let (_root, store) = store_with(blob);
        link_replica(&store, blob, CacheKind::Qcow2, 512).unwrap();
        let note = note_path(&store, blob);
        let other = fs::read_to_string(&note).unwrap().replace(";v1", ";v0");
        fs::write(&note, other).unwrap();
        assert_eq!(find(&store, blob), None);
        let converted = store.staging().join("converted");
        fs::write(&converted, "new").unwrap();
        let cached = install(&store, blob, &converted, 1024).unwrap();
        assert_eq!(find(&store, blob), Some(cached));
        assert!(!converted.exists());
    }

    #[test]
    fn eviction_spares_the_named_and_the_recent() {
        let [named, old, large, small, recent] = std::array::from_fn(|_| BlobId::random());
        let candidate =
            |blob, bytes, minutes: u64| Candidate { blob, bytes, unused: Duration::from_secs(minutes * 60) };
        let all = vec![
            candidate(named, 100, 9999),
            candidate(old, 1, 1441),
            candidate(large, 50, 700),
            candidate(small, 10, 600),
            candidate(recent, 80, 10),
        ];
        let day = Duration::from_secs(86400);
        let chosen = |max| {
            choose(all.clone(), |blob| blob == named, day, max)
                .into_iter()
                .map(|c| c.blob)
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(0), [old]);
        assert_eq!(chosen(200), [old, large]);
        assert_eq!(chosen(1), [old, large, small], "what was used in the last minutes stays");
    }

    #[test]
    fn the_list_knows_use_times_and_ignores_probes() {
        let blob = BlobId::random();
        let (_root, store) = store_with(blob);
        link_replica(&store, blob, CacheKind::Qcow2, 512).unwrap();
        fs::write(store.image_cache().join("_heartbeat"), "x").unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::open(note_path(&store, blob)).unwrap().set_modified(hour_ago).unwrap();
        let [only] = list(&store).unwrap().try_into().unwrap();
        assert_eq!((only.blob, only.bytes), (blob, 5));
        assert!(only.unused >= Duration::from_secs(3600));
        assert!(touch(&store, blob));
        assert!(list(&store).unwrap()[0].unused < Duration::from_secs(3600));
    }
}
