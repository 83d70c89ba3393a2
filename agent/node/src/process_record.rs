//! The record that a daemon's process keeps of what it was started with, for `local converge`.

use parking_lot::Mutex;
use sf_config::{NodeConfig, Sources, fingerprint, load_database_if_present};
use sf_model::DaemonName;
use sf_rollout::record::{self, Kept, Record};
use sf_rollout::unit_files::UnitFiles;
use sf_rollout::{credentials, observe};

/// Where the service manager puts the secrets of a process.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The record of this process.
pub(crate) struct ProcessRecord {
    daemon: DaemonName,
    record: Record,
    kept: Mutex<Option<Kept>>,
}

impl ProcessRecord {
    /// Publishes what this process was started with. A daemon runs without a record as well: it is restarted by the next
    /// converging, which says why.
    pub(crate) fn publish(daemon: DaemonName, node: &NodeConfig, sources: &Sources) -> Self {
        let print = print(daemon, node, sources);
        let unit = UnitFiles::read(&observe::unit_name(daemon));
        let directory = std::env::var_os(CREDENTIALS).map(std::path::PathBuf::from);
        let given = credentials::own(directory.as_deref());
        let record = Record {
            daemon: daemon.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fixed: print.fixed,
            live: print.live,
            unit: told(unit, "the unit").map(|files| files.digest()).unwrap_or_default(),
            credentials: told(given, "the credentials").flatten(),
        };
        let this = Self { daemon, record, kept: Mutex::new(None) };
        this.keep(this.record.clone());
        this
    }

    /// Publishes what takes effect without a restart. The rest stays what the process was started with.
    pub(crate) fn read_again(&self, node: &NodeConfig, sources: &Sources) {
        let live = print(self.daemon, node, sources).live;
        self.keep(Record { live, ..self.record.clone() });
    }

    fn keep(&self, record: Record) {
        if let Some(kept) = told(record::keep(&record), "the record of this process") {
            *self.kept.lock() = Some(kept);
        }
    }
}

/// The tier's own file is part of what the tier reads, and of nothing else.
fn print(daemon: DaemonName, node: &NodeConfig, sources: &Sources) -> sf_config::Fingerprint {
    let tier = daemon == DaemonName::Database;
    let database = tier.then(|| load_database_if_present(sources).ok().flatten()).flatten();
    fingerprint(daemon, node, database.as_ref().map(|loaded| &loaded.config))
}

fn told<T>(outcome: std::io::Result<T>, what: &str) -> Option<T> {
    outcome
        .inspect_err(
            |error| tracing::warn!(%error, "{what} cannot be recorded: the next converging will restart it"),
        )
        .ok()
}
