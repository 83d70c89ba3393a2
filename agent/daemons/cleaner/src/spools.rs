//! Events of daemons that no longer run here: their spools are drained and removed (`events.md` §3).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sf_daemon::DaemonContext;
use sf_events::spool::SpoolAdmin;
use sf_events::{Drainer, Spool, SpoolOptions};

use crate::error::Incomplete;

/// A spool that was written to within this time belongs to a daemon that is starting or stopping.
const IDLE: Duration = Duration::from_secs(300);

/// Drains every spool whose lock is free, whose user is ours, and which has been idle for a while.
pub(crate) async fn drain_idle(context: DaemonContext) -> Result<(), Incomplete> {
    for directory in candidates(&context.config.spool_path, SystemTime::now())? {
        if let Err(error) = drain(&context, &directory).await {
            // Its daemon runs, or the database is away: next time.
            tracing::debug!(directory = %directory.display(), error, "a spool was not adopted");
        }
    }
    Ok(())
}

async fn drain(context: &DaemonContext, directory: &Path) -> Result<(), String> {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let spool = Spool::adopt(SpoolOptions::for_daemon(&context.config, name)).map_err(|e| e.to_string())?;
    let rows = spool.depth();
    let drained = Drainer::new(spool.clone(), Arc::new(context.gateway.clone())).drain_until_empty().await;
    spool.close().await;
    // Its lock goes with it; the removal takes it again, or finds that the daemon is back.
    drop(spool);
    drained?;
    // What was refused or set aside is for the operator to look at.
    let admin = SpoolAdmin::find(directory).map_err(|e| e.to_string())?.ok_or("the spool is gone")?;
    if admin.remove_if_empty().map_err(|e| e.to_string())? {
        tracing::info!(directory = %directory.display(), rows, "drained the spool of a daemon that is gone");
    }
    Ok(())
}

fn candidates(spools: &Path, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let us = nix::unistd::Uid::effective().as_raw();
    for entry in std::fs::read_dir(spools)? {
        let path = entry?.path();
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() && metadata.uid() == us && idle_for(&path, now)? > IDLE {
            found.push(path);
        }
    }
    Ok(found)
}

/// Time since the youngest file of a directory was written.
fn idle_for(directory: &Path, now: SystemTime) -> io::Result<Duration> {
    let mut youngest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(directory)? {
        youngest = youngest.max(entry?.metadata()?.modified()?);
    }
    Ok(now.duration_since(youngest).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_directories_are_candidates() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("gone");
        std::fs::create_dir(&spool).unwrap();
        std::fs::write(spool.join("spool.sqlite"), "").unwrap();
        let now = SystemTime::now();
        assert_eq!(candidates(dir.path(), now).unwrap(), Vec::<PathBuf>::new());
        let later = now + IDLE + Duration::from_secs(5);
        assert_eq!(candidates(dir.path(), later).unwrap(), [spool]);
    }
}
