//! Which store function does which call: one file per service, one line per call.

mod config;
mod events;
mod locks;
mod operations;
mod waits;

use crate::table::Table;

/// Binds every call.
pub(crate) fn bind(table: Table) -> Table {
    let services = [config::bind, events::bind, locks::bind, operations::bind, waits::bind];
    services.into_iter().fold(table, |table, bind| bind(table))
}
