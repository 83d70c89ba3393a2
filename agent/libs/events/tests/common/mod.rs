//! What the tests of spool and drainer share.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sf_events::spool::SpoolAdmin;
use sf_events::{BatchSink, Event, Recorder, SinkError, Spool, SpoolOptions, event};
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::events as pb;

pub(crate) fn options(directory: &Path) -> SpoolOptions {
    SpoolOptions {
        directory: directory.to_owned(),
        max_rows: 100_000,
        max_bytes: 64 << 20,
        sync_interval: Duration::from_millis(20),
    }
}

pub(crate) fn open(directory: &Path) -> (Spool, Recorder) {
    let spool = Spool::open(options(directory)).unwrap();
    let recorder = Recorder::new(spool.clone(), "node-1", "sf-test");
    recorder.set_echo(false);
    (spool, recorder)
}

pub(crate) fn plain(message: impl Into<String>) -> Event {
    event(EventType::Audit, message).object(ObjectType::Instance, "i-1")
}

/// A tier in memory that stores by identity, with switchable faults.
#[derive(Default)]
pub(crate) struct Tier {
    pub(crate) stored: Mutex<Vec<pb::Event>>,
    pub(crate) batches: Mutex<Vec<usize>>,
    pub(crate) fault: Mutex<Option<Fault>>,
}

#[derive(Clone)]
#[allow(dead_code, reason = "each test file uses the faults it needs")]
pub(crate) enum Fault {
    /// Nothing works.
    Down,
    /// Events with this message are rejected one by one.
    Reject(&'static str),
    /// A batch with this message is refused as a whole.
    Refuse(&'static str),
    /// A batch with this message makes a healthy tier fail inside.
    Crash(&'static str),
}

#[async_trait]
impl BatchSink for Tier {
    async fn record_batch(&self, events: Vec<pb::Event>) -> Result<Vec<pb::EventResult>, SinkError> {
        self.batches.lock().unwrap().push(events.len());
        let has = |text: &str| events.iter().any(|e| e.message == text);
        let fault = self.fault.lock().unwrap().clone();
        match &fault {
            Some(Fault::Down) => return Err(SinkError::Retry("down".into())),
            Some(Fault::Refuse(text)) if has(text) => return Err(SinkError::Refused("malformed".into())),
            Some(Fault::Crash(text)) if has(text) => {
                return Err(SinkError::Internal { message: "panic".into(), healthy: true });
            }
            _ => {}
        }
        let mut stored = self.stored.lock().unwrap();
        let mut results = Vec::new();
        for event in events {
            let rejected = matches!(&fault, Some(Fault::Reject(text)) if event.message == *text);
            let known = stored.iter().any(|e| e.event_uuid == event.event_uuid);
            let outcome = match (rejected, known) {
                (true, _) => pb::Outcome::Rejected,
                (_, true) => pb::Outcome::Duplicate,
                _ => pb::Outcome::Stored,
            };
            let reason = if rejected { "bad-uuid".to_owned() } else { String::new() };
            results.push(pb::EventResult {
                event_uuid: event.event_uuid.clone(),
                outcome: outcome.into(),
                reason,
            });
            if outcome == pb::Outcome::Stored {
                stored.push(event);
            }
        }
        Ok(results)
    }
}

#[allow(dead_code, reason = "each test file uses what it needs")]
impl Tier {
    pub(crate) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.stored.lock().unwrap().iter().map(|e| e.message.clone()).collect()
    }

    pub(crate) fn uuids(&self) -> BTreeSet<String> {
        self.stored.lock().unwrap().iter().map(|e| e.event_uuid.clone()).collect()
    }
}

/// Overwrites the page that holds the oldest rows. The writer, which works at the other end, does not meet it.
#[allow(dead_code, reason = "each test file uses what it needs")]
pub(crate) fn damage_oldest(directory: &Path) {
    let file = directory.join("eventlog.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    let sql = "SELECT pageno FROM dbstat WHERE name = 'spool' AND pagetype = 'leaf' ORDER BY path LIMIT 1";
    let page: u32 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&vec![0xEE; size as usize], u64::from(page - 1) * u64::from(size)).unwrap();
}

/// Files that were set aside as damaged.
#[allow(dead_code, reason = "each test file uses what it needs")]
pub(crate) fn damaged(directory: &Path) -> Vec<PathBuf> {
    let inspection = SpoolAdmin::find(directory).unwrap().map(|admin| admin.inspect());
    // While a new file is made, its tables may not be there yet.
    inspection.and_then(Result::ok).map(|inspection| inspection.damaged).unwrap_or_default()
}

/// Polls until `holds`, for at most a minute.
#[allow(dead_code, reason = "each test file uses what it needs")]
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
