//! The daemon against a real tier: what a check-in leaves there, and how a broken storage path is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::stat::Mode;
use sf_daemon::{DaemonContext, Release};
use sf_daemon_database::testing::{LocalTier, until};
use sf_daemon_resources::ResourcesError;
use sf_gateway::{CallClass, Gateway};
use sf_model::DaemonName;
use sf_protos::nodes::{
    ClearNodeErrorRequest, GetNodeMetricsRequest, GetNodeRequest, Node, RegisterNodeRequest,
};
use sf_store::testing::TestDatabase;
use sf_units::HEARTBEAT;
use tokio::task::JoinHandle;

async fn node(gateway: &Gateway, reference: &str) -> Node {
    let request = GetNodeRequest { reference: reference.to_owned() };
    gateway.call(CallClass::Interactive, request).await.unwrap().node.unwrap()
}

async fn is_in(gateway: &Gateway, reference: &str, state: &str) -> bool {
    node(gateway, reference).await.state.is_some_and(|info| info.state == state)
}

/// A directory as it is prepared for a daemon.
fn make_store(path: &Path) {
    std::fs::create_dir(path).unwrap();
    std::fs::write(path.join(HEARTBEAT), "").unwrap();
}

/// The daemon of a node that the cluster knows.
async fn start(context: &DaemonContext) -> JoinHandle<Result<(), ResourcesError>> {
    let registration = RegisterNodeRequest {
        node_uuid: context.node.uuid.to_string(),
        name: context.node.name.clone(),
        mesh_ip: "127.0.0.1".to_owned(),
        egress_ip: "127.0.0.1".to_owned(),
        release: "0.0".to_owned(),
        daemons: vec!["resources".to_owned()],
        ..RegisterNodeRequest::default()
    };
    context.gateway.call(CallClass::Interactive, registration).await.unwrap();
    tokio::spawn(sf_daemon_resources::run(context.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_checks_in_and_a_broken_path_is_told_until_the_cluster_knows() {
    let Some(database) = TestDatabase::start().await else { return };
    let tier = LocalTier::start(&database).await;
    let directory = tempfile::tempdir().unwrap();
    for folder in ["blobs", "uploads"] {
        make_store(&directory.path().join(folder));
    }
    let soon = [("node_health_check_interval", "5")];
    let context = tier.context(DaemonName::Resources, directory.path(), &soon);
    let (gateway, name) = (&context.gateway, context.node.name.as_str());
    let running = start(&context).await;

    let ctl = tier.client("ctl", context.node.uuid);
    let measured = || GetNodeMetricsRequest { reference: name.to_owned() };
    until("the node publishes its figures", async || {
        ctl.call(CallClass::Interactive, measured()).await.unwrap().metrics.is_some()
    })
    .await;
    let figures = ctl.call(CallClass::Interactive, measured()).await.unwrap().metrics.unwrap();
    assert!(figures.memory_max_mb > 0 && figures.extra_json.contains("disk_free_blobs"), "{figures:?}");
    let seen = node(gateway, name).await;
    assert_eq!(seen.release, Release::own().to_string());
    assert!(seen.storage_health.iter().all(|path| path.healthy), "{:?}", seen.storage_health);

    std::fs::remove_dir_all(directory.path().join("uploads")).unwrap();
    until("the node is in error", async || is_in(gateway, name, "error").await).await;
    // An operator takes the node back although nothing was repaired.
    let clear = ClearNodeErrorRequest { context: Some(ctl.mutation()), reference: name.to_owned() };
    ctl.call(CallClass::Interactive, clear).await.unwrap();
    until("the node is in error again", async || is_in(gateway, name, "error").await).await;

    context.shutdown.request();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_hangs_does_not_keep_another_from_being_told() {
    let Some(database) = TestDatabase::start().await else { return };
    let tier = LocalTier::start(&database).await;
    let directory = tempfile::tempdir().unwrap();
    // Whoever opens a pipe for writing waits for a reader.
    let hanging = directory.path().join("blobs").join(HEARTBEAT);
    std::fs::create_dir(directory.path().join("blobs")).unwrap();
    nix::unistd::mkfifo(&hanging, Mode::S_IRWXU).unwrap();
    let patient = [("node_health_probe_timeout", "3600")];
    let context = tier.context(DaemonName::Resources, directory.path(), &patient);
    let (gateway, name) = (&context.gateway, context.node.name.as_str());
    let running = start(&context).await;

    until("the path that is missing is told", async || is_in(gateway, name, "error").await).await;
    let told = node(gateway, name).await.storage_health;
    let broken = |folder: &str| told.iter().any(|path| !path.healthy && path.path.ends_with(folder));
    assert!(broken("/uploads") && !broken("/blobs"), "{told:?}");

    let _reader = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&hanging).unwrap();
    context.shutdown.request();
    running.await.unwrap().unwrap();
}
