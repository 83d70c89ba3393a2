//! Stage one against real files: precedence, homes of keys, and that everything wrong is reported at once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::fs;
use std::path::Path;

use sf_config::{
    ClusterConfig, DatabaseConfig, NodeConfig, Sources, all_keys, check_file, load_database, load_node,
};

fn sources(directory: &Path) -> Sources {
    let mut sources = Sources::in_directory(directory);
    sources.environment.clear();
    sources
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const BASE: &str = "node_mesh_ip: \"10.0.0.1\"\nmariadb_gateway_hosts: [\"10.0.0.1\"]\n";

#[test]
fn the_nearest_source_wins() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "config.yaml",
        &format!("{BASE}api_port: 1001\nnet_rpc_port: 1002\nnode_rpc_port: 1003\ntransfers_port: 1004\n"),
    );
    write(
        dir.path(),
        "config.d/10-a.yaml",
        "net_rpc_port: 2001\nnode_rpc_port: 2002\ntransfers_port: 2003\n",
    );
    write(dir.path(), "config.d/20-b.yaml", "node_rpc_port: 3001\n");
    let mut sources = sources(dir.path());
    sources.environment.insert("SHAKENFIST_TRANSFERS_PORT".into(), "4001".into());
    sources.environment.insert("SHAKENFIST_API_METRICS_PORT".into(), "4002".into());
    sources.command_line.insert("api_metrics_port".into(), "5001".into());
    let loaded = load_node(&sources).unwrap();
    let config = loaded.config;
    assert_eq!((config.api_port, config.net_rpc_port, config.node_rpc_port), (1001, 2001, 3001));
    assert_eq!((config.transfers_port, config.api_metrics_port), (4001, 5001));
    assert_eq!(config.spool_path, Path::new("/srv/shakenfist/spool"));
    assert_eq!(config.metrics_bind, config.node_mesh_ip);
    assert!(loaded.origins["net_rpc_port"].ends_with("10-a.yaml:1"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "config.yaml",
        "storage_path: srv\napi_port: \"1\"\nfloating_network: \"10.0.0.0/8\"\nmariadb_host: \"db\"\nnonsense: 1\nlibvirt_threads: 0\n",
    );
    let mut sources = sources(dir.path());
    sources.environment.insert("SHAKENFIST_ZONE".into(), "z".into());
    let problems = load_node(&sources).unwrap_err().problems;
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "config.yaml:1: storage_path: must be an absolute path",
        "config.yaml:2: api_port: must be written as a whole number",
        "config.yaml:3: floating_network: is the same for the whole cluster",
        "config.yaml:4: mariadb_host: belongs in database.yaml",
        "config.yaml:5: nonsense: is not a known key",
        "config.yaml:6: libvirt_threads: must be from 1 to 64",
        "SHAKENFIST_ZONE: zone: is the same for the whole cluster",
        "node_mesh_ip: is required",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in\n{text}");
    }
}

#[test]
fn a_misspelt_variable_warns_and_a_client_variable_does_not() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", BASE);
    let mut sources = sources(dir.path());
    sources.environment.insert("SHAKENFIST_STORAGE_PTH".into(), "/x".into());
    sources.environment.insert("SHAKENFIST_API_URL".into(), "http://x".into());
    let warnings = load_node(&sources).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("SHAKENFIST_STORAGE_PTH"));
}

#[test]
fn the_database_file_needs_a_host_or_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    assert!(load_database(&sources(dir.path())).is_err());
    write(
        dir.path(),
        "database.yaml",
        "mariadb_socket: \"/run/m.sock\"\nmariadb_password_file: \"/nowhere\"\n",
    );
    let config: DatabaseConfig = load_database(&sources(dir.path())).unwrap().config;
    assert_eq!(config.mariadb_port, 3306);
    assert!(config.password().is_err(), "a configured password file that is missing is refused");
    write(dir.path(), "database.yaml", "storage_path: \"/srv\"\nmariadb_socket: \"/run/m.sock\"\n");
    assert!(load_database(&sources(dir.path())).unwrap_err().to_string().contains("belongs in config.yaml"));
}

#[test]
fn one_file_is_checked_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "90-extra.yaml", "libvirt_threads: 4\n");
    check_file(&dir.path().join("90-extra.yaml")).unwrap();
    write(dir.path(), "bad.yaml", "libvirt_threads: 400\n");
    assert!(
        check_file(&dir.path().join("bad.yaml"))
            .unwrap_err()
            .to_string()
            .contains("bad.yaml:1: libvirt_threads")
    );
}

#[test]
fn ports_may_not_collide() {
    let error = NodeConfig::from_pairs(&[
        ("node_mesh_ip", "10.0.0.1"),
        ("mariadb_gateway_hosts", "a"),
        ("api_port", "13005"),
    ]);
    assert!(error.unwrap_err().to_string().contains("13005"));
}

/// The declared tables are sound: defaults parse, canonical text is stable, names are unique over all scopes, every key is explained.
#[test]
fn the_tables_are_sound() {
    let mut names: Vec<&str> = Vec::new();
    for spec in all_keys() {
        assert!(!names.contains(&spec.name), "{} is declared twice", spec.name);
        names.push(spec.name);
        assert!(spec.help.trim().ends_with('.'), "{} has no help", spec.name);
        assert!(!spec.name.starts_with("eventlog_"));
        if !spec.default.is_empty() && !spec.default.contains('{') {
            let canonical = spec.canonical(spec.default).unwrap_or_else(|why| panic!("{}: {why}", spec.name));
            assert_eq!(spec.canonical(&canonical).as_deref(), Ok(canonical.as_str()), "{}", spec.name);
        }
    }
    ClusterConfig::from_texts([]).unwrap();
    assert!(sf_config::find_key("STORAGE_PATH").is_some());
}

#[test]
fn a_configuration_that_is_not_there_is_said_first() {
    let dir = tempfile::tempdir().unwrap();
    let error = load_node(&sources(dir.path())).unwrap_err().to_string();
    assert!(error.contains("config.yaml") && error.contains("--config-dir"), "{error}");
    assert!(!error.contains("node_mesh_ip"), "{error}");
}
