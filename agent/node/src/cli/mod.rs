//! The command line. The name of the program decides the grammar: `sf-ctl`, or `sf-node` with `sf-ctl` as a subcommand.

mod keys;
mod reference;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use sf_config::{Sources, load_node};
use sf_model::{ClusterId, DaemonName};
use sf_units::{ACCOUNTS, DIRECTORIES, GROUPS, Role, UNITS};
use strum::IntoEnumIterator;

use crate::answer::{Answer, Outcome, table};
use crate::ctl::{self, Ctl};
use crate::failure::{Exit, Failure};
use crate::{net_cleanup, probe, run, standalone, version};
pub(crate) use keys::KeyOverrides;

/// The agent of a node: runs its daemons.
#[derive(Debug, Parser)]
#[command(name = "sf-node", disable_version_flag = true, arg_required_else_help = true)]
pub(crate) struct Node {
    #[command(flatten)]
    common: Common,
    /// Print the version.
    #[arg(long, short = 'V')]
    version: bool,
    #[command(subcommand)]
    command: Option<NodeCommand>,
}

/// The operator's command line.
#[derive(Debug, Parser)]
#[command(name = "sf-ctl", version, arg_required_else_help = true)]
pub(crate) struct Control {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Ctl,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Answer with one JSON object on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Directory of `config.yaml`, `config.d` and `database.yaml`.
    #[arg(long, global = true, env = "SF_CONFIG_DIR", default_value = "/etc/sf", value_name = "DIR")]
    pub(crate) config_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Run one daemon until it is told to end.
    Run {
        /// Name of the daemon, for example `api`.
        #[arg(value_parser = daemon_name)]
        daemon: DaemonName,
        /// End when the process that started this one ends.
        #[arg(long, hide = true)]
        with_parent: bool,
        #[command(flatten)]
        keys: KeyOverrides,
    },
    /// Run a whole cloud in this process, with a private MariaDB and libvirt, below one directory.
    Standalone(standalone::Options),
    /// List the daemons of this binary.
    Daemons,
    /// Say whether this host is fit for what the JSON object on standard input wants it to be.
    Probe,
    /// Say whether hardware acceleration really works here.
    ProbeVirt {
        /// Do not use the result of an earlier probe.
        #[arg(long)]
        fresh: bool,
    },
    /// Remove every device, namespace and nftables table of ours from this node. Its daemons must not run.
    NetCleanup {
        /// Only what this cluster made.
        #[arg(long, value_name = "UUID")]
        cluster: Option<ClusterId>,
    },
    /// The operator's command line.
    #[command(name = "sf-ctl", alias = "ctl")]
    SfCtl {
        #[command(subcommand)]
        command: Ctl,
    },
    /// Print the reference page of the command line.
    #[command(hide = true)]
    CliReference,
    /// Start the private libvirt in a mount namespace of its own.
    #[command(hide = true)]
    LibvirtSpace(standalone::SpaceOptions),
}

/// A parsed command line.
pub(crate) enum Invocation {
    Node(Node),
    Control(Control),
}

/// Parses; ends the process with code 2 on a usage error.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Invocation {
    let arguments: Vec<OsString> = arguments.collect();
    let program = arguments.first().map(|name| Path::new(name).file_name().unwrap_or_default().to_owned());
    match program {
        Some(name) if name == "sf-ctl" => Invocation::Control(Control::parse_from(arguments)),
        _ => Invocation::Node(Node::parse_from(arguments)),
    }
}

impl Invocation {
    /// Whether the answer is to be JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Node(node) => node.common.json,
            Self::Control(control) => control.common.json,
        }
    }

    /// Does what was asked for.
    pub(crate) fn execute(self) -> Outcome {
        match self {
            Self::Control(control) => ctl::execute(control.command, &control.common).map(Some),
            Self::Node(node) if node.version => version::show().map(Some),
            Self::Node(node) => match node.command {
                Some(command) => execute(command, &node.common),
                None => Err(Failure::say(Exit::Internal, "no command")),
            },
        }
    }
}

fn execute(command: NodeCommand, common: &Common) -> Outcome {
    let mut sources = Sources::in_directory(&common.config_dir);
    match command {
        NodeCommand::Run { daemon, with_parent, keys } => {
            if with_parent {
                run::end_with_parent()?;
            }
            sources.command_line = keys.given;
            run::run(daemon, &sources).map(|()| None)
        }
        NodeCommand::Standalone(options) => standalone::execute(options),
        NodeCommand::LibvirtSpace(options) => standalone::enter_space(&options).map(|()| None),
        NodeCommand::Daemons => Ok(Some(list_daemons())),
        NodeCommand::CliReference => {
            let page = reference::page();
            Ok(Some(Answer::new(json!({ "page": page }), page)))
        }
        NodeCommand::Probe => probe::host().map(Some),
        NodeCommand::ProbeVirt { fresh } => {
            let config = load_node(&sources).ok().map(|loaded| loaded.config);
            probe::virt(config.as_ref(), fresh).map(Some)
        }
        NodeCommand::NetCleanup { cluster } => {
            net_cleanup::run(&load_node(&sources)?.config, cluster).map(Some)
        }
        NodeCommand::SfCtl { command } => ctl::execute(command, common).map(Some),
    }
}

/// A daemon by its name or by that of its program.
pub(crate) fn daemon_name(text: &str) -> Result<DaemonName, String> {
    let name = text.strip_prefix("sf-").unwrap_or(text);
    let known = || DaemonName::iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    name.parse().map_err(|_| format!("there is no such daemon; there are {}", known()))
}

fn list_daemons() -> Answer {
    let rows = UNITS.iter().map(|unit| {
        let roles = unit.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        vec![unit.name.to_string(), unit.user.to_owned(), roles, unit.purpose.to_owned()]
    });
    Answer::new(host_tables(), table(&["daemon", "user", "roles", "purpose"], rows))
}

/// What the role renders from: every daemon, the roles that select them, and the accounts and directories they expect.
fn host_tables() -> Value {
    let daemons = UNITS.iter().map(|unit| {
        let mut value = json!(unit);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("unit".to_owned(), unit.unit_name().into());
        }
        value
    });
    json!({
        "daemons": daemons.collect::<Vec<_>>(), "roles": Role::iter().collect::<Vec<_>>(),
        "accounts": ACCOUNTS, "groups": GROUPS, "directories": DIRECTORIES,
    })
}
