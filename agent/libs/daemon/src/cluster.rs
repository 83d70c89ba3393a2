//! The cluster configuration of a running daemon, kept fresh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use sf_config::{ClusterConfig, cluster_key};
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::DaemonName;
use sf_protos::config::{GetClusterConfigReply, GetClusterConfigRequest};
use sf_protos::convert::unix_seconds;
use sf_runtime::{Liveness, Loop, Pass, Shutdown};
use tokio::sync::watch;

use crate::error::DaemonError;
use crate::kek::{self, Kek};
use crate::release::Release;

/// How often live keys are read again.
const REFRESH: Duration = Duration::from_secs(20);
/// Clock difference worth a warning, seconds.
const SKEW_WARNING: f64 = 5.0;

/// The present cluster configuration. Cheap to clone.
#[derive(Clone)]
pub struct ClusterConfigHandle {
    current: Arc<ArcSwap<ClusterConfig>>,
    changes: Arc<watch::Sender<()>>,
}

impl ClusterConfigHandle {
    /// A handle on a configuration that changes only by [`ClusterConfigHandle::replace`].
    pub fn new(config: ClusterConfig) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(config)), changes: Arc::new(watch::channel(()).0) }
    }

    /// The values of now. Read again for each decision rather than kept.
    pub fn current(&self) -> Arc<ClusterConfig> {
        self.current.load_full()
    }

    /// Resolves at each later change, for work that must react at once.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Puts other values in place. Keys that need a restart keep their old effect and raise
    /// `config_restart_required`.
    pub fn replace(&self, config: ClusterConfig) {
        let changed = difference(&self.current().open_texts(), &config.open_texts());
        let fixed: Vec<&str> = changed
            .iter()
            .copied()
            .filter(|key| cluster_key(key).is_some_and(|spec| !spec.flags.live))
            .collect();
        if !fixed.is_empty() {
            metrics::gauge!("config_restart_required").set(1.0);
            tracing::warn!(keys = fixed.join(", "), "cluster keys changed that take effect after a restart");
        }
        if !changed.is_empty() {
            tracing::info!(keys = changed.join(", "), "cluster configuration changed");
        }
        self.current.store(Arc::new(config));
        if !changed.is_empty() {
            self.changes.send_replace(());
        }
    }

    /// Reads the configuration every 20 seconds until shutdown; while it cannot be read, the last one holds.
    pub(crate) async fn refresh(
        self,
        reader: ClusterReader,
        shutdown: Shutdown,
        liveness: Liveness,
        applied: impl Fn(&ClusterConfig),
    ) {
        let applied = Arc::new(applied);
        let pass = |_| {
            let (handle, reader, applied) = (self.clone(), reader.clone(), applied.clone());
            async move {
                let config = reader.fetch().await?;
                applied(&config);
                handle.replace(config);
                Ok::<_, DaemonError>(Pass::Done)
            }
        };
        Loop::every("config-refresh", REFRESH).jittered().run(shutdown, liveness, pass).await;
    }
}

/// Reads the configuration as one daemon may see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ClusterReader {
    pub(crate) gateway: Gateway,
    pub(crate) daemon: DaemonName,
    /// On nodes that run `sf-api`.
    pub(crate) kek: Option<Arc<Kek>>,
}

impl ClusterReader {
    /// Reads and checks the configuration once.
    ///
    /// # Errors
    /// [`DaemonError::Refused`] around a transient error when no gateway answers; anything else is final.
    pub(crate) async fn fetch(&self) -> Result<ClusterConfig, DaemonError> {
        let request = GetClusterConfigRequest { daemon: self.daemon.to_string() };
        let reply = self.gateway.call(CallClass::Interactive, request).await?;
        interpret(self.daemon, self.kek.as_deref(), reply)
    }
}

fn interpret(
    daemon: DaemonName,
    kek: Option<&Kek>,
    reply: GetClusterConfigReply,
) -> Result<ClusterConfig, DaemonError> {
    note_skew(&reply);
    Release::own().check(&reply.release)?;
    let mut texts = BTreeMap::new();
    for entry in reply.entries.iter().filter(|entry| !(entry.secret && entry.value.is_empty())) {
        texts.insert(entry.key.as_str(), kek::open(kek, &entry.key, &entry.value)?);
    }
    if !reply.cluster_id.is_empty() {
        texts.insert("CLUSTER_ID", reply.cluster_id.clone());
    }
    let (config, unknown) = ClusterConfig::from_texts(texts.iter().map(|(key, text)| (*key, text.as_str())))?;
    if !unknown.is_empty() {
        tracing::debug!(keys = unknown.join(", "), "cluster keys that this build does not know");
    }
    let made_by_bootstrap = [
        ("auth_secret_seed", config.auth_secret_seed.is_some()),
        ("transfer_secret", config.transfer_secret.is_some()),
    ];
    let needed = |name| cluster_key(name).is_some_and(|spec| spec.flags.concerns(&daemon.to_string()));
    match made_by_bootstrap.into_iter().find(|(name, is_there)| !is_there && needed(name)) {
        Some((name, _)) => Err(DaemonError::NotBootstrapped(name)),
        None => Ok(config),
    }
}

fn note_skew(reply: &GetClusterConfigReply) {
    let Some(database) = reply.database_time.as_ref().map(unix_seconds) else { return };
    let own = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let skew = database - own;
    metrics::gauge!("node_clock_skew_seconds").set(skew);
    if skew.abs() > SKEW_WARNING {
        tracing::warn!(
            seconds = skew,
            "the clock of this node differs from the database's: check time synchronisation"
        );
    }
}

fn difference(
    before: &BTreeMap<&'static str, String>,
    after: &BTreeMap<&'static str, String>,
) -> Vec<&'static str> {
    after.iter().filter(|(key, text)| before.get(*key) != Some(*text)).map(|(key, _)| *key).collect()
}

/// Whether reading again may help.
pub(crate) fn is_transient(error: &DaemonError) -> bool {
    matches!(error, DaemonError::Refused(DbError::DatabaseUnavailable { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_protos::config::ConfigEntry;

    fn reply(entries: &[(&str, &str)]) -> GetClusterConfigReply {
        let entry = |(key, value): &(&str, &str)| ConfigEntry {
            key: (*key).into(),
            value: (*value).into(),
            ..ConfigEntry::default()
        };
        GetClusterConfigReply {
            release: Release::own().to_string(),
            entries: entries.iter().map(entry).collect(),
            ..GetClusterConfigReply::default()
        }
    }

    #[test]
    fn a_reader_of_the_seed_refuses_to_go_without() {
        let without = interpret(DaemonName::Api, None, reply(&[]));
        assert!(matches!(without, Err(DaemonError::NotBootstrapped(_))));
        assert!(interpret(DaemonName::Net, None, reply(&[])).is_ok());
        let (seed, transfers) = (("AUTH_SECRET_SEED", "s"), ("TRANSFER_SECRET", "t"));
        assert!(interpret(DaemonName::Api, None, reply(&[seed, transfers])).is_ok());
        assert!(interpret(DaemonName::Api, None, reply(&[seed])).is_err());
        assert!(interpret(DaemonName::Transfers, None, reply(&[transfers])).is_ok());
        assert!(interpret(DaemonName::Transfers, None, reply(&[seed])).is_err());
        assert!(interpret(DaemonName::Net, None, reply(&[("API_TIMEOUT", "never")])).is_err());
    }

    #[test]
    fn a_wrapped_seed_is_read_with_the_key_of_the_node_only() {
        let kek = |text: &str| Kek::parse(text).unwrap();
        let (own, other) = ("A".repeat(43) + "=", "B".repeat(42) + "A=");
        let wrapped = kek(&own).wrap("auth_secret_seed", "s").unwrap();
        let entries = [("AUTH_SECRET_SEED", wrapped.as_str()), ("TRANSFER_SECRET", "t")];
        let read = |kek: Option<&Kek>| interpret(DaemonName::Api, kek, reply(&entries));
        let seed = read(Some(&kek(&own))).unwrap().auth_secret_seed.unwrap();
        assert_eq!(seed.expose(), "s");
        for wrong in [None, Some(&kek(&other))] {
            let refused = read(wrong).unwrap_err();
            assert_eq!(refused.exit_code(), 78, "{refused}");
        }
    }

    #[test]
    fn a_change_is_told_and_an_equal_configuration_is_not() {
        let config =
            |zone: &str| interpret(DaemonName::Net, None, reply(&[("CLEANER_DELAY", zone)])).unwrap();
        let handle = ClusterConfigHandle::new(config("60"));
        let changes = handle.changes();
        handle.replace(config("60"));
        assert!(!changes.has_changed().unwrap());
        handle.replace(config("61"));
        assert!(changes.has_changed().unwrap());
        assert_eq!(handle.current().cleaner_delay, Duration::from_secs(61));
    }
}
