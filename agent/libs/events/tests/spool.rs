//! The spool against crashes, damage, limits and a model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail loudly"
)]

mod common;

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{Tier, open, options, plain, until};
use proptest::prelude::*;
use sf_events::spool::SpoolAdmin;
use sf_events::{Drainer, DropReason, Recorded, Recorder, Spool, SpoolError, event};
use sf_model::ObjectType;
use sf_model::event::EventType;

const CHILD: &str = "SF_EVENTS_TEST_SPOOL";

fn sqlite(directory: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.join("eventlog.sqlite")).unwrap()
}

fn spooled(directory: &Path) -> Vec<sf_protos::events::Event> {
    let rows = SpoolAdmin::find(directory).unwrap().unwrap().waiting(1_000_000).unwrap();
    rows.into_iter().map(|row| row.event.unwrap()).collect()
}

#[tokio::test]
async fn the_layout_is_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("spool/api");
    let (spool, recorder) = open(&directory);
    recorder.record_durable(plain("one")).await;
    spool.close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("eventlog.sqlite"))), (0o700, 0o600));
    let db = sqlite(&directory);
    let pragma =
        |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("application_id"), pragma("user_version")), (0x5346_5350, 1));
    assert_eq!(pragma("auto_vacuum"), 2);
    let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let strict: i64 = db
        .query_row("SELECT COUNT(*) FROM pragma_table_list WHERE strict = 1 AND schema = 'main'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(strict, 3);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _recorder) = open(dir.path());
    match Spool::open(options(dir.path())) {
        Err(SpoolError::Busy { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        _ => panic!("the lock was taken twice"),
    }
}

#[tokio::test]
async fn a_full_spool_drops_the_newest_and_keeps_a_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(sf_events::SpoolOptions { max_rows: 100, ..options(dir.path()) }).unwrap();
    let recorder = Recorder::new(spool, "n", "sf-test");
    recorder.set_echo(false);
    let status = |n: u32| event(EventType::Status, format!("s{n}")).object(ObjectType::Instance, "i");
    for n in 0..90 {
        assert_eq!(recorder.record(status(n)).await, Recorded::Stored);
    }
    assert_eq!(recorder.record(status(90)).await, Recorded::Dropped(DropReason::Reserve));
    for _ in 0..10 {
        assert_eq!(recorder.record(plain("a")).await, Recorded::Stored);
    }
    assert_eq!(recorder.record(plain("a")).await, Recorded::Dropped(DropReason::HighWater));
    assert_eq!(spooled(dir.path())[0].message, "s0");
}

#[tokio::test]
async fn secrets_never_reach_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recorder) = open(dir.path());
    let extra =
        serde_json::json!({ "nested": [{ "password": "hunter2-p", "auth_token": { "x": "hunter2-t" } }] });
    recorder.record_durable(plain("m").extra(extra)).await;
    spool.close().await;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"));
    }
}

#[tokio::test]
async fn detached_records_arrive_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, recorder) = open(dir.path());
    (0..500).for_each(|n| recorder.record_detached(plain(format!("{n}"))));
    until("all are committed", || recorder.depth() == 500).await;
}

#[tokio::test]
async fn rows_of_early_formats_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close().await;
    let old = r#"{"event_type":"audit","timestamp":1.5,"fqdn":"n","message":"old","extra":"{\"request-id\":\"r\"}","objects":[["instance","i"]]}"#;
    let write = |directory: &Path, format: i64, payload: &str| {
        let sql = "INSERT INTO spool (format, payload, recorded_at) VALUES (?1, ?2, 1)";
        sqlite(directory).execute(sql, (format, payload.as_bytes())).unwrap();
    };
    write(dir.path(), 0, old);
    write(dir.path(), 3, "from the future");
    write(dir.path(), 0, old);
    let (spool, recorder) = reopen(dir.path()).await;
    let tier = Arc::new(Tier::default());
    let stopped = Drainer::new(spool, tier.clone()).drain_until_empty().await;
    assert!(stopped.unwrap_err().contains("newer"), "draining stops before a row of a newer build");
    assert_eq!(recorder.depth(), 2);
    let stored = tier.stored.lock().unwrap();
    assert_eq!((stored.len(), stored[0].request_id.as_deref()), (1, Some("r")));
}

#[tokio::test]
async fn a_file_of_a_newer_build_is_set_aside_and_later_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recorder) = open(dir.path());
    recorder.record(plain("kept")).await;
    spool.close().await;
    drop((spool, recorder));
    sqlite(dir.path()).execute_batch("PRAGMA user_version = 9").unwrap();
    let shown = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = shown.handle();
    let _shown = metrics::set_default_local_recorder(&shown);
    let (spool, recorder) = reopen(dir.path()).await;
    assert_eq!(recorder.depth(), 0);
    Drainer::new(spool.clone(), Arc::new(Tier::default())).drain_until_empty().await.unwrap();
    let text = handle.render();
    assert!(
        text.contains("eventlog_spool_blocked 1\n"),
        "what is set aside stays so while this build runs: {text}"
    );
    spool.close().await;
    drop((spool, recorder));
    let aside = dir.path().join("eventlog.sqlite.v9");
    assert!(aside.exists());
    // The build that knows it: here, the same one after the number went down.
    rusqlite::Connection::open(&aside).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    fs::rename(&aside, dir.path().join("eventlog.sqlite.v1")).unwrap();
    let (_spool, recorder) = reopen(dir.path()).await;
    assert_eq!(recorder.depth(), 1);
    assert!(!dir.path().join("eventlog.sqlite.v1").exists());
}

/// Whatever happens to the files, opening works, nothing panics, and what is set aside can be salvaged.
#[tokio::test]
async fn damaged_files_are_set_aside_and_salvaged() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("zeroed head", |bytes| bytes[..200].fill(0)),
        ("truncated", |bytes| bytes.truncate(bytes.len() / 2 + 100)),
        ("overwritten middle", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4096].fill(0xA5);
        }),
        ("not a database", |bytes| *bytes = b"hello".repeat(2000)),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let (spool, recorder) = open(dir.path());
        for n in 0..400 {
            recorder.record(plain(format!("{n} {}", "x".repeat(200)))).await;
        }
        spool.close().await;
        drop((spool, recorder));
        let file = dir.path().join("eventlog.sqlite");
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();

        let (_spool, recorder) = reopen(dir.path()).await;
        assert_eq!(recorder.record(plain("goes on")).await, Recorded::Stored, "{name}");
        let admin = SpoolAdmin::find(dir.path()).unwrap().unwrap();
        let damaged = admin.inspect().unwrap().damaged;
        assert_eq!(damaged.len(), 1, "{name}");
        if let Ok(salvaged) = admin.salvage(&damaged[0]) {
            let unique: BTreeSet<String> = spooled(dir.path()).into_iter().map(|e| e.event_uuid).collect();
            assert_eq!(unique.len() as u64, salvaged.rows + 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_file_that_breaks_while_in_use_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, recorder) = open(dir.path());
    recorder.record_durable(plain("before")).await;
    sqlite(dir.path()).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let file = fs::OpenOptions::new().write(true).open(dir.path().join("eventlog.sqlite")).unwrap();
    let length = file.metadata().unwrap().len();
    (&file).write_all(&vec![0xEE; usize::try_from(length).unwrap()]).unwrap();
    // Cached pages may hide the damage for some records; sooner or later it is met, and recording goes on after it.
    for _ in 0..200 {
        recorder.record(plain("after")).await;
        if !SpoolAdmin::find(dir.path())
            .unwrap()
            .unwrap()
            .inspect()
            .map(|i| i.damaged)
            .unwrap_or_default()
            .is_empty()
        {
            break;
        }
    }
    assert_eq!(recorder.record(plain("goes on")).await, Recorded::Stored);
}

/// SIGKILL at a random moment: every acknowledged event is there after the restart.
#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    for round in 0..12_usize {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_records_until_killed", "--exact", "--nocapture", "--ignored"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = BTreeSet::new();
        let mut take = |line: std::io::Result<String>| {
            if let Some(uuid) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.insert(uuid.to_owned());
            }
        };
        lines.by_ref().take(10 + round * round * 20).for_each(&mut take);
        child.kill().unwrap();
        lines.for_each(take);
        child.wait().unwrap();
        let (spool, recorder) = reopen(dir.path()).await;
        assert!(acknowledged.len() > 1, "the child recorded something");
        let tier = Arc::new(Tier::default());
        Drainer::new(spool, tier.clone()).drain_until_empty().await.unwrap();
        let missing: Vec<_> = acknowledged.difference(&tier.uuids()).cloned().collect();
        assert!(missing.is_empty(), "round {round}: {} of {} lost", missing.len(), acknowledged.len());
        assert_eq!(recorder.depth(), 0);
        assert_eq!(tier.uuids().len(), tier.stored.lock().unwrap().len());
    }
}

/// Not a test: the process that the one above kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by a_kill_loses_nothing_that_was_acknowledged"]
async fn child_records_until_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        eprintln!("skipped: only runs as a child of another test");
        return;
    };
    let (_spool, recorder) = open(Path::new(&directory));
    let tasks = (0..8).map(|task| {
        let recorder = recorder.clone();
        tokio::spawn(async move {
            for n in 0..100_000 {
                let event = plain(format!("{task}/{n}"));
                let uuid = recorder.stamp(&event).event_uuid;
                let stored = if n % 50 == 0 {
                    recorder.record_durable(event).await
                } else {
                    recorder.record(event).await
                };
                if stored == Recorded::Stored {
                    // One write per line, so that lines of tasks do not mix.
                    let _ = std::io::stdout().write_all(format!("\nacknowledged {uuid}\n").as_bytes());
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        let _ = task.await;
    }
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_no_absent_spool() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SpoolAdmin::find(dir.path()).unwrap().is_none());
    assert!(SpoolAdmin::find(&dir.path().join("absent")).unwrap().is_none());
    // Longer than a name may be: nobody, root neither, can look there.
    assert!(SpoolAdmin::find(&dir.path().join("x".repeat(300))).is_err());
}

/// A spool that another handle of this process may still be closing.
async fn reopen(directory: &Path) -> (Spool, Recorder) {
    loop {
        match Spool::open(options(directory)) {
            Ok(spool) => {
                let recorder = Recorder::new(spool.clone(), "node-1", "sf-test");
                recorder.set_echo(false);
                return (spool, recorder);
            }
            Err(SpoolError::Busy { .. }) => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Record(u8),
    Durable(u8),
    Drain,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any::<u8>().prop_map(Step::Record),
        1 => any::<u8>().prop_map(Step::Durable),
        2 => Just(Step::Drain),
        1 => Just(Step::Reopen),
    ]
}

#[tokio::test]
async fn an_adopted_spool_leaves_the_gauges_to_the_processs_own() {
    let (own, adopted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (directory, events) in [(&own, 1), (&adopted, 3)] {
        let (spool, recorder) = open(directory.path());
        for _ in 0..events {
            recorder.record_durable(plain("waits")).await;
        }
        spool.close().await;
    }
    let shown = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = shown.handle();
    let _shown = metrics::set_default_local_recorder(&shown);
    let _own = Spool::open(options(own.path())).unwrap();
    let other = Spool::adopt(options(adopted.path())).unwrap();
    assert_eq!(other.depth(), 3);
    Drainer::new(other, Arc::new(Tier::default())).drain_until_empty().await.unwrap();
    let text = handle.render();
    assert!(text.contains("eventlog_spool_depth 1\n"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Any interleaving of recording, draining and reopening behaves like a queue.
    #[test]
    fn the_spool_is_a_queue(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut spool, mut recorder) = open(dir.path());
            let tier = Arc::new(Tier::default());
            let mut waiting = VecDeque::new();
            let mut delivered = Vec::new();
            for step in steps {
                match step {
                    Step::Record(n) => {
                        recorder.record(plain(n.to_string())).await;
                        waiting.push_back(n.to_string());
                    }
                    Step::Durable(n) => {
                        recorder.record_durable(plain(n.to_string())).await;
                        waiting.push_back(n.to_string());
                    }
                    Step::Drain => {
                        Drainer::new(spool.clone(), tier.clone()).drain_until_empty().await.unwrap();
                        delivered.extend(waiting.drain(..));
                    }
                    Step::Reopen => {
                        drop((spool, recorder));
                        (spool, recorder) = reopen(dir.path()).await;
                    }
                }
                assert_eq!(recorder.depth(), waiting.len() as u64);
            }
            let left: Vec<String> = spooled(dir.path()).into_iter().map(|e| e.message).collect();
            assert_eq!(left, Vec::from(waiting));
            assert_eq!(tier.messages(), delivered);
        });
    }
}
