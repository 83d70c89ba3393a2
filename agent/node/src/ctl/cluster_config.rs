//! Cluster keys, through the gateway.

use std::collections::HashMap;
use std::io::Read;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use sf_config::{NodeConfig, cluster_key};
use sf_gateway::CallClass;
use sf_protos::config::{GetClusterConfigRequest, SetClusterConfigRequest};

use super::gateway;
use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterConfigCommand {
    /// Print the cluster keys; secrets stay hidden.
    Get {
        /// One key; all when left out.
        key: Option<String>,
    },
    /// Set the keys of a YAML or JSON mapping read from standard input, in one transaction.
    Apply {
        /// Say what would change and change nothing.
        #[arg(long)]
        check: bool,
        /// Return keys that the mapping does not name to their defaults, but for what bootstrap made.
        #[arg(long)]
        purge: bool,
    },
}

pub(crate) async fn execute(command: ClusterConfigCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    match command {
        ClusterConfigCommand::Get { key } => get(config, key).await,
        ClusterConfigCommand::Apply { check, purge } => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
            apply(config, parse(&text)?, check, purge).await
        }
    }
}

async fn get(config: &NodeConfig, key: Option<String>) -> Result<Answer, Failure> {
    let request = GetClusterConfigRequest { daemon: "ctl".to_owned() };
    let reply = gateway::client(config)?.call(CallClass::Background, request).await?;
    let wanted = |name: &str| key.as_ref().is_none_or(|key| key.eq_ignore_ascii_case(name));
    let mut values = Map::new();
    let mut rows = Vec::new();
    for entry in reply.entries.into_iter().filter(|entry| wanted(&entry.key)) {
        let text = if entry.secret { "<redacted>".to_owned() } else { entry.value };
        let name = entry.key.to_ascii_lowercase();
        values.insert(
            name.clone(),
            json!({ "value": text, "version": entry.version, "updated_by": entry.updated_by }),
        );
        rows.push(vec![name, text, entry.updated_by]);
    }
    if let (Some(key), true) = (&key, rows.is_empty()) {
        let spec = cluster_key(key).ok_or_else(|| refuse(format!("{key} is not a cluster key")))?;
        rows.push(vec![spec.name.to_owned(), spec.default.to_owned(), "default".to_owned()]);
        values.insert(
            spec.name.to_owned(),
            json!({ "value": spec.default, "version": 0, "updated_by": "default" }),
        );
    }
    Ok(Answer::new(json!({ "config": values }), table(&["key", "value", "set by"], rows)))
}

async fn apply(
    config: &NodeConfig,
    values: HashMap<String, String>,
    check: bool,
    purge: bool,
) -> Result<Answer, Failure> {
    let gateway = gateway::client(config)?;
    let before =
        gateway.call(CallClass::Background, GetClusterConfigRequest { daemon: "ctl".to_owned() }).await?;
    let request = SetClusterConfigRequest { context: None, values: values.clone(), check_only: check, purge };
    let reply = gateway.call(CallClass::Background, request).await?;
    let before: HashMap<String, String> = before.entries.into_iter().map(|e| (e.key, e.value)).collect();
    let changed = !reply.changed.is_empty();
    let text = match (changed, check) {
        (false, _) => "nothing to change".to_owned(),
        (true, true) => format!("would change: {}", reply.changed.join(", ")),
        (true, false) => format!("changed: {}", reply.changed.join(", ")),
    };
    let changes: Vec<_> =
        reply.changed.iter().filter_map(|key| change(key, before.get(key), values.get(key))).collect();
    Ok(Answer::new(json!({ "keys": reply.changed, "changes": changes }), text).changed(changed))
}

/// A change for a difference that people read; an unset key has its default.
fn change(key: &str, before: Option<&String>, after: Option<&String>) -> Option<Value> {
    let spec = cluster_key(key)?;
    let text = |value: Option<&String>| match value {
        _ if spec.flags.secret => "<redacted>".to_owned(),
        Some(value) => value.clone(),
        None => spec.default.to_owned(),
    };
    Some(json!({ "key": spec.name, "before": text(before), "after": text(after) }))
}

/// The mapping as canonical texts by upper-case name, everything wrong said at once.
pub(super) fn parse(text: &str) -> Result<HashMap<String, String>, Failure> {
    let given: HashMap<String, serde_yaml::Value> = serde_yaml::from_str(text)
        .map_err(|e| refuse(format!("standard input is not a mapping of keys: {e}")))?;
    canonical(given)
}

/// The same of a mapping that is read already.
pub(super) fn canonical(
    given: HashMap<String, serde_yaml::Value>,
) -> Result<HashMap<String, String>, Failure> {
    let mut values = HashMap::new();
    let mut problems = Vec::new();
    for (name, value) in given {
        let Some(spec) = cluster_key(&name) else {
            problems.push(format!("{name}: is not a cluster key"));
            continue;
        };
        match plain(&value)
            .ok_or_else(|| "must be a text, number, truth value or list".to_owned())
            .and_then(|t| spec.canonical(&t))
        {
            Ok(text) => {
                values.insert(spec.upper_name(), text);
            }
            Err(why) => problems.push(format!("{name}: {why}")),
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(values) } else { Err(refuse(problems.join("\n"))) }
}

fn plain(value: &serde_yaml::Value) -> Option<String> {
    match value {
        serde_yaml::Value::String(text) => Some(text.clone()),
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        serde_yaml::Value::Bool(truth) => Some(truth.to_string()),
        serde_yaml::Value::Sequence(items) => {
            items.iter().map(plain).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        _ => None,
    }
}

fn refuse(message: impl std::fmt::Display) -> Failure {
    Failure::say(Exit::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_mapping_is_said_at_once() {
        let failure = parse("zone: lab\nstorage_path: /x\nvxlan_udp_port: 99999\ndns_server: [1.1.1.1, x]\n")
            .unwrap_err();
        let text = failure.error.to_string();
        assert_eq!((failure.exit, text.lines().count()), (78, 3), "{text}");
        let good = parse("ZONE: lab\ndns_server: [1.1.1.1, 9.9.9.9]\napi_timeout: 60\n").unwrap();
        assert_eq!(good["DNS_SERVER"], "1.1.1.1,9.9.9.9");
        assert_eq!(good["API_TIMEOUT"], "60");
    }
}
