//! Which store function does which call: one file per service, one line per call.

mod artifacts;
mod blobs;
mod config;
mod events;
mod instances;
mod locks;
mod maintenance;
mod metadata;
mod namespaces;
mod networks;
mod nodes;
mod operations;
mod renders;
mod scheduler;
mod waits;

use crate::table::Table;

/// Binds every call.
pub(crate) fn bind(table: Table) -> Table {
    let services = [
        artifacts::bind,
        blobs::bind,
        config::bind,
        events::bind,
        instances::bind,
        locks::bind,
        maintenance::bind,
        metadata::bind,
        namespaces::bind,
        networks::bind,
        nodes::bind,
        operations::bind,
        renders::bind,
        scheduler::bind,
        waits::bind,
    ];
    services.into_iter().fold(table, |table, bind| bind(table))
}
