//! The operations, in order, and what each makes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::RngCore;
use sf_config::cluster_key;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::{ClusterId, NetworkId};
use sf_protos::namespaces::NewKey;
use sha2::{Digest, Sha256};

use super::{Input, Wrap};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::{config, maintenance, namespaces, networks};

/// Version of the operations of this build.
pub(super) const OPERATION_VERSION: u32 = 1;
/// The cluster key that token keys follow from.
const SEED: &str = "auth_secret_seed";
/// The operation that names the cluster; its artefact is the name.
pub const CLUSTER_ID: &str = "cluster-id";
/// Bytes of a generated seed.
const SEED_BYTES: usize = 32;

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    /// Its key.
    pub(super) name: String,
    /// What it makes, for the record.
    pub(super) artefact: String,
    /// Digest of what it is made from; none for secrets and for what is random.
    pub(super) digest: Option<String>,
    action: Action,
}

#[derive(Clone)]
enum Action {
    Release(String),
    ClusterId(ClusterId),
    Config { key: String, text: String },
    Wrap(Wrap),
    Namespace,
    Key(Box<NewKey>),
    Floating,
    Task { name: String, period: u32 },
}

impl std::fmt::Debug for Action {
    /// Values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Action")
    }
}

impl Operation {
    /// Makes the artefact.
    pub(super) async fn write(&self, conn: &mut Conn, ctx: &TxContext) -> StoreResult<()> {
        match &self.action {
            Action::Release(release) => config::record_release(conn, release).await,
            Action::ClusterId(id) => config::insert(conn, "cluster_id", &id.to_string(), "bootstrap").await,
            Action::Config { key, text } => config::insert(conn, key, text, "bootstrap").await,
            Action::Wrap(wrap) => config::encrypt(conn, SEED, wrap.as_ref()).await,
            Action::Namespace => namespaces::ensure(conn, SYSTEM_NAMESPACE).await.map(|_| ()),
            Action::Key(key) => namespaces::ensure_key(conn, ctx, SYSTEM_NAMESPACE, key).await.map(|_| ()),
            Action::Floating => networks::bootstrap_floating(conn, &ctx.settings).await.map(|_| ()),
            Action::Task { name, period } => maintenance::plan_task(conn, name, *period).await,
        }
    }

    /// The cluster key that is all it sets, by its capital name: an operator may have set it already.
    pub(super) fn config_key(&self) -> Option<String> {
        match &self.action {
            Action::Config { key, .. } => Some(key.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// Whether this is the operation that makes the first key.
    pub(super) fn is_key(&self) -> bool {
        matches!(self.action, Action::Key(_))
    }
}

/// The name of the operation that makes the first key.
fn key_operation(name: &str) -> String {
    format!("key/{SYSTEM_NAMESPACE}/{name}")
}

/// Everything a new cluster needs, in the order in which one thing needs another.
pub(super) fn operations(input: &Input) -> Vec<Operation> {
    let id = ClusterId::random();
    let seed = input.auth_secret_seed.as_ref().map_or_else(random_seed, |seed| seed.expose().clone());
    let mut all = vec![
        Operation {
            name: "cluster-version".to_owned(),
            artefact: format!("release {}", input.release),
            digest: Some(digest(&input.release)),
            action: Action::Release(input.release.clone()),
        },
        Operation {
            name: CLUSTER_ID.to_owned(),
            artefact: id.to_string(),
            digest: None,
            action: Action::ClusterId(id),
        },
        Operation {
            name: "secret/AUTH_SECRET_SEED".to_owned(),
            artefact: "cluster_config AUTH_SECRET_SEED".to_owned(),
            digest: None,
            action: Action::Config { key: SEED.to_owned(), text: seed },
        },
        Operation {
            name: "secret/TRANSFER_SECRET".to_owned(),
            artefact: "cluster_config TRANSFER_SECRET".to_owned(),
            digest: None,
            action: Action::Config { key: "transfer_secret".to_owned(), text: random_seed() },
        },
    ];
    if let Some(wrap) = &input.wrap_seed {
        all.push(Operation {
            name: "kek/AUTH_SECRET_SEED".to_owned(),
            artefact: "cluster_config AUTH_SECRET_SEED, encrypted".to_owned(),
            digest: None,
            action: Action::Wrap(wrap.clone()),
        });
    }
    for (key, text) in &input.config {
        let secret = cluster_key(key).is_some_and(|spec| spec.flags.secret);
        let upper = key.to_ascii_uppercase();
        all.push(Operation {
            name: format!("config/{upper}"),
            artefact: format!("cluster_config {upper}"),
            digest: (!secret).then(|| digest(text)),
            action: Action::Config { key: key.clone(), text: text.clone() },
        });
    }
    all.push(Operation {
        name: format!("namespace/{SYSTEM_NAMESPACE}"),
        artefact: format!("namespace {SYSTEM_NAMESPACE}"),
        digest: None,
        action: Action::Namespace,
    });
    let key = &input.admin_key.key;
    all.push(Operation {
        name: key_operation(&key.key_name),
        artefact: key.key_uuid.clone(),
        digest: None,
        action: Action::Key(Box::new(key.clone())),
    });
    all.push(Operation {
        name: "network/floating".to_owned(),
        artefact: NetworkId::FLOATING.to_string(),
        digest: None,
        action: Action::Floating,
    });
    for (name, period) in &input.tasks {
        all.push(Operation {
            name: format!("maintenance/{name}"),
            artefact: format!("maintenance_runs {name}"),
            // A changed period takes effect by itself.
            digest: None,
            action: Action::Task { name: name.clone(), period: *period },
        });
    }
    all
}

/// A new secret of the cluster: 32 random bytes in base64.
pub fn random_seed() -> String {
    let mut bytes = [0_u8; SEED_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.trim()))
}
