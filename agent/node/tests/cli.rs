//! The contract of the command line: exit codes, one JSON object on standard output, everything wrong said at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sf_events::{Recorder, Spool, SpoolOptions, event};
use sf_model::ObjectType;
use sf_model::event::EventType;

fn node(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sf-node"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()
}

fn ctl(directory: &Path, arguments: &[&str]) -> Output {
    let directory = directory.to_str().unwrap();
    node(&[&["sf-ctl", "--json", "--config-dir", directory], arguments].concat())
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{e}: {} / {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// A directory with a configuration whose gateway does not exist.
fn configured() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "node_mesh_ip: \"127.0.0.1\"\nmariadb_gateway_hosts: [\"127.0.0.1:1\"]\nstorage_path: \"{}\"\n",
        dir.path().display()
    );
    fs::write(dir.path().join("config.yaml"), text).unwrap();
    dir
}

#[test]
fn the_binary_answers_under_both_names() {
    let version = object(&node(&["--version", "--json"]));
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["changed"], false);
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("sf-ctl");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sf-node"), &link).unwrap();
    let help = Command::new(link).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("ensure-mariadb-schema"));
}

#[test]
fn every_daemon_is_listed() {
    let listed = object(&node(&["daemons", "--json"]));
    let names: Vec<&str> =
        listed["daemons"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    for name in [
        "api",
        "cleaner",
        "cluster",
        "database",
        "net",
        "net-privexec",
        "privexec",
        "queues",
        "resources",
        "transfers",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

#[test]
fn a_usage_error_is_2_and_a_wrong_configuration_78_with_all_that_is_wrong() {
    assert_eq!(node(&["run", "nonsense"]).status.code(), Some(2));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.yaml"), "zone: \"x\"\napi_port: \"1\"\n").unwrap();
    let refused = ctl(dir.path(), &["config", "check"]);
    assert_eq!(refused.status.code(), Some(78));
    let said = object(&refused);
    let error = said["error"].as_str().unwrap();
    assert_eq!(said["exit"], 78);
    for part in [
        "zone: is the same for the whole cluster",
        "api_port: must be written as a whole number",
        "node_mesh_ip: is required",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let directory = dir.path().to_str().unwrap();
    assert_eq!(node(&["run", "cluster", "--config-dir", directory]).status.code(), Some(78));
}

#[test]
fn a_valid_configuration_is_shown_with_its_origins() {
    let dir = configured();
    assert_eq!(object(&ctl(dir.path(), &["config", "check"]))["valid"], true);
    let shown = object(&ctl(dir.path(), &["config", "show"]));
    assert_eq!(shown["config"]["api_port"]["value"], "13000");
    assert_eq!(shown["config"]["api_port"]["origin"], "default");
    assert!(shown["config"]["storage_path"]["origin"].as_str().unwrap().ends_with("config.yaml:3"));
}

#[test]
fn a_table_of_images_is_checked_before_daemons_read_it() {
    let dir = configured();
    let table = dir.path().join("images.yaml");
    let path = table.to_str().unwrap();
    let checked = || ctl(dir.path(), &["config", "check", "--images", path]).status.code();
    assert_eq!(checked(), Some(78), "it is not there");
    fs::write(&table, "images: [{match: debian, url: 'https://images.example.net/{name}.qcow2'}]\n").unwrap();
    assert_eq!(checked(), Some(0));
    fs::write(&table, "image: []\n").unwrap();
    assert_eq!(checked(), Some(78));
    // With everything else that daemons read, it is checked as well.
    let config = dir.path().join("config.yaml");
    let named = format!("{}image_table: \"{path}\"\n", fs::read_to_string(&config).unwrap());
    fs::write(config, named).unwrap();
    let refused = ctl(dir.path(), &["config", "check"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(object(&refused)["error"].as_str().unwrap().contains(path));
}

#[test]
fn daemons_are_taken_off_a_host_without_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let retired = ctl(dir.path(), &["local", "retire", "--keep", "", "--check"]);
    assert_eq!(retired.status.code(), Some(0), "{retired:?}");
    fs::write(dir.path().join("config.yaml"), "zone: \"x\"\n").unwrap();
    let unreadable = ctl(dir.path(), &["local", "retire", "--keep", "", "--check"]);
    assert_eq!(unreadable.status.code(), Some(78), "a wrong configuration may still name spools");
}

#[test]
fn an_absent_tier_is_4() {
    let dir = configured();
    let health = ctl(dir.path(), &["gateway-health", "--timeout", "1"]);
    assert_eq!(health.status.code(), Some(4), "{health:?}");
    fs::write(dir.path().join("database.yaml"), "mariadb_socket: \"/nowhere/s\"\n").unwrap();
    assert_eq!(ctl(dir.path(), &["check-mariadb"]).status.code(), Some(4));
    fs::write(dir.path().join("database.yaml"), "").unwrap();
    assert_eq!(ctl(dir.path(), &["check-mariadb"]).status.code(), Some(78));
}

#[tokio::test]
async fn a_spool_that_only_an_operator_can_empty_is_left_without_a_change() {
    let dir = configured();
    let directory = dir.path().join("spool/cluster");
    let options = SpoolOptions {
        directory: directory.clone(),
        max_rows: 10,
        max_bytes: 100_000,
        sync_interval: std::time::Duration::from_millis(50),
    };
    Spool::open(options).unwrap().close().await;
    let retire = || object(&ctl(dir.path(), &["local", "retire", "--keep", "", "--check"]));
    assert_eq!(retire()["changed"], true, "an empty spool is removed");
    fs::write(directory.join("eventlog.sqlite.damaged-1700000000"), "").unwrap();
    let left = retire();
    assert_eq!((&left["changed"], &left["retired"][0]["spool"]), (&false.into(), &"left".into()));
}

#[tokio::test]
async fn a_spool_is_read_beside_its_daemon_and_not_drained() {
    let dir = configured();
    let directory = dir.path().join("spool/cluster");
    let options = SpoolOptions {
        directory,
        max_rows: 10,
        max_bytes: 100_000,
        sync_interval: std::time::Duration::from_millis(50),
    };
    let spool = Spool::open(options).unwrap();
    let recorder = Recorder::new(spool.clone(), "n", "sf-cluster");
    recorder.record_durable(event(EventType::Audit, "kept").object(ObjectType::Node, "n-1")).await;
    let status = object(&ctl(dir.path(), &["spool", "status"]));
    assert_eq!(
        (&status["spools"][0]["rows"], &status["spools"][0]["daemon"]),
        (&1.into(), &"cluster".into())
    );
    let listed = object(&ctl(dir.path(), &["spool", "list", "cluster"]));
    assert_eq!(listed["events"][0]["message"], "kept");
    assert_eq!(ctl(dir.path(), &["spool", "drain", "cluster"]).status.code(), Some(75));
    spool.close().await;
    drop((recorder, spool));
    assert_eq!(ctl(dir.path(), &["spool", "drain", "cluster"]).status.code(), Some(4));
    let retire = object(&ctl(dir.path(), &["local", "retire", "--keep", "", "--check"]));
    assert_eq!(retire["changed"], true, "an event is to be delivered");
    assert_eq!(ctl(dir.path(), &["spool", "show", "cluster", "99"]).status.code(), Some(3));
    assert_eq!(ctl(dir.path(), &["spool", "list", "nobody"]).status.code(), Some(3));
}
