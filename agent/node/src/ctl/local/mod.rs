//! The daemons of this host: what they are, bringing them to what they should be, and taking off what left the set.

mod converge;
mod gates;
mod retire;
mod slots;
mod status;
mod view;

use clap::Subcommand;
use sf_config::{Sources, load_database_if_present, load_node};
use sf_rollout::observe::Configuration;

use crate::answer::Answer;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Show the daemons of this host and what converging would do.
    Status(status::StatusOptions),
    /// Bring daemons to the wanted release, configuration and unit, one after another.
    Converge(converge::ConvergeOptions),
    /// Take off daemons that no longer belong to this host, and deliver their events.
    Retire(retire::RetireOptions),
}

pub(crate) async fn execute(command: LocalCommand, sources: &Sources) -> Result<Answer, Failure> {
    match command {
        LocalCommand::Status(options) => status::execute(options, sources).await,
        LocalCommand::Converge(options) => converge::execute(options, sources).await,
        LocalCommand::Retire(options) => retire::execute(options, sources).await,
    }
}

fn configuration(sources: &Sources) -> Result<Configuration, Failure> {
    let node = load_node(sources)?.config;
    let database = load_database_if_present(sources)?.map(|loaded| loaded.config);
    Ok(Configuration { node, database })
}
