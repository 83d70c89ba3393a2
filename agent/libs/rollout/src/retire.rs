//! Taking daemons off a host that no longer belong to its set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sf_model::DaemonName;
use sf_systemd::{Active, ServiceError, ServiceManager};

use crate::observe::unit_name;

/// Directory of the units that a host was given.
pub const UNIT_DIRECTORY: &str = "/etc/systemd/system";

/// Why a daemon was not taken off.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The service manager refused.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Its unit cannot be removed.
    #[error("{} cannot be removed: {source}", .path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Daemons with a unit in a directory, among all that exist, that are not kept.
///
/// # Errors
/// The directory cannot be read.
pub fn leaving(directory: &Path, all: &[DaemonName], keep: &[DaemonName]) -> io::Result<Vec<DaemonName>> {
    let mut found = Vec::new();
    for daemon in all.iter().filter(|daemon| !keep.contains(daemon)) {
        if fs::exists(directory.join(unit_name(*daemon)))? {
            found.push(*daemon);
        }
    }
    Ok(found)
}

/// Stops and disables a daemon and removes its unit with its drop-ins. Says whether it ran. The caller has the service
/// manager read the units again when all are gone.
///
/// # Errors
/// See [`RetireError`]; a repeated run goes on.
pub async fn retire(
    services: &dyn ServiceManager,
    directory: &Path,
    daemon: DaemonName,
) -> Result<bool, RetireError> {
    let unit = unit_name(daemon);
    let state = services.state(&unit).await?;
    let ran = !matches!(state.active, Active::Inactive | Active::Failed);
    if ran {
        services.stop(&unit).await?;
    }
    if state.enabled {
        services.disable(&unit).await?;
    }
    remove(&directory.join(format!("{unit}.d")), |path| fs::remove_dir_all(path))?;
    remove(&directory.join(&unit), |path| fs::remove_file(path))?;
    Ok(ran)
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), RetireError> {
    match how(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| RetireError::Remove { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::DaemonName::{Api, Net, Queues};

    #[test]
    fn what_has_a_unit_and_is_not_kept_leaves() {
        let dir = tempfile::tempdir().unwrap();
        for unit in ["sf-api.service", "sf-net.service", "sf-lifecycle.service"] {
            fs::write(dir.path().join(unit), "").unwrap();
        }
        assert_eq!(leaving(dir.path(), &[Api, Net, Queues], &[Net]).unwrap(), [Api]);
    }
}
