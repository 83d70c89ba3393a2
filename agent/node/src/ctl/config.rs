//! `config check` and `config show`: the configuration of this node, without any other machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use sf_config::{Shown, Sources, check_file, fingerprint, load_database_if_present, load_node, show};
use sf_images::ImageTable;
use sf_model::DaemonName;

use crate::answer::{Answer, table};
use crate::cli::daemon_name;
use crate::failure::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read everything a daemon would read and say all that is wrong.
    Check {
        /// Check this one file by itself.
        #[arg(long, conflicts_with = "images")]
        file: Option<PathBuf>,
        /// Check this table of images by itself.
        #[arg(long, value_name = "FILE")]
        images: Option<PathBuf>,
    },
    /// Print every key with its value and where it comes from.
    Show {
        /// Print secrets in clear.
        #[arg(long)]
        show_secrets: bool,
        /// Only the keys that this daemon uses, and the digest by which a running daemon is compared.
        #[arg(long, value_name = "DAEMON", value_parser = daemon_name)]
        effective: Option<DaemonName>,
    },
}

pub(crate) fn execute(command: ConfigCommand, sources: &Sources) -> Result<Answer, Failure> {
    match command {
        ConfigCommand::Check { file: Some(file), .. } => {
            check_file(&file)?;
            Ok(fine(Vec::new()))
        }
        ConfigCommand::Check { images: Some(images), .. } => {
            let missing = || Failure::say(Exit::Config, format!("there is no {}", images.display()));
            let present =
                images.try_exists().with_context(|| format!("{} cannot be read", images.display()))?;
            present.then_some(()).ok_or_else(missing)?;
            check_images(&images)?;
            Ok(fine(Vec::new()))
        }
        ConfigCommand::Check { file: None, images: None } => {
            let node = load_node(sources)?;
            check_images(&node.config.image_table)?;
            let mut warnings = node.warnings;
            warnings
                .extend(load_database_if_present(sources)?.into_iter().flat_map(|loaded| loaded.warnings));
            Ok(fine(warnings))
        }
        ConfigCommand::Show { show_secrets, effective } => {
            let node = load_node(sources)?;
            let mut shown = show(&node.config, show_secrets);
            let mut origins = node.origins;
            // One daemon alone reads the second file.
            let tier = effective.is_none_or(|daemon| daemon == DaemonName::Database);
            let database = if tier { load_database_if_present(sources)? } else { None };
            if let Some(database) = &database {
                shown.extend(show(&database.config, show_secrets));
                origins.extend(database.origins.clone());
            }
            let mut fields = Map::new();
            if let Some(daemon) = effective {
                let name = daemon.to_string();
                shown.retain(|key| key.spec.flags.concerns(&name));
                let print = fingerprint(daemon, &node.config, database.as_ref().map(|d| &d.config));
                fields.insert("hash".to_owned(), print.fixed.into());
                fields.insert("live_hash".to_owned(), print.live.into());
            }
            let origin =
                |key: &Shown| origins.get(key.spec.name).cloned().unwrap_or_else(|| "default".to_owned());
            let values: Map<String, Value> = shown
                .iter()
                .map(|key| (key.spec.name.to_owned(), json!({ "value": key.text, "origin": origin(key) })))
                .collect();
            let rows = shown.iter().map(|key| vec![key.spec.name.to_owned(), key.text.clone(), origin(key)]);
            fields.insert("config".to_owned(), values.into());
            Ok(Answer::new(fields.into(), table(&["key", "value", "from"], rows)))
        }
    }
}

/// A table that is not there is as good as a valid one: then the built-in names hold, for which no mirror is needed here.
fn check_images(path: &Path) -> Result<(), Failure> {
    ImageTable::load(path, "").map(drop).map_err(|error| Failure::new(Exit::Config, error))
}

fn fine(mut warnings: Vec<String>) -> Answer {
    warnings.sort();
    warnings.dedup();
    let mut text = warnings.iter().map(|w| format!("warning: {w}\n")).collect::<String>();
    text.push_str("the configuration is valid");
    Answer::new(json!({ "valid": true, "warnings": warnings }), text)
}
