//! Console logs that nothing keeps small: libvirt's log daemon rotates them, but it may be absent.

use std::io;
use std::sync::Arc;

use sf_model::InstanceId;

use crate::Cleaner;
use crate::error::Incomplete;
use crate::instances_dir::Directories;

/// Empties console logs that have outgrown their limit.
pub(crate) async fn pass(cleaner: Arc<Cleaner>) -> Result<(), Incomplete> {
    let limit = cleaner.context.config.console_log_max_bytes;
    for instance in Directories::read(&cleaner.layout.instances())?.whole {
        if size(&cleaner, instance)? > limit {
            tracing::info!(%instance, limit, "the console log is too large and is emptied");
            cleaner.helper.truncate_console(instance).await?;
        }
    }
    Ok(())
}

fn size(cleaner: &Cleaner, instance: InstanceId) -> io::Result<u64> {
    match std::fs::symlink_metadata(cleaner.layout.console_log(instance)) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
