//! `sf-ctl ensure-mariadb-schema`: the only thing that creates or changes tables.

mod ensure;
mod recorded;
mod steps;

pub use ensure::{Progress, Report, ensure_schema, plan};
pub use recorded::{SchemaVersion, check_window, recorded_version};
pub use steps::{OLDEST_COMPATIBLE, STEPS, Step, Window, built_version, window};

use crate::compat::Incompatible;
use crate::error::StoreError;

/// Why the schema is not what this build needs.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server does not fit.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// Another run holds the lock.
    #[error("another schema run is active on this database: wait for it to end and run the command again")]
    Busy,
    /// Tables that are not ours.
    #[error(
        "the database {database} holds {tables} tables that this product did not make: give it a database of its own"
    )]
    Foreign {
        /// Name of the database.
        database: String,
        /// How many.
        tables: u64,
    },
    /// An applied migration is not the one of this build.
    #[error(
        "migration {0} was applied with another text than this agent carries: use the agent that applied it"
    )]
    Changed(&'static str),
    /// A migration failed.
    #[error(
        "migration {name} failed: {message}; correct the cause and run the command again, it goes on where it stopped"
    )]
    Failed {
        /// Which.
        name: &'static str,
        /// What the server said.
        message: String,
    },
    /// The schema lacks migrations of this build.
    #[error("the schema is version {recorded}, this agent needs {built}: run `sf-ctl ensure-mariadb-schema`")]
    Behind {
        /// Version of this build.
        built: u32,
        /// Version of the database.
        recorded: u32,
    },
    /// The schema has gone too far for this build.
    #[error(
        "this agent (schema {built}) is too old for the schema, which works with {oldest} and later: install the newer agent"
    )]
    TooOld {
        /// Version of this build.
        built: u32,
        /// Oldest version that still works.
        oldest: u32,
    },
    /// The database cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
}
