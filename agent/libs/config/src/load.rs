//! Stage one: command line over environment over drop-ins over file over default. Every problem is reported at once.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::builder::{Given, GivenMap};
use crate::derived::hostname;
use crate::error::{ConfigError, Problem};
use crate::rules;
use crate::spec::{KeySpec, Scope, find_key};
use crate::tables::{DatabaseConfig, NodeConfig};
use crate::yaml::Document;

const ENV_PREFIX: &str = "SHAKENFIST_";
/// Names that the clients, not the daemons, read.
const CLIENT_VARIABLES: [&str; 4] = ["API_URL", "NAMESPACE", "KEY", "ASYNC_STRATEGY"];

/// Where stage one looks.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `/etc/sf/config.yaml`.
    pub file: PathBuf,
    /// `/etc/sf/config.d`; its `*.yaml` are read in lexical order, the last wins.
    pub drop_ins: PathBuf,
    /// `/etc/sf/database.yaml`.
    pub database_file: PathBuf,
    /// The environment; only `SHAKENFIST_*` matters.
    pub environment: BTreeMap<String, String>,
    /// Keys given on the command line, in YAML spelling.
    pub command_line: BTreeMap<String, String>,
}

/// A configuration and what should be said about it.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The typed values.
    pub config: T,
    /// Sentences for the log: probable typing errors.
    pub warnings: Vec<String>,
    /// Where each given key came from; keys left out are defaults.
    pub origins: BTreeMap<String, String>,
}

impl Sources {
    /// The sources of an installed system: `/etc/sf` and the process environment.
    pub fn system() -> Self {
        Self::in_directory(Path::new("/etc/sf"))
    }

    /// As [`Sources::system`], with another directory than `/etc/sf`.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            file: directory.join("config.yaml"),
            drop_ins: directory.join("config.d"),
            database_file: directory.join("database.yaml"),
            environment: env::vars().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect(),
            command_line: BTreeMap::new(),
        }
    }
}

/// Loads the keys of this node.
///
/// # Errors
/// Every problem of every source. The process should end with [`crate::EXIT_CONFIG`].
pub fn load_node(sources: &Sources) -> Result<Loaded<NodeConfig>, ConfigError> {
    let mut files = vec![sources.file.clone()];
    let mut pass = Pass::new(Scope::Node, NodeConfig::KEYS);
    files.extend(pass.drop_ins(&sources.drop_ins));
    pass.read_all(sources, &files);
    if pass.given.is_empty() && pass.problems.is_empty() && matches!(sources.file.try_exists(), Ok(false)) {
        let file = sources.file.display().to_string();
        let missing = "there is no such file; --config-dir names the directory of another configuration";
        return Err(vec![Problem::new(file, "", missing)].into());
    }
    let preset = [("hostname", hostname())];
    pass.finish(|given| NodeConfig::build(given, &preset), rules::check_node)
}

/// Loads the keys of the database tier.
///
/// # Errors
/// As [`load_node`].
pub fn load_database(sources: &Sources) -> Result<Loaded<DatabaseConfig>, ConfigError> {
    let mut pass = Pass::new(Scope::Database, DatabaseConfig::KEYS);
    pass.read_all(sources, std::slice::from_ref(&sources.database_file));
    let mut loaded = pass.finish(|given| DatabaseConfig::build(given, &[]), rules::check_database)?;
    loaded.warnings.extend(rules::advise_database(&loaded.config));
    Ok(loaded)
}

/// The database tier's configuration, on a host whose part in the tier only its file tells. `None` where there certainly is
/// no such file.
///
/// # Errors
/// As [`load_database`]; a file that cannot be looked for is one that cannot be read.
pub fn load_database_if_present(sources: &Sources) -> Result<Option<Loaded<DatabaseConfig>>, ConfigError> {
    if matches!(sources.database_file.try_exists(), Ok(false)) {
        return Ok(None);
    }
    load_database(sources).map(Some)
}

/// Checks one file by itself (`sf-ctl config check --file`): spelling, types, ranges, scopes. Keys that other files
/// may give are not asked for. A file called `database…`, or one whose keys are those of the database tier, is checked
/// against the keys of the tier: automation checks a draft before it has its name.
///
/// # Errors
/// Every problem of the file.
pub fn check_file(path: &Path) -> Result<(), ConfigError> {
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().contains("database"));
    let database = named || holds_database_keys(path);
    let (scope, keys) =
        if database { (Scope::Database, DatabaseConfig::KEYS) } else { (Scope::Node, NodeConfig::KEYS) };
    let mut pass = Pass::new(scope, keys);
    if matches!(path.try_exists(), Ok(false)) {
        pass.problems.push(Problem::new(path.display().to_string(), "", "no such file"));
    }
    pass.read_file(path);
    let given = std::mem::take(&mut pass.given);
    for (name, value) in &given {
        let checked = keys.iter().find(|k| k.name == name).map(|spec| spec.canonical(&value.text));
        if let Some(Err(why)) = checked {
            pass.problems.push(Problem::new(&value.origin, name, why));
        }
    }
    if pass.problems.is_empty() { Ok(()) } else { Err(pass.problems.into()) }
}

/// Whether the first key of a file that is known at all belongs to the database tier.
fn holds_database_keys(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let Ok(document) = Document::parse("", &text) else { return false };
    document.keys().find_map(find_key).is_some_and(|spec| spec.scope == Scope::Database)
}

/// The work of loading one table.
struct Pass {
    scope: Scope,
    keys: &'static [KeySpec],
    given: GivenMap,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Pass {
    fn new(scope: Scope, keys: &'static [KeySpec]) -> Self {
        Self { scope, keys, given: GivenMap::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// Lowest precedence first, so that later sources overwrite.
    fn read_all(&mut self, sources: &Sources, files: &[PathBuf]) {
        for file in files {
            self.read_file(file);
        }
        self.read_environment(&sources.environment);
        self.read_command_line(&sources.command_line);
    }

    fn drop_ins(&mut self, directory: &Path) -> Vec<PathBuf> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(e) => {
                self.problems.push(Problem::new(
                    directory.display().to_string(),
                    "",
                    format!("cannot read: {e}"),
                ));
                return Vec::new();
            }
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|ext| ext == "yaml"));
        files.sort();
        files
    }

    /// A missing file has no keys: everything may come from the environment.
    fn read_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
            Err(e) => return self.problems.push(Problem::new(name, "", format!("cannot read: {e}"))),
        };
        let document = match Document::parse(&name, &text) {
            Ok(document) => document,
            Err(problem) => return self.problems.push(problem),
        };
        for key in document.keys() {
            match self.keys.iter().find(|spec| spec.name == key) {
                Some(spec) => {
                    if let Err(problem) = document.read(spec, &mut self.given) {
                        self.problems.push(problem);
                    }
                }
                None => self.problems.push(Problem::new(document.origin(key), key, misplaced(key))),
            }
        }
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, text) in environment {
            let Some(name) = variable.strip_prefix(ENV_PREFIX) else { continue };
            match find_key(name) {
                Some(spec) if spec.scope == self.scope => {
                    self.given
                        .insert(spec.name.to_owned(), Given { origin: variable.clone(), text: text.clone() });
                }
                Some(spec) if spec.scope == Scope::Cluster => {
                    self.problems.push(Problem::new(variable, spec.name, misplaced(spec.name)));
                }
                Some(_) => {}
                None if CLIENT_VARIABLES.contains(&name) => {}
                None => {
                    self.warnings.push(format!("{variable} is set in the environment but is not a known key"))
                }
            }
        }
    }

    fn read_command_line(&mut self, command_line: &BTreeMap<String, String>) {
        for (name, text) in command_line {
            let origin = format!("--{}", name.replace('_', "-"));
            match find_key(name) {
                Some(spec) if spec.scope == self.scope => {
                    self.given.insert(spec.name.to_owned(), Given { origin, text: text.clone() });
                }
                Some(spec) if spec.scope != Scope::Cluster => {}
                _ => self.problems.push(Problem::new(origin, name, misplaced(name))),
            }
        }
    }

    fn finish<T>(
        mut self,
        build: impl FnOnce(&GivenMap) -> Result<T, Vec<Problem>>,
        rules: impl FnOnce(&T) -> Vec<Problem>,
    ) -> Result<Loaded<T>, ConfigError> {
        let built = build(&self.given);
        let config = match built {
            Ok(config) => {
                self.problems.extend(rules(&config));
                config
            }
            Err(more) => {
                self.problems.extend(more);
                return Err(self.problems.into());
            }
        };
        if !self.problems.is_empty() {
            return Err(self.problems.into());
        }
        let origins = self.given.into_iter().map(|(key, given)| (key, given.origin)).collect();
        Ok(Loaded { config, warnings: self.warnings, origins })
    }
}

/// Why a key does not belong where it was found.
fn misplaced(key: &str) -> String {
    match find_key(key).map(|spec| spec.scope) {
        Some(Scope::Cluster) => {
            "is the same for the whole cluster: set it with `sf-ctl cluster-config apply`".to_owned()
        }
        Some(Scope::Database) => "belongs in database.yaml on the database tier".to_owned(),
        Some(Scope::Node) => "belongs in config.yaml".to_owned(),
        None => "is not a known key".to_owned(),
    }
}
