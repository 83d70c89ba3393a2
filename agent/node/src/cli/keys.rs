//! Every node key as a command line option, from the one table.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use sf_config::NodeConfig;

/// Keys given on the command line, in YAML spelling.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyOverrides {
    pub(crate) given: BTreeMap<String, String>,
}

impl Args for KeyOverrides {
    fn augment_args(command: Command) -> Command {
        NodeConfig::KEYS.iter().fold(command, |command, key| {
            command.arg(
                Arg::new(key.name)
                    .long(key.name.replace('_', "-"))
                    .help(key.help.trim())
                    .help_heading("Configuration keys")
                    .hide_short_help(true)
                    .value_name("VALUE"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyOverrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut overrides = Self::default();
        overrides.update_from_arg_matches(matches)?;
        Ok(overrides)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in NodeConfig::KEYS {
            if let Some(text) = matches.get_one::<String>(key.name) {
                self.given.insert(key.name.to_owned(), text.clone());
            }
        }
        Ok(())
    }
}
