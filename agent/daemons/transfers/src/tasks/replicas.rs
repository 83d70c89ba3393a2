//! Keeps the replicas on disk and the rows of this node in step, and removes what nobody wants (`storage.md` §4.3, §19).

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sf_blobs::Algorithm;
use sf_blobs::durable;
use sf_blobs::hashing::HasherSet;
use sf_blobs::reconcile::{self, ReplicaRow, Standing};
use sf_blobs::rescan;
use sf_events::event;
use sf_gateway::CallClass;
use sf_model::event::EventType;
use sf_model::{BlobId, ObjectType};
use sf_protos::blobs::{
    BlobVerdict, CheckBlobsRequest, ListReplicasOfNodeRequest, Replica, ReportReplicaScanRequest,
};

use super::{count_removed, space};
use crate::error::{WorkError, blocking};
use crate::service::Service;

pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// A deletion is decided on an answer no older than this.
const FRESH: Duration = Duration::from_secs(30);
/// An empty answer is not believed when the node holds more than this many replicas.
const BELIEVABLE_LOSS: usize = 10;
/// Blobs of one question.
const BATCH: usize = 500;

/// What the sweep knows about a file that may have to go.
struct Doomed {
    blob: BlobId,
    decided_on: Instant,
}

impl Service {
    /// One pass. Any error ends it before anything is removed that was not decided on a complete and fresh answer.
    pub(super) async fn sweep_replicas(&self) -> Result<(), WorkError> {
        let asked = Instant::now();
        let listed = self.list_rows().await?;
        // The disk is looked at second: a blob committed meanwhile is then a file without a row, never a row without a
        // file.
        let store = self.store.clone();
        let on_disk = blocking(move || reconcile::list_replicas(&store)).await?;
        space::set("blob_replica_bytes", on_disk.values().sum());
        if listed.is_empty() && on_disk.len() > BELIEVABLE_LOSS {
            return self.refuse_to_believe(on_disk.len()).await;
        }
        count_states(&listed);
        let rows = listed
            .iter()
            .filter_map(|row| Some((row.blob_uuid.parse().ok()?, row)))
            .collect::<BTreeMap<BlobId, _>>();
        let verdicts =
            self.ask_about(on_disk.keys().filter(|blob| !rows.contains_key(blob)).copied().collect()).await?;
        let plain = rows
            .iter()
            .map(|(blob, row)| (*blob, ReplicaRow { size: row.size, present: row.state == "present" }))
            .collect();
        let standing = verdicts.iter().map(|(blob, verdict)| (*blob, standing(verdict))).collect();
        let actions = reconcile::plan(&on_disk, &plain, &standing);

        let mut doomed = self.deleted_rows(&rows, asked);
        doomed.extend(self.unwanted_files(&actions.unwanted, &verdicts, asked).await);
        let removed = self.remove(doomed).await;
        let found = self.verify_candidates(&actions.candidates, &verdicts).await;
        self.report(actions, found, removed).await
    }

    async fn list_rows(&self) -> Result<Vec<Replica>, WorkError> {
        let node_uuid = self.node().to_string();
        let request = |page| ListReplicasOfNodeRequest { node_uuid: node_uuid.clone(), page: Some(page) };
        let all = self
            .ctx
            .gateway
            .collect_all(CallClass::Bulk, request, |reply| (reply.replicas, reply.page))
            .await?;
        Ok(all.into_vec())
    }

    /// A database that has forgotten every replica of a full node is more likely wrong than right.
    async fn refuse_to_believe(&self, held: usize) -> Result<(), WorkError> {
        metrics::counter!("storage_gc_refused_total").increment(1);
        let told = event(EventType::Health, "the database lists no replica of this node; nothing is removed")
            .object(ObjectType::Node, self.node())
            .extra(json!({ "replicas_on_disk": held }));
        self.ctx.events.record(told.as_error()).await;
        Ok(())
    }

    async fn ask_about(&self, blobs: Vec<BlobId>) -> Result<BTreeMap<BlobId, BlobVerdict>, WorkError> {
        let mut verdicts = BTreeMap::new();
        for batch in blobs.chunks(BATCH) {
            let request = CheckBlobsRequest {
                node_uuid: self.node().to_string(),
                blob_uuids: batch.iter().map(ToString::to_string).collect(),
            };
            let reply = self.ctx.gateway.call(CallClass::Bulk, request).await?;
            verdicts.extend(
                reply
                    .verdicts
                    .into_iter()
                    .filter_map(|verdict| Some((verdict.blob_uuid.parse().ok()?, verdict))),
            );
        }
        Ok(verdicts)
    }

    /// Replicas of blobs that were deleted long enough ago.
    fn deleted_rows(&self, rows: &BTreeMap<BlobId, &Replica>, decided_on: Instant) -> Vec<Doomed> {
        let grace = self.ctx.cluster.current().cleaner_delay.as_secs_f64();
        let gone = rows.iter().filter(|(_, row)| {
            row.blob_state == "deleted" && !row.in_use && row.blob_state_age_seconds > grace
        });
        gone.map(|(blob, _)| Doomed { blob: *blob, decided_on }).collect()
    }

    /// Files without a row whose blob is gone. One the database never heard of ages by its own file.
    async fn unwanted_files(
        &self,
        unwanted: &[BlobId],
        verdicts: &BTreeMap<BlobId, BlobVerdict>,
        decided_on: Instant,
    ) -> Vec<Doomed> {
        let grace = self.ctx.cluster.current().cleaner_delay;
        let mut doomed = Vec::new();
        for blob in unwanted.iter().filter(|blob| !self.leases.has(**blob)) {
            let Some(verdict) = verdicts.get(blob).filter(|verdict| !verdict.pinned) else { continue };
            let old = match verdict.state.as_str() {
                "deleted" => verdict.state_age_seconds > grace.as_secs_f64(),
                "" => self.is_older(*blob, grace),
                // A live blob of another size: verification decides about it, not the sweep.
                _ => false,
            };
            if old {
                doomed.push(Doomed { blob: *blob, decided_on });
            }
        }
        doomed
    }

    fn is_older(&self, blob: BlobId, age: Duration) -> bool {
        let changed = std::fs::metadata(self.store.blob(blob)).and_then(|file| file.modified());
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > age))
    }

    async fn remove(&self, doomed: Vec<Doomed>) -> Vec<BlobId> {
        let mut removed = Vec::new();
        for Doomed { blob, decided_on } in doomed {
            if decided_on.elapsed() > FRESH || self.ctx.shutdown.is_requested() {
                break;
            }
            let store = self.store.clone();
            let unlinked = blocking(move || {
                let path = store.blob(blob);
                let size = durable::size_if_present(&path)?.unwrap_or(0);
                durable::remove_if_present(&path)?;
                Ok::<_, WorkError>(size)
            });
            match unlinked.await {
                Ok(size) => {
                    count_removed("replica", size);
                    let told =
                        event(EventType::Prune, "removed unreferenced blob").object(ObjectType::Blob, blob);
                    self.ctx
                        .events
                        .record(told.extra(json!({ "node": self.ctx.node.name, "bytes": size })))
                        .await;
                    removed.push(blob);
                }
                Err(error) => tracing::warn!(%blob, %error, "a replica could not be removed"),
            }
        }
        removed
    }

    /// Reads files that claim to be a live blob; only a full match makes one a replica.
    async fn verify_candidates(
        &self,
        candidates: &[BlobId],
        verdicts: &BTreeMap<BlobId, BlobVerdict>,
    ) -> Vec<BlobId> {
        let mut found = Vec::new();
        for blob in candidates.iter().filter(|blob| !self.leases.has(**blob)) {
            let Some(expected) = verdicts.get(blob).and_then(|verdict| verdict.blake3.clone()) else {
                continue;
            };
            if self.ctx.shutdown.is_requested() {
                break;
            }
            let path = self.store.blob(*blob);
            let read = blocking(move || {
                let mut hashers = HasherSet::new(&[Algorithm::Blake3]);
                let fed = rescan::feed(&path, None, &mut hashers, true, &AtomicBool::new(false));
                fed.map(|_| hashers.finish()).map_err(|error| WorkError::Failed(error.to_string()))
            });
            match read.await {
                Ok(digests) if digests.get(&Algorithm::Blake3) == Some(&expected) => found.push(*blob),
                Ok(_) => {
                    tracing::warn!(%blob, "a file named like a live blob holds other bytes and is not used")
                }
                Err(error) => tracing::warn!(%blob, %error, "a file without a replica row cannot be read"),
            }
        }
        found
    }

    /// Reports in calls of bounded size; the transaction that takes a finding over records its event.
    async fn report(
        &self,
        actions: reconcile::Actions,
        found: Vec<BlobId>,
        removed: Vec<BlobId>,
    ) -> Result<(), WorkError> {
        let mut lists = [&actions.seen, &actions.missing, &found, &actions.suspect, &removed]
            .map(|list| list.chunks(BATCH));
        loop {
            let [seen, missing, found, suspect, removed] = lists.each_mut().map(|list| {
                list.next().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
            });
            if [&seen, &missing, &found, &suspect, &removed].iter().all(|list| list.is_empty()) {
                return Ok(());
            }
            let node_uuid = self.node().to_string();
            let request =
                ReportReplicaScanRequest { context: None, node_uuid, seen, missing, found, suspect, removed };
            self.ctx.gateway.call(CallClass::Bulk, request).await?;
        }
    }
}

fn standing(verdict: &BlobVerdict) -> Standing {
    match verdict.state.as_str() {
        "created" => Standing::Created(verdict.size),
        "deleted" | "" => Standing::Gone,
        _ => Standing::Initial,
    }
}

fn count_states(rows: &[Replica]) {
    let mut states: BTreeMap<&str, f64> = ["incoming", "present", "suspect"].map(|state| (state, 0.0)).into();
    for row in rows {
        *states.entry(row.state.as_str()).or_default() += 1.0;
    }
    for (state, count) in states {
        metrics::gauge!("blob_replicas", "state" => state.to_owned()).set(count);
    }
}
