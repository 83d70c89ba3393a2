//! What this process last learnt of each instance from the database: what an event of the hypervisor is judged by.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sf_model::InstanceId;
use sf_model::state::PowerDesired;
use sf_protos::instances::Instance;

/// The part of an instance's row that events need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) desired: PowerDesired,
    pub(crate) boot_id: Option<String>,
    pub(crate) placement_seq: u32,
}

/// Facts by instance. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(Arc<RwLock<HashMap<InstanceId, Fact>>>);

impl Fact {
    /// The fact in a row; `None` for a power word this build does not know.
    pub(crate) fn of(row: &Instance) -> Option<Self> {
        let desired = row.power_desired.parse().ok()?;
        Some(Self { desired, boot_id: row.boot_id.clone(), placement_seq: row.placement_seq })
    }
}

impl Facts {
    pub(crate) fn get(&self, instance: InstanceId) -> Option<Fact> {
        self.0.read().get(&instance).cloned()
    }

    pub(crate) fn set(&self, instance: InstanceId, fact: Fact) {
        self.0.write().insert(instance, fact);
    }

    pub(crate) fn change(&self, instance: InstanceId, change: impl FnOnce(&mut Fact)) {
        if let Some(fact) = self.0.write().get_mut(&instance) {
            change(fact);
        }
    }

    pub(crate) fn forget(&self, instance: InstanceId) {
        self.0.write().remove(&instance);
    }

    /// Keeps only what a complete reading of the database named.
    pub(crate) fn replace(&self, facts: HashMap<InstanceId, Fact>) {
        *self.0.write() = facts;
    }
}
