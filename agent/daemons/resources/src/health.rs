//! Do the node's storage paths work? Each probe runs on a thread of its own, because a hung mount never lets go of it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
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
use sf_runtime::{Loop, LoopTick, Pass};
use sf_units::HEARTBEAT;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What is known of every path. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Board {
    paths: Arc<Mutex<BTreeMap<PathBuf, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    object_types: Vec<String>,
    verdict: Result<(), String>,
    /// The cluster has taken note of the failure: the node is in error because of it.
    acknowledged: bool,
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
                acknowledged: false,
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

    /// Failures the cluster has taken note of. To be read before a check-in, and held against its answer.
    pub(crate) fn acknowledged(&self) -> Vec<PathBuf> {
        let paths = self.paths.lock();
        paths.iter().filter(|(_, entry)| entry.acknowledged).map(|(path, _)| path.clone()).collect()
    }

    /// The node is not in error although these failures were taken note of: an operator cleared it. What is still broken
    /// is told again with the next pass.
    pub(crate) fn tell_again(&self, failures: &[PathBuf]) {
        self.set_acknowledged(failures, false);
    }

    /// Failures that the cluster does not know of, with what they are.
    fn untold(&self) -> Vec<(PathBuf, String)> {
        let paths = self.paths.lock();
        let untold = paths.iter().filter(|(_, entry)| !entry.acknowledged);
        untold.filter_map(|(path, entry)| Some((path.clone(), entry.verdict.clone().err()?))).collect()
    }

    fn set_acknowledged(&self, failures: &[PathBuf], acknowledged: bool) {
        let mut paths = self.paths.lock();
        for path in failures {
            if let Some(entry) = paths.get_mut(path) {
                entry.acknowledged = acknowledged && entry.verdict.is_err();
            }
        }
    }

    fn due(&self, write_interval: Duration) -> Vec<(PathBuf, bool)> {
        let paths = self.paths.lock();
        let due = paths.iter().filter(|(_, entry)| !entry.hanging);
        due.map(|(path, entry)| {
            (path.clone(), entry.written_at.is_none_or(|at| at.elapsed() >= write_interval))
        })
        .collect()
    }

    /// Takes a verdict; true when the path has just broken.
    fn settle(&self, path: &Path, wrote: bool, verdict: Result<(), String>) -> bool {
        let mut paths = self.paths.lock();
        let Some(entry) = paths.get_mut(path) else { return false };
        let broke = entry.verdict.is_ok() && verdict.is_err();
        if wrote && verdict.is_ok() {
            entry.written_at = Some(Instant::now());
        }
        entry.acknowledged &= verdict.is_err();
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

/// Probes until shutdown is asked for; a path that breaks is reported at once, and again until the cluster has heard it.
pub(crate) async fn run(context: DaemonContext, board: Board) {
    let config = context.config.clone();
    let pass = |tick: Arc<LoopTick>| {
        let (context, board) = (context.clone(), board.clone());
        async move { probe_all(&context, &board, &tick).await.map(|()| Pass::Done) }
    };
    let silence = config.node_health_probe_timeout * 8 + config.node_health_check_interval;
    Loop::every("storage-health", config.node_health_check_interval)
        .max_silence(silence)
        .run(context.shutdown.clone(), context.liveness.clone(), pass)
        .await;
}

/// Probes every path at the same time, so that one that hangs delays no verdict about another.
async fn probe_all(context: &DaemonContext, board: &Board, tick: &LoopTick) -> Result<(), DbError> {
    let limit = context.config.node_health_probe_timeout;
    let mut probes = JoinSet::new();
    for (path, write) in board.due(context.config.node_health_write_interval) {
        let board = board.clone();
        probes.spawn(async move {
            let verdict = probe(&board, &path, write, limit).await;
            (path, write, verdict)
        });
    }
    while let Some(ended) = probes.join_next().await {
        tick.tick();
        let Ok((path, write, verdict)) = ended else { continue };
        if let Err(detail) = &verdict {
            tracing::error!(path = %path.display(), detail, "a storage path does not work");
        }
        let detail = verdict.clone().err().unwrap_or_default();
        if board.settle(&path, write, verdict) {
            tell(context, &path, &detail).await;
            if let Err(error) = report(context, board).await {
                tracing::info!(%error, "the cluster has not heard of it, it will be told again");
            }
        }
    }
    report(context, board).await
}

async fn tell(context: &DaemonContext, path: &Path, detail: &str) {
    let fact = event(EventType::Health, "storage path failed")
        .object(ObjectType::Node, context.node.uuid)
        .extra(serde_json::json!({ "detail": describe(path, detail) }))
        .as_error();
    let _recorded = context.events.record(fact).await;
}

/// The node stops being a place for instances in the same transaction that records why.
async fn report(context: &DaemonContext, board: &Board) -> Result<(), DbError> {
    let untold = board.untold();
    if untold.is_empty() {
        return Ok(());
    }
    let message: Vec<String> = untold.iter().map(|(path, detail)| describe(path, detail)).collect();
    let request = SetNodeErrorRequest {
        context: Some(context.gateway.mutation()),
        node_uuid: context.node.uuid.to_string(),
        message: message.join("; "),
        storage_health: board.report(),
    };
    context.gateway.call(CallClass::Background, request).await?;
    let told: Vec<PathBuf> = untold.into_iter().map(|(path, _)| path).collect();
    board.set_acknowledged(&told, true);
    Ok(())
}

fn describe(path: &Path, detail: &str) -> String {
    format!("{}: {detail}", path.display())
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
    // Never made here: without its file system a mount point is an empty directory that can be written.
    let heartbeat = path.join(HEARTBEAT);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => format!("{HEARTBEAT} is missing: the file system is not mounted or is new"),
        _ => format!("heartbeat: {error}"),
    };
    if !write {
        return std::fs::metadata(&heartbeat).map(drop).map_err(failed);
    }
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&heartbeat).map_err(failed)?;
    writeln!(file, "{:?}", std::time::SystemTime::now()).map_err(failed)?;
    file.sync_all().map_err(failed)
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
        assert!(!board.settle(&path, true, verdict.clone()), "staying broken is not");
        let untold = || board.untold().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(untold(), std::slice::from_ref(&path), "until the cluster has heard it");
        board.set_acknowledged(&untold(), true);
        board.settle(&path, true, verdict);
        assert!(untold().is_empty());
        board.tell_again(&board.acknowledged());
        assert_eq!(untold(), std::slice::from_ref(&path), "an operator cleared what is still broken");
        std::fs::create_dir(&path).unwrap();
        for write in [false, true] {
            assert!(
                probe(&board, &path, write, limit).await.is_err(),
                "a mount point without its file system"
            );
        }
        std::fs::write(path.join(HEARTBEAT), "").unwrap();
        for write in [false, true] {
            assert_eq!(probe(&board, &path, write, limit).await, Ok(()));
        }
        assert!(!std::fs::read(path.join(HEARTBEAT)).unwrap().is_empty(), "it is written");
        board.settle(&path, true, Ok(()));
        assert!(board.report().iter().all(|health| health.healthy));
        assert!(untold().is_empty() && board.acknowledged().is_empty());
    }
}
