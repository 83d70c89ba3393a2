//! Event spools of this node: local files, no other machine (but for `drain`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sf_config::NodeConfig;
use sf_events::spool::{SpoolAdmin, StoredRow};
use sf_events::{Drainer, Spool, SpoolOptions};
use sf_model::DaemonName;
use sf_protos::convert::unix_seconds;

use super::{gateway, locks};
use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};
use crate::run;

/// Rows a list shows.
const LISTED: u32 = 1000;

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// State of every spool.
    Status,
    /// Waiting events, oldest first.
    List {
        /// The daemon, without `sf-`.
        daemon: String,
        /// Refused events instead of waiting ones.
        #[arg(long)]
        quarantine: bool,
    },
    /// One event in full.
    Show {
        /// The daemon, without `sf-`.
        daemon: String,
        /// Number of the row.
        sequence: i64,
    },
    /// Put refused events back, to be delivered again.
    Requeue(Chosen),
    /// Delete refused events.
    Discard(Chosen),
    /// Take back what can still be read of a damaged file.
    Salvage {
        /// The file that was set aside.
        file: PathBuf,
    },
    /// Deliver what a stopped daemon left, and remove the spool when it is empty.
    Drain {
        /// The daemon, without `sf-`.
        daemon: String,
    },
}

/// Rows of a quarantine.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The daemon, without `sf-`.
    daemon: String,
    /// Numbers of the rows.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    sequences: Vec<i64>,
    /// Every row.
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn sequences(&self) -> Option<&[i64]> {
        (!self.all).then_some(self.sequences.as_slice())
    }
}

pub(crate) fn execute(command: SpoolCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    match command {
        SpoolCommand::Status => status(config),
        SpoolCommand::List { daemon, quarantine } => list(&find(config, &daemon)?, quarantine),
        SpoolCommand::Show { daemon, sequence } => {
            let row = find(config, &daemon)?.show(sequence)?;
            let row = row.ok_or_else(|| refuse(format!("no row {sequence} in the spool of {daemon}")))?;
            let value = value(&row);
            Ok(Answer::new(value.clone(), serde_json::to_string_pretty(&value).unwrap_or_default()))
        }
        SpoolCommand::Requeue(chosen) => {
            let count = find(config, &chosen.daemon)?.requeue(chosen.sequences())?;
            Ok(counted(count, "put back"))
        }
        SpoolCommand::Discard(chosen) => {
            let admin = find(config, &chosen.daemon)?;
            let gone = list(&admin, true)?;
            let count = admin.discard(chosen.sequences())?;
            let answer = counted(count, "deleted");
            Ok(Answer { text: format!("{}\n{}", gone.text, answer.text), ..answer })
        }
        SpoolCommand::Salvage { file } => salvage(&file),
        SpoolCommand::Drain { daemon } => drain(config, &daemon),
    }
}

fn status(config: &NodeConfig) -> Result<Answer, Failure> {
    let names = names(&config.spool_path)
        .with_context(|| format!("the spools in {} cannot be listed", config.spool_path.display()))?;
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for name in names {
        let Some(admin) = SpoolAdmin::find(&config.spool_path.join(&name))? else { continue };
        let state = admin.inspect()?;
        let aside = state.damaged.len() + state.newer.len();
        let holder = state.holder.clone().unwrap_or_else(|| "nobody".to_owned());
        let oldest = state.oldest.map(|micros| locks::when(micros as f64 / 1e6)).unwrap_or_default();
        values.push(json!({
            "daemon": name, "rows": state.rows, "bytes": state.bytes, "oldest": state.oldest, "holder": state.holder,
            "quarantined": state.quarantined, "damaged": state.damaged, "newer": state.newer,
        }));
        let numbers = [state.rows, state.bytes, state.quarantined].map(|n| n.to_string());
        let [waiting, bytes, quarantined] = numbers;
        rows.push(vec![name, waiting, bytes, oldest, quarantined, aside.to_string(), holder]);
    }
    let header = ["daemon", "waiting", "bytes", "oldest", "quarantined", "set aside", "held by"];
    Ok(Answer::new(json!({ "spools": values }), table(&header, rows)))
}

/// Names in the directory of spools, sorted; none where no daemon has made it yet.
fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    names.sort();
    Ok(names)
}

fn list(admin: &SpoolAdmin, quarantine: bool) -> Result<Answer, Failure> {
    let rows: Vec<(StoredRow, Option<String>)> = if quarantine {
        admin.quarantine(LISTED)?.into_iter().map(|q| (q.row, Some(q.reason))).collect()
    } else {
        admin.waiting(LISTED)?.into_iter().map(|row| (row, None)).collect()
    };
    let values: Vec<Value> = rows
        .iter()
        .map(|(row, reason)| {
            let mut value = value(row);
            if let (Some(reason), Some(fields)) = (reason, value.as_object_mut()) {
                fields.insert("reason".to_owned(), json!(reason));
            }
            value
        })
        .collect();
    let lines = rows.iter().map(|(row, reason)| {
        let (kind, message) = match &row.event {
            Ok(event) => (event.event_type.clone(), event.message.clone()),
            Err(error) => ("?".to_owned(), error.to_string()),
        };
        let when = locks::when(row.at as f64 / 1e6);
        vec![row.sequence.to_string(), when, kind, message, reason.clone().unwrap_or_default()]
    });
    let text = table(&["row", "time", "type", "message", "reason"], lines);
    Ok(Answer::new(json!({ "events": values }), text))
}

fn value(row: &StoredRow) -> Value {
    let head = json!({ "sequence": row.sequence, "recorded_at": row.at });
    let body = match &row.event {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(event) => {
            let objects = event.objects.iter().map(|o| json!([o.object_type, o.object_id]));
            let extra = event.extra_json.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
            json!({
                "event_uuid": event.event_uuid, "type": event.event_type, "message": event.message,
                "timestamp": event.timestamp.as_ref().map(unix_seconds), "fqdn": event.fqdn, "daemon": event.daemon,
                "duration": event.duration, "request_id": event.request_id, "trace_id": event.trace_id,
                "objects": objects.collect::<Vec<_>>(), "extra": extra,
            })
        }
    };
    let fields = [head, body].into_iter().filter_map(|part| part.as_object().cloned()).flatten();
    Value::Object(fields.collect())
}

fn salvage(file: &Path) -> Result<Answer, Failure> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let admin = SpoolAdmin::find(directory)?
        .ok_or_else(|| refuse(format!("{} is not in the directory of a spool", file.display())))?;
    let found = admin.salvage(file)?;
    let text = format!("{} events taken back, {} rows unreadable", found.rows, found.undecodable);
    Ok(Answer::new(json!({ "rows": found.rows, "undecodable": found.undecodable }), text)
        .changed(found.rows > 0))
}

fn drain(config: &NodeConfig, daemon: &str) -> Result<Answer, Failure> {
    let daemon = daemon.strip_prefix("sf-").unwrap_or(daemon);
    // Removing a spool that is gone already is done.
    let Some(admin) = SpoolAdmin::find(&config.spool_path.join(daemon))? else {
        return Ok(Answer::new(json!({ "delivered": 0, "removed": false }), "there is no spool"));
    };
    let delivered = run::runtime()?.block_on(empty(config, daemon))?;
    let removed = admin.remove_if_empty()?;
    let left = if removed { "the spool is removed" } else { "refused events or files set aside remain" };
    let text = format!("{delivered} events delivered; {left}");
    Ok(Answer::new(json!({ "delivered": delivered, "removed": removed }), text)
        .changed(delivered > 0 || removed))
}

/// Delivers what a stopped daemon left, and removes the spool when nothing else is in it. Whether that changed anything:
/// refused events and files set aside stay until somebody decides about them.
pub(super) async fn deliver(config: &NodeConfig, daemon: DaemonName) -> Result<bool, Failure> {
    let name = daemon.to_string();
    let delivered = empty(config, &name).await?;
    let removed = find(config, &name)?.remove_if_empty()?;
    Ok(delivered > 0 || removed)
}

/// Whether [`deliver`] would change anything, as far as it can be said without a gateway.
pub(super) fn is_deliverable(config: &NodeConfig, daemon: DaemonName) -> Result<bool, Failure> {
    let state = find(config, &daemon.to_string())?.inspect()?;
    let stays = state.quarantined > 0 || !state.damaged.is_empty() || !state.newer.is_empty();
    Ok(state.rows > 0 || !stays)
}

/// Delivers every event of a spool and says how many there were.
async fn empty(config: &NodeConfig, daemon: &str) -> Result<u64, Failure> {
    let spool = Spool::open(SpoolOptions::for_daemon(config, daemon))?;
    let waiting = spool.depth();
    let sink = Arc::new(gateway::client(config)?);
    let drained = Drainer::new(spool.clone(), sink).drain_until_empty().await;
    spool.close().await;
    drained.map(|()| waiting).map_err(|why| Failure::say(Exit::Unreachable, why))
}

fn find(config: &NodeConfig, daemon: &str) -> Result<SpoolAdmin, Failure> {
    let name = daemon.strip_prefix("sf-").unwrap_or(daemon);
    SpoolAdmin::find(&config.spool_path.join(name))?
        .ok_or_else(|| refuse(format!("{daemon} has no spool on this node")))
}

fn counted(count: u64, what: &str) -> Answer {
    Answer::new(json!({ "rows": count }), format!("{count} events {what}")).changed(count > 0)
}

fn refuse(message: String) -> Failure {
    Failure::say(Exit::Refused, message)
}
