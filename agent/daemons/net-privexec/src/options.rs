//! What the daemon takes from the configuration.

use std::path::PathBuf;

use sf_config::NodeConfig;

/// Paths of one instance of the daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Socket it listens on.
    pub socket: PathBuf,
    /// Directory its run-time state is kept in.
    pub state_dir: PathBuf,
    /// Directory of named network namespaces.
    pub netns_dir: PathBuf,
    /// The worker keeps only the capabilities it needs. Off where the process hosts something else too.
    pub drop_capabilities: bool,
}

impl Options {
    /// The options of a node.
    pub fn from_config(config: &NodeConfig) -> Self {
        Self {
            socket: config.net_privexec_socket.clone(),
            state_dir: config.run_path.join("net-privexec"),
            netns_dir: config.netns_dir.clone(),
            drop_capabilities: true,
        }
    }
}
