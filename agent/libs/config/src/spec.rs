//! What is known about a key besides its value.

use crate::tables::{ClusterConfig, DatabaseConfig, NodeConfig};
use crate::value::ConfigValue;

/// The home of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `/etc/sf/config.yaml`, drop-ins, environment, command line.
    Node,
    /// `/etc/sf/database.yaml`, environment, command line.
    Database,
    /// The table `cluster_config`, through the gateway.
    Cluster,
}

/// How YAML must spell a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A sequence of strings, or one string with commas.
    List,
}

/// The range of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Whatever the type accepts.
    Any,
    /// A number from the first to the second, both included.
    Range(f64, f64),
    /// At least this number.
    AtLeast(f64),
}

impl Bound {
    /// Checks a number against the bound.
    ///
    /// # Errors
    /// The accepted range as a sentence.
    pub fn check(self, number: Option<f64>) -> Result<(), String> {
        let Some(n) = number else { return Ok(()) };
        match self {
            Bound::Range(low, high) if !(low..=high).contains(&n) => {
                Err(format!("must be from {low} to {high}"))
            }
            Bound::AtLeast(low) if n < low => Err(format!("must be at least {low}")),
            _ => Ok(()),
        }
    }
}

/// How a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// A change takes effect without a restart.
    pub live: bool,
    /// Never shown, and returned only to `readers`.
    pub secret: bool,
    /// Daemons that use the value; empty means every daemon. A change concerns nobody else: neither is another daemon
    /// told a secret, nor is it restarted.
    pub readers: &'static [&'static str],
}

impl Flags {
    /// Whether a daemon uses the value.
    pub fn concerns(&self, daemon: &str) -> bool {
        self.readers.is_empty() || self.readers.contains(&daemon)
    }
}

pub(crate) const FIXED: Flags = Flags { live: false, secret: false, readers: &[] };
pub(crate) const LIVE: Flags = Flags { live: true, ..FIXED };
pub(crate) const fn only(readers: &'static [&'static str]) -> Flags {
    Flags { readers, ..FIXED }
}
pub(crate) const fn live_only(readers: &'static [&'static str]) -> Flags {
    Flags { readers, ..LIVE }
}
pub(crate) const fn secret_for(readers: &'static [&'static str]) -> Flags {
    Flags { live: true, secret: true, readers }
}

/// One row of a table of keys.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// Name in YAML, `snake_case`. Documents, environment and database write it in capitals.
    pub name: &'static str,
    /// The home of the key.
    pub scope: Scope,
    /// How YAML must spell it.
    pub kind: Kind,
    /// Default as canonical text; `{key}` stands for the value of an earlier key; empty means unset or required.
    pub default: &'static str,
    /// The range.
    pub bound: Bound,
    /// Live, secret, readers.
    pub flags: Flags,
    /// What it is, in a sentence.
    pub help: &'static str,
    pub(crate) canonical: fn(&str, Bound) -> Result<String, String>,
}

impl KeySpec {
    /// Checks `text` and returns its canonical form, as the database stores it.
    ///
    /// # Errors
    /// A sentence saying what is accepted.
    pub fn canonical(&self, text: &str) -> Result<String, String> {
        (self.canonical)(text, self.bound)
    }

    /// The name as documents, the environment and the database write it.
    pub fn upper_name(&self) -> String {
        self.name.to_ascii_uppercase()
    }
}

pub(crate) fn canonical<T: ConfigValue>(text: &str, bound: Bound) -> Result<String, String> {
    let value = T::parse(text)?;
    bound.check(value.number())?;
    Ok(value.render())
}

/// Every key of every scope.
pub fn all_keys() -> impl Iterator<Item = &'static KeySpec> {
    NodeConfig::KEYS.iter().chain(DatabaseConfig::KEYS).chain(ClusterConfig::KEYS)
}

/// The key with this name, in any scope and in either case.
pub fn find_key(name: &str) -> Option<&'static KeySpec> {
    all_keys().find(|k| k.name.eq_ignore_ascii_case(name))
}

/// The cluster key with this name, in either case.
pub fn cluster_key(name: &str) -> Option<&'static KeySpec> {
    ClusterConfig::KEYS.iter().find(|k| k.name.eq_ignore_ascii_case(name))
}
