//! `bootstrap-cluster`: what a new cluster is made from, as the operator gives it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use sf_config::{DatabaseConfig, Sources, load_database, load_node};
use sf_daemon::Release;
use sf_model::Secret;
use sf_store::bootstrap::{AdminKey, Done, Input, KeyOutput, Outcome};

use super::key::{self, Verifier};
use super::{cluster_config, database};
use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct BootstrapOptions {
    /// YAML mapping of cluster keys to set.
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// File with the seed of token keys; made at random when left out.
    #[arg(long, value_name = "FILE")]
    auth_secret_seed_file: Option<PathBuf>,
    /// File with the first key of namespace `system`; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "admin_key_output")]
    admin_key_file: Option<PathBuf>,
    /// Make the key and write it to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "admin_key_file")]
    admin_key_output: Option<PathBuf>,
    /// Name of the key.
    #[arg(long, default_value = "bootstrap")]
    admin_key_name: String,
    /// Fail when something was done before from other input.
    #[arg(long)]
    strict: bool,
}

/// The command.
pub(crate) async fn execute(sources: &Sources, options: BootstrapOptions) -> Result<Answer, Failure> {
    let config = load_database(sources)?.config;
    let mut input = input(node_name(sources), admin_key(&options).await?);
    if let Some(file) = &options.config_file {
        input.config = cluster_config::parse(&read(file)?)?.into_iter().collect();
    }
    if let Some(file) = &options.auth_secret_seed_file {
        input.auth_secret_seed = Some(Secret::new(read(file)?.trim().to_owned()));
    }
    let done = database::bootstrap(&config, &input).await?;
    let different: Vec<&str> = done
        .iter()
        .filter(|d| d.outcome == Outcome::AlreadyDoneDifferently)
        .map(|d| d.operation.as_str())
        .collect();
    if options.strict && !different.is_empty() {
        let why = format!("done before from other input, and left as it is: {}", different.join(", "));
        return Err(Failure::say(Exit::Refused, why));
    }
    Ok(answer(&done))
}

/// Bootstrap of a standalone cloud: defaults, the keys given as `KEY=VALUE`, and a made key in `key_file`.
pub(crate) async fn standalone(
    config: &DatabaseConfig,
    key_file: &Path,
    given: &[String],
) -> Result<(), Failure> {
    let output = generated("bootstrap", key_file.to_path_buf()).await?;
    let mut input = input(sf_config::hostname(), output);
    input.config = BTreeMap::from([
        ("api_advertised_host".to_owned(), "127.0.0.1".to_owned()),
        ("blob_replication_factor".to_owned(), "1".to_owned()),
    ]);
    for pair in given {
        let (name, text) = pair
            .split_once('=')
            .ok_or_else(|| Failure::say(Exit::Config, format!("--cluster {pair}: must be KEY=VALUE")))?;
        input.config.insert(name.to_ascii_lowercase(), text.to_owned());
    }
    database::bootstrap(config, &input).await.map(|_| ())
}

fn input(fqdn: String, admin_key: AdminKey) -> Input {
    let tasks = sf_daemon_cluster::TASKS.iter().map(|task| (task.name.to_owned(), task.period_seconds));
    Input {
        fqdn,
        release: Release::own().to_string(),
        auth_secret_seed: None,
        config: BTreeMap::new(),
        admin_key,
        tasks: tasks.collect(),
    }
}

async fn admin_key(options: &BootstrapOptions) -> Result<AdminKey, Failure> {
    let name = &options.admin_key_name;
    match (&options.admin_key_file, &options.admin_key_output) {
        (_, Some(path)) => generated(name, path.clone()).await,
        (Some(file), None) => {
            let text = read(file)?;
            let key = Verifier::of(text.trim_end_matches(['\r', '\n']))?.into_key(name).await?;
            Ok(AdminKey { key, output: None })
        }
        (None, None) => Err(Failure::say(Exit::Config, "give --admin-key-file or --admin-key-output")),
    }
}

async fn generated(name: &str, path: PathBuf) -> Result<AdminKey, Failure> {
    let secret = key::generate();
    let key = Verifier::of(&secret)?.into_key(name).await?;
    Ok(AdminKey { key, output: Some(KeyOutput { path, secret: Secret::new(secret) }) })
}

/// This command may run before the node's own configuration exists.
fn node_name(sources: &Sources) -> String {
    load_node(sources).map_or_else(|_| sf_config::hostname(), |loaded| loaded.config.node_name)
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(|_| text),
        _ => fs::read_to_string(path),
    };
    Ok(read.with_context(|| format!("{} cannot be read", path.display()))?)
}

fn answer(done: &[Done]) -> Answer {
    let value = |d: &Done| json!({ "operation": d.operation, "outcome": d.outcome.to_string(), "artefact": d.artefact });
    let rows = done.iter().map(|d| vec![d.operation.clone(), d.outcome.to_string()]);
    let text = table(&["operation", "outcome"], rows);
    let created = done.iter().any(|d| d.outcome == Outcome::Created);
    Answer::new(json!({ "operations": done.iter().map(value).collect::<Vec<_>>() }), text).changed(created)
}
