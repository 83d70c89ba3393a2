//! `sf-ctl bootstrap-cluster`: the only way the first secrets, namespace and defaults come to exist
//! (`database-tier.md` §4).
//!
//! Each operation is one transaction that first takes its row in `bootstrap_operations`, whose key is the guard, and
//! then makes its artefact. A crash leaves both or neither; runs at the same time take turns on the key; what exists is
//! never changed.

mod key_file;
mod operations;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sf_model::Secret;
use sf_protos::namespaces::NewKey;

use crate::error::StoreError;
use crate::migrate::SchemaError;

pub use operations::{CLUSTER_ID, random_seed};
pub use run::{bootstrap, plan};

/// What a new cluster is made from.
pub struct Input {
    /// Name of this node, recorded with each operation.
    pub fqdn: String,
    /// Release of the cluster, `major.minor`.
    pub release: String,
    /// The seed of token keys, as it is to be stored; 32 random bytes when absent.
    pub auth_secret_seed: Option<Secret<String>>,
    /// Encrypts a seed that an earlier run stored in the open.
    pub wrap_seed: Option<Wrap>,
    /// Cluster keys to be set, in either case, with their texts.
    pub config: BTreeMap<String, String>,
    /// The first key of namespace `system`.
    pub admin_key: AdminKey,
    /// Tasks of the leader with their periods in seconds.
    pub tasks: Vec<(String, u32)>,
}

/// Turns a secret into its ciphertext, or says why it cannot.
pub type Wrap = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The first key.
pub struct AdminKey {
    /// What is stored of it.
    pub key: NewKey,
    /// Where a generated secret is handed to the operator; none for a key the operator supplied.
    pub output: Option<KeyOutput>,
}

/// A generated secret and the file it is written to, for root only. The file appears when the key is valid.
pub struct KeyOutput {
    /// The file; it is never overwritten.
    pub path: PathBuf,
    /// The secret.
    pub secret: Secret<String>,
}

/// What became of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// Its artefact was made.
    Created,
    /// It would be made by a run that is not a check.
    #[strum(serialize = "would be created")]
    WouldCreate,
    /// It had been done before, from the same input.
    #[strum(serialize = "already done")]
    AlreadyDone,
    /// It had been done before, from other input; what exists was left as it is.
    #[strum(serialize = "already done with different input")]
    AlreadyDoneDifferently,
}

/// One operation and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its name in `bootstrap_operations`.
    pub operation: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What it makes.
    pub artefact: String,
}

/// Points inside an operation, for progress and for tests that end the process at each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its row is taken; nothing is committed.
    Recorded,
    /// Its artefact is written; nothing is committed.
    Written,
    /// It is committed.
    Committed,
}

/// Watches a run.
pub type Observer = Arc<dyn Fn(&str, Moment) + Send + Sync>;

/// Why bootstrap stopped. What was done stays done, and the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The schema is not ready.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database refused or failed.
    #[error("bootstrap stopped at {operation}: {source}")]
    Store {
        /// The operation.
        operation: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The secret cannot be handed over.
    #[error("the key cannot be written to {}: {source}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
