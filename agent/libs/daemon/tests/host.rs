//! What the daemons of one process share, and what each has for itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sf_config::NodeConfig;
use sf_daemon::Host;
use sf_events::spool::SpoolAdmin;
use sf_events::{BatchSink, SinkError, Spool, SpoolError, SpoolOptions, event};
use sf_model::event::EventType;
use sf_model::{DaemonName, ObjectType};
use sf_protos::events as pb;
use sf_runtime::{Metrics, Shutdown};

/// A tier that remembers which daemon said what.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, String)>>);

#[tonic::async_trait]
impl BatchSink for Heard {
    async fn record_batch(&self, events: Vec<pb::Event>) -> Result<Vec<pb::EventResult>, SinkError> {
        let stored = |event: &pb::Event| pb::EventResult {
            event_uuid: event.event_uuid.clone(),
            outcome: pb::Outcome::Stored.into(),
            ..pb::EventResult::default()
        };
        let results = events.iter().map(stored).collect();
        self.0.lock().extend(events.into_iter().map(|event| (event.daemon, event.message)));
        Ok(results)
    }
}

#[tokio::test]
async fn each_daemon_of_a_process_has_a_spool_of_its_own() {
    const DAEMONS: [DaemonName; 2] = [DaemonName::Api, DaemonName::Queues];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let config = NodeConfig::from_pairs(&[
        ("node_name", "n1"),
        ("node_mesh_ip", "127.0.0.1"),
        ("mariadb_gateway_hosts", "127.0.0.1"),
        ("storage_path", path),
        ("run_path", path),
    ]);
    let config = Arc::new(config.unwrap());
    let metrics = Metrics::install().unwrap();
    let shutdown = Shutdown::new(Duration::from_secs(5));
    let host = Host::new(config.clone(), "standalone", shutdown, metrics.clone(), &DAEMONS).unwrap();
    for (daemon, message) in DAEMONS.into_iter().zip(["asked", "done"]) {
        let entry = event(EventType::Audit, message).object(ObjectType::Instance, "i");
        host.recorder(daemon).unwrap().record_durable(entry).await;
        // A daemon that is started again goes on with the same file.
        host.recorder(daemon).unwrap();
        let name = daemon.to_string();
        let rows = SpoolAdmin::find(&config.spool_path.join(&name)).unwrap().unwrap().inspect().unwrap().rows;
        assert_eq!(rows, 1, "{name}");
        let second = Spool::open(SpoolOptions::for_daemon(&config, &name));
        assert!(matches!(second, Err(SpoolError::Busy { .. })), "{name}");
    }
    assert!(metrics.render().contains("eventlog_spool_depth 2\n"), "{}", metrics.render());

    let heard: [Arc<Heard>; 2] = Default::default();
    for (daemon, heard) in DAEMONS.into_iter().zip(&heard) {
        host.start_drainer(daemon, heard.clone()).unwrap();
    }
    host.finish().await;
    let said = heard.map(|heard| heard.0.lock().clone());
    let one = |daemon: &str, message: &str| vec![(daemon.to_owned(), message.to_owned())];
    assert_eq!(said, [one("sf-api", "asked"), one("sf-queues", "done")]);
    for daemon in DAEMONS {
        Spool::open(SpoolOptions::for_daemon(&config, &daemon.to_string())).unwrap();
    }
}
