//! Do the node's storage paths work? Each probe runs on a thread of its own, because a hung mount never lets go of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};
use parking_lot::Mutex;
use sf_config::NodeConfig;
use sf_daemon::DaemonContext;
use sf_events::event;
use sf_gateway::{CallClass, DbError};
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::nodes::{SetNodeErrorRequest, StorageHealth};
use sf_runtime::{Loop, Pass};
use tokio::sync::oneshot;

/// Name of the file that is written in each path. Storage scans ignore names that begin with an underscore.
const HEARTBEAT: &str = "_heartbeat";

/// What is known of every path. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Board {
    paths: Arc<Mutex<BTreeMap<PathBuf, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    object_types: Vec<String>,
    verdict: Result<(), String>,
    written_at: Option<Instant>,
    /// A probe that did not come back; the path is not probed again while it hangs.
    hanging: bool,
}

impl Board {
    /// The paths this node depends on (`scheduler.md` §1.6).
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let mut paths: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        let mut depend = |folder: &str, object_type: &str| {
            let entry = paths.entry(config.storage_path.join(folder)).or_insert_with(|| Entry {
                object_types: Vec::new(),
                verdict: Ok(()),
                written_at: None,
                hanging: false,
            });
            entry.object_types.push(object_type.to_owned());
        };
        depend("blobs", "blob");
        depend("uploads", "upload");
        if config.node_is_hypervisor {
            for folder in ["instances", "image_cache", "blobs"] {
                depend(folder, "instance");
            }
        }
        Self { paths: Arc::new(Mutex::new(paths)) }
    }

    /// The present verdicts, as a check-in carries them.
    pub(crate) fn report(&self) -> Vec<StorageHealth> {
        self.paths.lock().iter().map(|(path, entry)| entry.to_wire(path)).collect()
    }

    fn due(&self, write_interval: Duration) -> Vec<(PathBuf, bool)> {
        let paths = self.paths.lock();
        let due = paths.iter().filter(|(_, entry)| !entry.hanging);
        due.map(|(path, entry)| {
            (path.clone(), entry.written_at.is_none_or(|at| at.elapsed() >= write_interval))
        })
        .collect()
    }

    fn settle(&self, path: &Path, wrote: bool, verdict: Result<(), String>) -> bool {
        let mut paths = self.paths.lock();
        let Some(entry) = paths.get_mut(path) else { return false };
        let broke = entry.verdict.is_ok() && verdict.is_err();
        if wrote && verdict.is_ok() {
            entry.written_at = Some(Instant::now());
        }
        entry.verdict = verdict;
        metrics::gauge!("sf_node_resource_health", "path" => path.display().to_string())
            .set(f64::from(u8::from(entry.verdict.is_ok())));
        broke
    }

    fn set_hanging(&self, path: &Path, hanging: bool) {
        if let Some(entry) = self.paths.lock().get_mut(path) {
            entry.hanging = hanging;
        }
    }
}

impl Entry {
    fn to_wire(&self, path: &Path) -> StorageHealth {
        StorageHealth {
            path: path.display().to_string(),
            object_types: self.object_types.clone(),
            healthy: self.verdict.is_ok(),
            detail: self.verdict.clone().err(),
        }
    }
}

/// Probes until shutdown is asked for; a path that breaks is reported at once.
pub(crate) async fn run(context: DaemonContext, board: Board) {
    let config = context.config.clone();
    let pass = |_tick| {
        let (context, board) = (context.clone(), board.clone());
        async move { probe_all(&context, &board).await.map(|()| Pass::Done) }
    };
    let silence = config.node_health_probe_timeout * 8 + config.node_health_check_interval;
    Loop::every("storage-health", config.node_health_check_interval)
        .max_silence(silence)
        .run(context.shutdown.clone(), context.liveness.clone(), pass)
        .await;
}

async fn probe_all(context: &DaemonContext, board: &Board) -> Result<(), DbError> {
    let mut broken = Vec::new();
    for (path, write) in board.due(context.config.node_health_write_interval) {
        let verdict = probe(board, &path, write, context.config.node_health_probe_timeout).await;
        if let Err(detail) = &verdict {
            tracing::error!(path = %path.display(), detail, "a storage path does not work");
        }
        if board.settle(&path, write, verdict.clone()) {
            broken.push(format!("{}: {}", path.display(), verdict.err().unwrap_or_default()));
        }
    }
    if broken.is_empty() { Ok(()) } else { report(context, board, &broken.join("; ")).await }
}

/// The node stops being a place for instances in the same transaction that records why.
async fn report(context: &DaemonContext, board: &Board, message: &str) -> Result<(), DbError> {
    let fact = event(EventType::Health, "storage path failed")
        .object(ObjectType::Node, context.node.uuid)
        .extra(serde_json::json!({ "detail": message }))
        .as_error();
    let _recorded = context.events.record(fact).await;
    let request = SetNodeErrorRequest {
        context: Some(context.gateway.mutation()),
        node_uuid: context.node.uuid.to_string(),
        message: message.to_owned(),
        storage_health: board.report(),
    };
    context.gateway.call(CallClass::Background, request).await.map(|_reply| ())
}

async fn probe(board: &Board, path: &Path, write: bool, limit: Duration) -> Result<(), String> {
    let (done, answer) = oneshot::channel();
    let (target, marker, owner) = (path.to_owned(), board.clone(), path.to_owned());
    board.set_hanging(path, true);
    let spawned = std::thread::Builder::new().name("storage-probe".to_owned()).spawn(move || {
        let verdict = check(&target, write);
        marker.set_hanging(&owner, false);
        // The asker may have given up; the verdict is then its own.
        let _gone = done.send(verdict);
    });
    if let Err(error) = spawned {
        board.set_hanging(path, false);
        return Err(format!("the probe could not be started: {error}"));
    }
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Err("the probe ended without an answer".to_owned()),
        Err(_) => Err(format!("no answer within {} seconds", limit.as_secs())),
    }
}

fn check(path: &Path, write: bool) -> Result<(), String> {
    let facts = statvfs(path).map_err(|error| format!("statvfs: {error}"))?;
    if facts.flags().contains(FsFlags::ST_RDONLY) {
        return Err("the file system is read-only".to_owned());
    }
    if write {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path.join(HEARTBEAT))
            .map_err(|error| format!("heartbeat: {error}"))?;
        writeln!(file, "{:?}", std::time::SystemTime::now())
            .map_err(|error| format!("heartbeat: {error}"))?;
        file.sync_all().map_err(|error| format!("heartbeat: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(storage: &Path) -> Board {
        let storage = storage.display().to_string();
        let config = NodeConfig::from_pairs(&[
            ("storage_path", storage.as_str()),
            ("node_mesh_ip", "127.0.0.1"),
            ("mariadb_gateway_hosts", "127.0.0.1"),
            ("node_is_hypervisor", "true"),
        ])
        .unwrap();
        Board::new(&config)
    }

    #[test]
    fn blobs_serve_blobs_and_instances() {
        let dir = tempfile::tempdir().unwrap();
        let report = board(dir.path()).report();
        let blobs = report.iter().find(|health| health.path.ends_with("/blobs")).unwrap();
        assert_eq!(blobs.object_types, ["blob", "instance"]);
        assert_eq!(report.len(), 4);
    }

    #[tokio::test]
    async fn a_path_that_vanishes_breaks_once_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(dir.path());
        let path = dir.path().join("uploads");
        let limit = Duration::from_secs(30);
        let verdict = probe(&board, &path, true, limit).await;
        assert!(verdict.is_err());
        assert!(board.settle(&path, true, verdict.clone()), "breaking is news");
        assert!(!board.settle(&path, true, verdict), "staying broken is not");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(probe(&board, &path, true, limit).await, Ok(()));
        assert!(path.join(HEARTBEAT).exists());
        board.settle(&path, true, Ok(()));
        assert!(board.report().iter().all(|health| health.healthy));
    }
}
