//! `local retire`.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use sf_config::{NodeConfig, Sources, load_node};
use sf_events::spool::SpoolAdmin;
use sf_model::DaemonName;
use sf_rollout::retire::{self, UNIT_DIRECTORY};
use sf_systemd::{ServiceManager, Systemd};
use sf_units::UNITS;

use crate::answer::{Answer, table};
use crate::cli::daemon_name;
use crate::ctl::spool;
use crate::failure::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct RetireOptions {
    /// The whole set of daemons of this host, separated by commas; empty when none is to stay.
    #[arg(long, value_parser = daemon_set)]
    keep: DaemonSet,
    /// Say what would be done and do nothing.
    #[arg(long)]
    check: bool,
}

/// Daemons given as one text, which may be empty.
#[derive(Debug, Clone)]
struct DaemonSet(Vec<DaemonName>);

fn daemon_set(text: &str) -> Result<DaemonSet, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(daemon_name).collect::<Result<_, _>>().map(DaemonSet)
}

/// What became of one daemon.
struct Retired {
    daemon: DaemonName,
    stopped: bool,
    unit_removed: bool,
    spool: &'static str,
}

pub(super) async fn execute(options: RetireOptions, sources: &Sources) -> Result<Answer, Failure> {
    // An uninstall that was cut off has taken the configuration away, and with it where spools are; units go all the same.
    let gone = matches!(sources.file.try_exists(), Ok(false));
    let node = if gone { None } else { Some(load_node(sources)?.config) };
    let directory = Path::new(UNIT_DIRECTORY);
    let all: Vec<DaemonName> = UNITS.iter().map(|unit| unit.name).collect();
    let with_unit =
        retire::leaving(directory, &all, &options.keep.0).context("the units cannot be listed")?;
    let mut with_spool = Vec::new();
    for daemon in all.iter().copied().filter(|daemon| !options.keep.0.contains(daemon)) {
        if let Some(node) = &node
            && has_spool(node, daemon)?
        {
            with_spool.push(daemon);
        }
    }
    let mut retired = Vec::new();
    if !with_unit.is_empty() && !options.check {
        let services = Systemd::connect().await?;
        for daemon in &with_unit {
            let stopped = retire::retire(&services, directory, *daemon).await;
            let stopped = stopped.map_err(|error| Failure::new(Exit::Internal, error))?;
            retired.push(Retired { daemon: *daemon, stopped, unit_removed: true, spool: "none" });
        }
        services.reload().await?;
    }
    let untouched = with_unit.iter().chain(&with_spool).copied();
    for daemon in untouched {
        if !retired.iter().any(|done| done.daemon == daemon) {
            let unit_removed = options.check && with_unit.contains(&daemon);
            retired.push(Retired { daemon, stopped: unit_removed, unit_removed, spool: "none" });
        }
    }
    let mut left = None;
    let mut would_drain = false;
    for done in retired.iter_mut().filter(|done| with_spool.contains(&done.daemon)) {
        done.spool = "left";
        let Some(node) = &node else { continue };
        if options.check {
            would_drain |= spool::is_deliverable(node, done.daemon)?;
            continue;
        }
        match spool::deliver(node, done.daemon).await {
            Ok(true) => done.spool = "drained",
            // What is in it no gateway takes; the next run finds it as this one did.
            Ok(false) => {}
            Err(failure) => left = Some(failure),
        }
    }
    let changed = would_drain || retired.iter().any(|done| done.unit_removed || done.spool == "drained");
    let answer = answer(&retired).changed(changed);
    match left {
        Some(failure) => Err(failure.showing(answer)),
        None => Ok(answer),
    }
}

fn has_spool(node: &NodeConfig, daemon: DaemonName) -> Result<bool, Failure> {
    Ok(SpoolAdmin::find(&node.spool_path.join(daemon.to_string()))?.is_some())
}

fn answer(retired: &[Retired]) -> Answer {
    let value = |done: &Retired| {
        json!({
            "daemon": done.daemon.to_string(), "stopped": done.stopped, "unit_removed": done.unit_removed,
            "spool": done.spool,
        })
    };
    let rows = retired.iter().map(|done| vec![done.daemon.to_string(), done.spool.to_owned()]);
    let text =
        if retired.is_empty() { "nothing to take off".to_owned() } else { table(&["daemon", "spool"], rows) };
    Answer::new(json!({ "retired": retired.iter().map(value).collect::<Vec<_>>() }), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_keep_nothing() {
        assert!(daemon_set("").unwrap().0.is_empty());
        assert_eq!(daemon_set("api, sf-net").unwrap().0, [DaemonName::Api, DaemonName::Net]);
        assert!(daemon_set("api,lamp").is_err());
    }
}
