//! What the helper is told at start. Nothing of it can be changed by a request.

use std::path::PathBuf;

use sf_config::NodeConfig;

/// Where things are, and how much of them is handed out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The socket to serve.
    pub socket: PathBuf,
    /// The storage root; created when missing.
    pub storage_path: PathBuf,
    /// libvirt's directory of QEMU logs.
    pub libvirt_log_path: PathBuf,
    /// Directories in which libvirt keeps pid files, the first that has one is used.
    pub libvirt_pid_paths: Vec<PathBuf>,
    /// The image tool.
    pub qemu_img: PathBuf,
    /// User the image tool runs as, the first that exists.
    pub image_users: Vec<String>,
}

impl Settings {
    /// Settings from the node's configuration.
    pub fn from_config(config: &NodeConfig) -> Self {
        Self {
            socket: config.privexec_socket.clone(),
            storage_path: config.storage_path.clone(),
            libvirt_log_path: config.libvirt_log_path.clone(),
            libvirt_pid_paths: vec!["/run/libvirt/qemu".into(), config.run_path.join("libvirt/qemu")],
            qemu_img: "/usr/bin/qemu-img".into(),
            image_users: vec!["sf-image".into(), "nobody".into()],
        }
    }
}
