//! `bootstrap-cluster`: what a new cluster is made from, as the operator gives it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use sf_config::{DatabaseConfig, Sources, load_database, load_node};
use sf_daemon::{Kek, KekError, Release};
use sf_model::Secret;
use sf_store::bootstrap::{AdminKey, CLUSTER_ID, Done, Input, KeyOutput, Outcome, random_seed};

use super::key::{self, Verifier};
use super::{cluster_config, database};
use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};

/// The cluster key that token keys follow from.
const SEED: &str = "auth_secret_seed";
/// Name of the key that automation uses.
const DEPLOY_KEY: &str = "deploy";

#[derive(Debug, Args)]
pub(crate) struct BootstrapOptions {
    /// JSON object with `config`, `system_key`, `system_key_output`, `auth_secret_seed` and `kek`, each optional; `-` is
    /// standard input. The key is named `deploy`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config_file", "auth_secret_seed_file", "admin_key_file", "admin_key_output"])]
    input: Option<PathBuf>,
    /// Say what would be made and make nothing.
    #[arg(long)]
    check: bool,
    /// YAML mapping of cluster keys to set.
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// File with the seed of token keys; made at random when left out.
    #[arg(long, value_name = "FILE")]
    auth_secret_seed_file: Option<PathBuf>,
    /// File with the first key of namespace `system`; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["admin_key_output", "input"])]
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
    let mut given = match &options.input {
        Some(file) => Given::parse(&read(file)?)?,
        None => Given::from_files(&options)?,
    };
    if given.system_key.is_none() && given.system_key_output.is_none() && !options.check {
        return Err(Failure::say(
            Exit::Config,
            "a first key is needed: give system_key or system_key_output",
        ));
    }
    let mut input = input(node_name(sources), given.admin_key().await?);
    input.config = given.config.into_iter().collect();
    input.auth_secret_seed = given.auth_secret_seed.take();
    if let Some(kek) = given.kek {
        encrypt_seed(&mut input, kek)?;
    }
    if options.check {
        return Ok(answer(&database::plan_bootstrap(&config, &input).await?));
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

/// Bootstrap of a standalone cloud: defaults, the keys given as `KEY=VALUE`, and a made key in `key_file`. Answers the name of
/// the cluster.
pub(crate) async fn standalone(
    config: &DatabaseConfig,
    key_file: &Path,
    given: &[String],
) -> Result<String, Failure> {
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
    let done = database::bootstrap(config, &input).await?;
    let id = done.into_iter().find(|done| done.operation == CLUSTER_ID).map(|done| done.artefact);
    id.ok_or_else(|| Failure::say(Exit::Internal, "bootstrap named no cluster"))
}

fn input(fqdn: String, admin_key: AdminKey) -> Input {
    let tasks = sf_daemon_cluster::TASKS.iter().map(|task| (task.name.to_owned(), task.period_seconds));
    Input {
        fqdn,
        release: Release::own().to_string(),
        auth_secret_seed: None,
        wrap_seed: None,
        config: BTreeMap::new(),
        admin_key,
        tasks: tasks.collect(),
    }
}

/// With a key-encryption key the database never sees the seed; one that it has seen is encrypted now.
fn encrypt_seed(input: &mut Input, kek: Kek) -> Result<(), Failure> {
    let refuse = |error: KekError| Failure::say(Exit::Config, error);
    let seed = input.auth_secret_seed.take().unwrap_or_else(|| Secret::new(random_seed()));
    input.auth_secret_seed = Some(Secret::new(kek.wrap(SEED, seed.expose()).map_err(refuse)?));
    input.wrap_seed = Some(Arc::new(move |open| kek.wrap(SEED, open).map_err(|error| error.to_string())));
    Ok(())
}

/// What an operator gives of a new cluster.
struct Given {
    config: HashMap<String, String>,
    auth_secret_seed: Option<Secret<String>>,
    kek: Option<Kek>,
    key_name: String,
    system_key: Option<Secret<String>>,
    system_key_output: Option<PathBuf>,
}

/// The same as one JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputObject {
    #[serde(default)]
    config: HashMap<String, serde_yaml::Value>,
    auth_secret_seed: Option<String>,
    kek: Option<String>,
    system_key: Option<String>,
    system_key_output: Option<PathBuf>,
}

impl Given {
    fn parse(text: &str) -> Result<Self, Failure> {
        // The parser's own message could quote a secret.
        let input: InputObject = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            Failure::say(
                Exit::Config,
                format!("the input is not the JSON object that --help describes ({place})"),
            )
        })?;
        let kek = input.kek.map(|text| Kek::parse(&text)).transpose();
        Ok(Self {
            config: cluster_config::canonical(input.config)?,
            kek: kek.map_err(|error| Failure::say(Exit::Config, error))?,
            auth_secret_seed: input.auth_secret_seed.map(Secret::new),
            key_name: DEPLOY_KEY.to_owned(),
            system_key: input.system_key.map(Secret::new),
            system_key_output: input.system_key_output,
        })
    }

    fn from_files(options: &BootstrapOptions) -> Result<Self, Failure> {
        let secret = |file: &Option<PathBuf>| -> Result<Option<Secret<String>>, Failure> {
            file.as_deref().map(|file| Ok(Secret::new(read(file)?))).transpose()
        };
        let config =
            options.config_file.as_deref().map(|file| cluster_config::parse(&read(file)?)).transpose()?;
        let seed = secret(&options.auth_secret_seed_file)?;
        Ok(Self {
            config: config.unwrap_or_default(),
            kek: None,
            auth_secret_seed: seed.map(|seed| Secret::new(seed.expose().trim().to_owned())),
            key_name: options.admin_key_name.clone(),
            system_key: secret(&options.admin_key_file)?,
            system_key_output: options.admin_key_output.clone(),
        })
    }

    async fn admin_key(&self) -> Result<AdminKey, Failure> {
        if let Some(key) = &self.system_key {
            let key =
                Verifier::of(key.expose().trim_end_matches(['\r', '\n']))?.into_key(&self.key_name).await?;
            return Ok(AdminKey { key, output: None });
        }
        // Without an output this is a check: the key is only a name.
        generated(&self.key_name, self.system_key_output.clone().unwrap_or_default()).await
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
    let created = done.iter().any(|d| matches!(d.outcome, Outcome::Created | Outcome::WouldCreate));
    Answer::new(json!({ "operations": done.iter().map(value).collect::<Vec<_>>() }), text).changed(created)
}
