//! `sf-ctl`: one file per group of commands. Every command answers with an [`Answer`] and has a JSON form.

pub(crate) mod bootstrap;
mod cluster;
mod cluster_config;
mod config;
pub(crate) mod database;
mod gateway;
mod invariants;
mod key;
mod local;
mod locks;
mod net;
mod node;
mod schema;
mod spool;
mod system_key;

use std::time::Duration;

use clap::Subcommand;
use sf_config::{NodeConfig, Sources, load_node};

use crate::answer::Answer;
use crate::cli::Common;
use crate::failure::Failure;
use crate::run;
pub(crate) use gateway::{client, until_serving};

/// A command of the operator.
#[derive(Debug, Subcommand)]
pub(crate) enum Ctl {
    /// Check or show the configuration of this node.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Say whether the configured MariaDB can be used.
    CheckMariadb,
    /// Bring the schema to the version of this binary.
    EnsureMariadbSchema(schema::EnsureOptions),
    /// Make the first secrets, namespace and defaults.
    BootstrapCluster(Box<bootstrap::BootstrapOptions>),
    /// Ask a gateway of the database tier whether it serves.
    GatewayHealth {
        /// Gateway to ask, with an optional port; the configured ones by default.
        #[arg(long)]
        host: Option<String>,
        /// Seconds to wait until it serves.
        #[arg(long, default_value_t = 5)]
        timeout: u64,
    },
    /// Register, inspect and change nodes.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// The network of this node.
    #[command(subcommand)]
    Net(net::NetCommand),
    /// The daemons of this host.
    #[command(subcommand)]
    Local(local::LocalCommand),
    /// Look into the event spools of this node.
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// Keys of the namespace `system`.
    #[command(subcommand)]
    SystemKey(system_key::SystemKeyCommand),
    /// What the cluster says of itself.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Keys that are the same for the whole cluster.
    #[command(subcommand)]
    ClusterConfig(cluster_config::ClusterConfigCommand),
    /// List the cluster locks.
    ListLocks,
    /// Show what waits in the work queues.
    QueueStatus,
    /// Look for contradictions between the tables of the database; fails when there are any.
    CheckDatabase,
}

/// Does what was asked for.
pub(crate) fn execute(command: Ctl, common: &Common) -> Result<Answer, Failure> {
    // A second initialisation in tests is harmless.
    let _ = sf_runtime::log::start_plain(common.verbose);
    let sources = Sources::in_directory(&common.config_dir);
    let node = || -> Result<NodeConfig, Failure> { Ok(load_node(&sources)?.config) };
    match command {
        Ctl::Config(command) => config::execute(command, &sources),
        Ctl::Spool(command) => spool::execute(command, &node()?),
        Ctl::Net(command) => net::execute(command, &node()?),
        other => run::runtime()?.block_on(async {
            match other {
                Ctl::CheckMariadb => schema::check(&sources).await,
                Ctl::EnsureMariadbSchema(options) => schema::ensure(&sources, options).await,
                Ctl::BootstrapCluster(options) => bootstrap::execute(&sources, *options).await,
                Ctl::GatewayHealth { host, timeout } => {
                    gateway::health(host, Duration::from_secs(timeout), &node).await
                }
                Ctl::Local(command) => local::execute(command, &sources).await,
                Ctl::Node(command) => node::execute(command, &node()?).await,
                Ctl::SystemKey(command) => system_key::execute(command, &node()?).await,
                Ctl::Cluster(command) => cluster::execute(command, &node()?).await,
                Ctl::ClusterConfig(command) => cluster_config::execute(command, &node()?).await,
                Ctl::ListLocks => locks::list(&node()?).await,
                Ctl::QueueStatus => locks::queues(&node()?).await,
                Ctl::CheckDatabase => invariants::check(&node()?).await,
                Ctl::Config(_) | Ctl::Net(_) | Ctl::Spool(_) => Err(anyhow::anyhow!("handled above").into()),
            }
        }),
    }
}
