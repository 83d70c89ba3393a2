//! QEMU logs that libvirt keeps of domains: they outlive their instance, and nothing else removes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sf_model::InstanceId;

use crate::Cleaner;
use crate::error::Incomplete;
use crate::instances_dir::Directories;
use crate::world::{self, Elsewhere};

/// Removes the logs of instances that are deleted for good. The logs are listed first: an instance that comes into being
/// while the rest is read has none among them.
pub(crate) async fn pass(cleaner: Arc<Cleaner>) -> Result<(), Incomplete> {
    let mut logs = logged(&cleaner).await?;
    for row in world::instances_here(&cleaner, |_| {}).await? {
        logs.remove(&world::identity(&row.uuid)?);
    }
    // What is here of an instance, in whatever state and whosever domain it is, keeps its log.
    for domain in cleaner.hypervisor.list().await? {
        logs.remove(&domain.instance);
    }
    let directories = Directories::read(&cleaner.layout.instances())?;
    for instance in logs.into_iter().filter(|instance| !directories.has(*instance)) {
        if world::ask(&cleaner, instance).await? == Elsewhere::Unknown {
            cleaner.helper.remove_qemu_logs(instance).await?;
            tracing::info!(%instance, "the QEMU logs of a deleted instance are removed");
        }
    }
    Ok(())
}

async fn logged(cleaner: &Cleaner) -> Result<BTreeSet<InstanceId>, Incomplete> {
    let mut all = BTreeSet::new();
    loop {
        let (page, more) = cleaner.helper.list_qemu_logs(all.last().copied()).await?;
        let progress = !page.is_empty();
        all.extend(page);
        if !more || !progress {
            return Ok(all);
        }
    }
}
