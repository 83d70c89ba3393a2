//! The daemons of this node as its service manager sees them.

use sf_protos::nodes::DaemonUnit;
use sf_systemd::{ServiceManager, Systemd};
use sf_units::UNITS;

/// Set by the service manager for what it runs; in a single process there is none to ask.
const MANAGED: &str = "INVOCATION_ID";

/// Asks the service manager, connecting when needed.
#[derive(Default)]
pub(crate) struct Units {
    manager: Option<Systemd>,
}

impl Units {
    /// The state of every installed daemon. What cannot be read is left out, and the cluster keeps what it knew.
    pub(crate) async fn report(&mut self) -> Vec<DaemonUnit> {
        if std::env::var_os(MANAGED).is_none() {
            return Vec::new();
        }
        match self.read().await {
            Ok(units) => units,
            Err(error) => {
                tracing::warn!(%error, "the service manager does not say how the daemons are");
                self.manager = None;
                Vec::new()
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<DaemonUnit>, sf_systemd::ServiceError> {
        let manager = match self.manager.take() {
            Some(manager) => manager,
            None => Systemd::connect().await?,
        };
        let mut units = Vec::new();
        for unit in UNITS {
            let state = manager.state(&unit.unit_name()).await?;
            if state.installed {
                units.push(DaemonUnit {
                    daemon: unit.name.to_string(),
                    state: state.active.as_str().to_owned(),
                });
            }
        }
        self.manager = Some(manager);
        Ok(units)
    }
}
