//! The configuration files of a standalone cloud. They are written anew at each start; an operator's own settings go
//! into `etc/config.d`, which is read after them.

use serde_yaml::{Mapping, Value};

use super::Options;
use super::layout::{Layout, random_text, secret_file, write_whole};
use crate::failure::Failure;

/// Distance of each port from the first one; the same as in the documented port table.
const PORTS: [(&str, u16); 14] = [
    ("api_port", 0),
    ("resources_metrics_port", 1),
    ("cluster_metrics_port", 4),
    ("mariadb_gateway_port", 5),
    ("mariadb_gateway_metrics_port", 6),
    ("api_metrics_port", 7),
    ("queues_metrics_port", 8),
    ("net_metrics_port", 9),
    ("cleaner_metrics_port", 10),
    ("transfers_metrics_port", 11),
    ("sidechannel_metrics_port", 12),
    ("node_rpc_port", 14),
    ("net_rpc_port", 15),
    ("transfers_port", 20),
];

/// Writes `config.yaml` and `database.yaml`.
pub(super) fn write(layout: &Layout, options: &Options) -> Result<(), Failure> {
    secret_file(&layout.mariadb_password(), random_text)?;
    write_whole(&layout.etc().join("config.yaml"), &node(layout, options)?, 0o644)?;
    write_whole(&layout.etc().join("database.yaml"), &database(layout)?, 0o644)
}

fn node(layout: &Layout, options: &Options) -> Result<String, Failure> {
    let root = layout.root().display();
    let libvirt = match &options.use_libvirt {
        Some(uri) => uri.clone(),
        None => format!("qemu+unix:///system?socket={}", layout.libvirt_socket().display()),
    };
    let mut keys = Mapping::new();
    let mut put = |name: &str, value: Value| keys.insert(name.into(), value);
    put("node_mesh_ip", "127.0.0.1".into());
    put("api_listen", vec![Value::from("127.0.0.1")].into());
    put("mariadb_gateway_hosts", vec![Value::from("127.0.0.1")].into());
    put("storage_path", root.to_string().into());
    put("run_path", format!("{root}/run").into());
    put("netns_dir", format!("{root}/run/netns").into());
    put("image_table", format!("{root}/etc/images.yaml").into());
    put("libvirt_uri", libvirt.into());
    put("libvirt_log_path", format!("{root}/libvirt/log/qemu").into());
    put("libvirt_user", "root".into());
    put("libvirt_group", "root".into());
    put("node_is_hypervisor", true.into());
    put("carrier_eligible", true.into());
    put("allow_emulation", true.into());
    // A machine on which one tries the system is small, and nothing else depends on it.
    put("node_ram_reservation_gb", 0.5.into());
    put("node_cpu_reservation_threads", 0.into());
    put("node_disk_reservation_gb", 2.0.into());
    put("api_drain_grace", 0.into());
    for (name, offset) in PORTS {
        put(name, options.port_base.saturating_add(offset).into());
    }
    yaml(&keys)
}

fn database(layout: &Layout) -> Result<String, Failure> {
    let mut keys = Mapping::new();
    let mut put = |name: &str, value: String| keys.insert(name.into(), value.into());
    put("mariadb_socket", super::mariadb::socket(layout).display().to_string());
    put("mariadb_user", "shakenfist".to_owned());
    put("mariadb_database", "shakenfist".to_owned());
    put("mariadb_password_file", layout.mariadb_password().display().to_string());
    yaml(&keys)
}

fn yaml(keys: &Mapping) -> Result<String, Failure> {
    let text = serde_yaml::to_string(keys).map_err(anyhow::Error::from)?;
    Ok(format!(
        "# Written at each start of `sf-node standalone`; put settings of your own into config.d.\n{text}"
    ))
}
