//! The drainer against a tier with faults: nothing is lost, nothing blocks the line, order is kept.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::{Fault, Tier, damage_oldest, damaged, open, plain, until};
use sf_events::spool::SpoolAdmin;
use sf_events::{BatchSink, Drainer, Recorded, Recorder, SinkError, Spool};
use sf_protos::events as pb;
use sf_runtime::{Liveness, Shutdown};

struct Line {
    directory: tempfile::TempDir,
    recorder: Recorder,
    tier: Arc<Tier>,
    shutdown: Shutdown,
    work: tokio::task::JoinHandle<()>,
}

fn start(fault: Option<Fault>) -> Line {
    let directory = tempfile::tempdir().unwrap();
    let (spool, recorder) = open(directory.path());
    let tier = Arc::new(Tier::default());
    tier.set(fault);
    let shutdown = Shutdown::new(Duration::from_secs(5));
    let work = tokio::spawn(Drainer::new(spool, tier.clone()).run(shutdown.clone(), Liveness::new()));
    Line { directory, recorder, tier, shutdown, work }
}

async fn record(line: &Line, messages: impl IntoIterator<Item = String>) {
    for message in messages {
        assert_eq!(line.recorder.record(plain(message)).await, Recorded::Stored);
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("m{n}")).collect()
}

#[tokio::test]
async fn an_outage_loses_nothing_and_keeps_the_order() {
    let line = start(Some(Fault::Down));
    record(&line, numbered(350)).await;
    assert_eq!(line.recorder.depth(), 350);
    line.tier.set(None);
    until("the spool is empty", || line.recorder.depth() == 0).await;
    assert_eq!(line.tier.messages(), numbered(350));
    assert!(line.tier.batches.lock().unwrap().iter().all(|size| *size <= 100));
    line.shutdown.request();
    line.work.await.unwrap();
}

#[tokio::test]
async fn a_rejected_event_goes_to_quarantine_and_can_be_put_back() {
    let line = start(Some(Fault::Reject("m3")));
    record(&line, numbered(10)).await;
    until("the spool is empty", || line.recorder.depth() == 0).await;
    assert_eq!(line.tier.messages().len(), 9);
    let admin = SpoolAdmin::find(line.directory.path()).unwrap().unwrap();
    let quarantine = admin.quarantine(10).unwrap();
    assert_eq!((quarantine.len(), quarantine[0].reason.as_str()), (1, "bad-uuid"));
    assert_eq!(quarantine[0].row.event.as_ref().unwrap().message, "m3");
    assert!(admin.inspect().unwrap().holder.is_some(), "the running process holds the lock");
    line.tier.set(None);
    assert_eq!(admin.requeue(None).unwrap(), 1);
    until("the row put back is delivered", || line.tier.messages().contains(&"m3".to_owned())).await;
    assert_eq!(admin.inspect().unwrap().quarantined, 0);
}

#[tokio::test]
async fn one_malformed_event_does_not_block_the_line() {
    let line = start(Some(Fault::Refuse("m42")));
    record(&line, numbered(100)).await;
    until("the spool is empty", || line.recorder.depth() == 0).await;
    let expected: Vec<String> = numbered(100).into_iter().filter(|m| m != "m42").collect();
    assert_eq!(line.tier.messages(), expected);
    let admin = SpoolAdmin::find(line.directory.path()).unwrap().unwrap();
    assert!(admin.quarantine(10).unwrap()[0].reason.starts_with("refused"));
    assert_eq!(admin.discard(None).unwrap(), 1);
}

#[tokio::test]
async fn an_event_that_crashes_a_healthy_tier_is_found() {
    let line = start(Some(Fault::Crash("m1")));
    record(&line, numbered(4)).await;
    until("the spool is empty", || line.recorder.depth() == 0).await;
    assert_eq!(line.tier.messages(), ["m0", "m2", "m3"]);
}

#[tokio::test]
async fn what_remains_at_shutdown_is_drained_at_the_next_start() {
    let line = start(Some(Fault::Down));
    record(&line, numbered(5)).await;
    line.shutdown.request();
    line.work.await.unwrap();
    let directory = line.directory;
    drop(line.recorder);
    let (spool, recorder) = loop {
        // The writer thread of the dropped spool may still be ending.
        match sf_events::Spool::open(common::options(directory.path())) {
            Ok(spool) => break (spool.clone(), Recorder::new(spool, "node-1", "sf-test")),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(recorder.depth(), 5);
    line.tier.set(None);
    Drainer::new(spool, line.tier.clone()).drain_until_empty().await.unwrap();
    assert_eq!(line.tier.messages(), numbered(5));
}

/// Enough rows for several pages.
async fn several_pages(directory: &Path) -> (Spool, Recorder) {
    let (spool, recorder) = open(directory);
    for message in numbered(200) {
        recorder.record(plain(format!("old {message} {}", "x".repeat(200)))).await;
    }
    (spool, recorder)
}

#[tokio::test]
async fn a_page_that_only_the_reader_meets_does_not_end_draining() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, recorder) = several_pages(directory.path()).await;
    damage_oldest(directory.path());
    let tier = Arc::new(Tier::default());
    let shutdown = Shutdown::new(Duration::from_secs(5));
    let work = tokio::spawn(Drainer::new(spool, tier.clone()).run(shutdown.clone(), Liveness::new()));
    until("the file is set aside", || !damaged(directory.path()).is_empty()).await;
    assert_eq!(recorder.record(plain("goes on")).await, Recorded::Stored);
    until("what came later is delivered", || tier.messages() == ["goes on"]).await;

    let aside = damaged(directory.path());
    assert_eq!(aside.len(), 1, "one damage, one file");
    let salvaged = SpoolAdmin::find(directory.path()).unwrap().unwrap().salvage(&aside[0]).unwrap();
    assert!((100..200).contains(&salvaged.rows), "one page costs its own rows only: {salvaged:?}");
    until("what was left of it is delivered", || tier.uuids().len() as u64 == salvaged.rows + 1).await;
    shutdown.request();
    work.await.unwrap();
}

/// A tier that answers a batch only after the file it came from was set aside, and others at once.
struct SlowTier {
    inner: Tier,
    directory: PathBuf,
    recorder: Recorder,
}

#[async_trait]
impl BatchSink for SlowTier {
    async fn record_batch(&self, events: Vec<pb::Event>) -> Result<Vec<pb::EventResult>, SinkError> {
        if self.inner.messages().is_empty() {
            damage_oldest(&self.directory);
            until("the file is set aside", || !damaged(&self.directory).is_empty()).await;
            for message in numbered(50) {
                assert_eq!(self.recorder.record(plain(message)).await, Recorded::Stored);
            }
        }
        self.inner.record_batch(events).await
    }
}

#[tokio::test]
async fn an_answer_about_a_file_that_was_set_aside_removes_nothing_from_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, recorder) = several_pages(directory.path()).await;
    let (inner, path) = (Tier::default(), directory.path().to_owned());
    let tier = Arc::new(SlowTier { inner, directory: path, recorder: recorder.clone() });
    let shutdown = Shutdown::new(Duration::from_secs(5));
    let work = tokio::spawn(Drainer::new(spool, tier.clone()).run(shutdown.clone(), Liveness::new()));
    let new = || -> Vec<String> {
        tier.inner.messages().into_iter().filter(|message| !message.starts_with("old")).collect()
    };
    until("the new file is drained", || new() == numbered(50)).await;
    until("nothing waits", || recorder.depth() == 0).await;
    shutdown.request();
    work.await.unwrap();
}
