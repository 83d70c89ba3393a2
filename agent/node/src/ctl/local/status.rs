//! `local status`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use sf_config::Sources;
use sf_model::DaemonName;
use sf_rollout::converge::View;
use sf_rollout::observe::{Observer, unit_name};
use sf_rollout::plan::{self, Observed, Step};
use sf_rollout::release::{BASE, Releases};
use sf_systemd::{Active, ServiceManager, Systemd};
use sf_units::UNITS;

use super::configuration;
use super::converge::executable;
use super::view::HostView;
use crate::answer::{Answer, table};
use crate::cli::daemon_name;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Daemons to show; those that are installed when left out.
    #[arg(long, value_delimiter = ',', value_parser = daemon_name)]
    daemons: Vec<DaemonName>,
    /// Directory of the release to compare with; the one that is current when left out.
    #[arg(long, value_name = "DIR")]
    staged: Option<PathBuf>,
}

pub(super) async fn execute(options: StatusOptions, sources: &Sources) -> Result<Answer, Failure> {
    let configuration = configuration(sources)?;
    let services = Systemd::connect().await?;
    let observer = Observer::new(&services, &configuration, &executable(options.staged.as_deref()))?;
    let build = observer.build_id().to_owned();
    let mut view = HostView(observer);
    let named = !options.daemons.is_empty();
    let daemons = if named { options.daemons } else { UNITS.iter().map(|unit| unit.name).collect() };
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for daemon in daemons {
        let (wanted, observed) = view.look(daemon).await?;
        if !named && !observed.state.installed {
            continue;
        }
        let step = plan::decide(&wanted, &observed);
        rows.push(vec![
            daemon.to_string(),
            observed.state.active.as_str().to_owned(),
            step.action.to_string(),
            observed.state.status.clone(),
        ]);
        values.push(value(daemon, &observed, &step));
    }
    let mut failed = Vec::new();
    for unit in services.loaded("sf-*").await? {
        if services.state(&unit).await?.active == Active::Failed {
            failed.push(unit);
        }
    }
    let current = Releases::below(Path::new(BASE)).current().map_err(anyhow::Error::from)?;
    let fields = json!({
        "current": current, "staged": options.staged, "build_id": build, "daemons": values, "failed_units": failed,
    });
    Ok(Answer::new(fields, table(&["daemon", "active", "converging would", "status"], rows)))
}

fn value(daemon: DaemonName, observed: &Observed, step: &Step) -> Value {
    let state = &observed.state;
    json!({
        "daemon": daemon.to_string(), "unit": unit_name(daemon), "installed": state.installed, "enabled": state.enabled,
        "active": state.active.as_str(), "sub": state.sub, "pid": state.pid, "since": state.since,
        "status": state.status, "build_id": observed.build_id,
        "version": observed.record.as_ref().map(|record| record.version.as_str()),
        "action": step.action, "reasons": step.reasons,
    })
}
