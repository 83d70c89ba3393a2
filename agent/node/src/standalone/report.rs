//! `standalone.json`: what scripts need to know of a running cloud.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Map, json};
use sf_daemon::Host;

use super::Options;
use super::layout::{Layout, write_whole};
use super::{libvirt, mariadb};
use crate::failure::Failure;

/// Where the API is.
pub(super) fn api_url(host: &Host) -> String {
    format!("http://{}", api_address(host))
}

/// The first address the API listens on.
pub(super) fn api_address(host: &Host) -> SocketAddr {
    let address = host.config.api_listen.first().copied().unwrap_or(host.config.node_mesh_ip);
    SocketAddr::new(address, host.config.api_port)
}

/// Writes the file; `state` is `starting` or `ready`.
pub(super) fn write(layout: &Layout, host: &Host, options: &Options, state: &str) -> Result<(), Failure> {
    let ports: Map<_, _> =
        host.config.ports().into_iter().map(|(key, port)| (key.to_owned(), json!(port))).collect();
    let mut pids: Map<_, _> =
        libvirt::pids(layout).into_iter().map(|(name, pid)| (name.to_owned(), json!(pid))).collect();
    if let Some(pid) = mariadb::alive(layout) {
        pids.insert("mariadbd".to_owned(), json!(pid.as_raw()));
    }
    let report = json!({
        "state": state,
        "api_url": api_url(host),
        "pid": std::process::id(),
        "node": { "name": host.node.name, "uuid": host.node.uuid.to_string() },
        "port_base": options.port_base,
        "ports": ports,
        "pids": pids,
        "config_dir": layout.etc(),
        "system_key_file": layout.system_key(),
        "mariadb_socket": mariadb::socket(layout),
        "libvirt_uri": host.config.libvirt_uri,
    });
    write_whole(&layout.report(), &format!("{report:#}\n"), 0o644)
}

/// Pid of the process that wrote the file.
pub(super) fn pid(layout: &Layout) -> Option<i32> {
    let text = fs::read_to_string(layout.report()).ok()?;
    let report: serde_json::Value = serde_json::from_str(&text).ok()?;
    i32::try_from(report.get("pid")?.as_i64()?).ok()
}

/// Removes the file: nothing serves any more.
pub(super) fn remove(layout: &Layout) {
    let _ = fs::remove_file(layout.report());
}
