//! Files that a running instance has below the run directory, left behind by one that is gone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sf_hypervisor::lock::Locks;
use sf_model::InstanceId;

use crate::Cleaner;
use crate::error::Incomplete;
use crate::world::World;

/// Removes run files of instances that have neither a domain nor a life here.
pub(crate) async fn pass(cleaner: Arc<Cleaner>) -> Result<(), Incomplete> {
    let directory = cleaner.context.config.run_path.join("instances");
    let named = named_instances(&directory)?;
    if named.is_empty() {
        return Ok(());
    }
    let world = World::read(&cleaner).await?;
    let locks = Locks::new(&cleaner.context.config.run_path);
    for instance in named.into_iter().filter(|instance| is_gone(&world, *instance)) {
        // The worker may hold the lock of an instance that is just being placed here.
        let Some(lock) = locks.try_take(instance)? else { continue };
        remove(&directory.join(instance.to_string()))?;
        lock.discard();
    }
    Ok(())
}

/// Nothing is here and nothing lives here. An instance that the database does not list here may be on its way, but then
/// it holds its lock or has no run files yet.
fn is_gone(world: &World, instance: InstanceId) -> bool {
    let alive = world.records.get(&instance).is_some_and(|record| record.state.is_active());
    world.is_clear_of(instance) && !alive
}

fn named_instances(directory: &Path) -> io::Result<BTreeSet<InstanceId>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut named = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = Path::new(&name).file_stem().and_then(OsStr::to_str);
        named.extend(stem.and_then(|stem| stem.parse::<InstanceId>().ok()));
    }
    Ok(named)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_files_name_their_instance() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (InstanceId::random(), InstanceId::random());
        std::fs::write(dir.path().join(format!("{a}.lock")), "").unwrap();
        std::fs::create_dir(dir.path().join(b.to_string())).unwrap();
        std::fs::write(dir.path().join("other"), "").unwrap();
        assert_eq!(named_instances(dir.path()).unwrap(), BTreeSet::from([a, b]));
        remove(&dir.path().join(b.to_string())).unwrap();
        remove(&dir.path().join(b.to_string())).unwrap();
        assert!(!dir.path().join(b.to_string()).exists());
    }
}
