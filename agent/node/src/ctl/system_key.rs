//! `system-key ensure`: the automation's own key of namespace `system`.

use std::io::Read;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use sf_config::NodeConfig;
use sf_gateway::CallClass;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_protos::namespaces::PutKeyRequest;

use super::gateway;
use super::key::Verifier;
use crate::answer::Answer;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum SystemKeyCommand {
    /// Make the key read from standard input valid, replacing another one of this name.
    Ensure {
        /// Name of the key.
        #[arg(long, default_value = "deploy")]
        name: String,
        /// Say what would change and change nothing.
        #[arg(long)]
        check: bool,
    },
}

pub(crate) async fn execute(command: SystemKeyCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    let SystemKeyCommand::Ensure { name, check } = command;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    let key = text.trim_end_matches(['\r', '\n']);
    let verifier = Verifier::of(key)?;
    let gateway = gateway::client(config)?;
    if verifier.is_current(&gateway, &name).await? {
        return Ok(Answer::new(
            json!({ "key_name": name, "rotated": false }),
            format!("key {name} is valid"),
        ));
    }
    if !check {
        let key = Some(verifier.into_key(&name).await?);
        let request =
            PutKeyRequest { context: None, namespace: SYSTEM_NAMESPACE.to_owned(), key, must_exist: false };
        gateway.call(CallClass::Background, request).await?;
    }
    let text = if check { format!("key {name} would be replaced") } else { format!("key {name} is set") };
    Ok(Answer::new(json!({ "key_name": name, "rotated": true }), text).changed(true))
}
