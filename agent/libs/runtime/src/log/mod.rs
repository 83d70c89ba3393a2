//! Logs: one JSON object per line on stderr for daemons, plain text for commands.

mod fields;
mod layer;
mod rate;

use std::io;

use sf_config::{LogLevel, NodeConfig};
use sf_model::DaemonName;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

pub use layer::JsonLayer;

/// Changes the level of a running process.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
}

/// A second attempt to install logging in one process.
#[derive(Debug, thiserror::Error)]
#[error("logging cannot be set up: {0}")]
pub struct LogError(String);

/// Starts JSON logs of the program (`sf-api`, …) on stderr. `daemons` are those the process runs.
///
/// # Errors
/// Logging is already set up.
pub fn start_json(
    program: &str,
    config: &NodeConfig,
    daemons: &[DaemonName],
) -> Result<LogControl, LogError> {
    let (filter, handle) = reload::Layer::new(targets(config, daemons));
    tracing_subscriber::registry()
        .with(filter)
        .with(JsonLayer::new(program, io::stderr))
        .try_init()
        .map_err(|e| LogError(e.to_string()))?;
    Ok(LogControl { filter: handle })
}

/// Starts plain logs of a command on stderr, warnings and above.
///
/// # Errors
/// Logging is already set up.
pub fn start_plain(verbose: bool) -> Result<(), LogError> {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false)
        .try_init()
        .map_err(|e| LogError(e.to_string()))
}

impl LogControl {
    /// Applies the levels of a configuration read again.
    pub fn apply(&self, config: &NodeConfig, daemons: &[DaemonName]) {
        if let Err(error) = self.filter.reload(targets(config, daemons)) {
            tracing::warn!(%error, "log levels cannot be changed");
        }
    }
}

/// Our own code at the daemon's level, libraries at warnings. In a process with several daemons what they share logs at
/// the most talkative of their levels.
fn targets(config: &NodeConfig, daemons: &[DaemonName]) -> Targets {
    let level = |daemon: &DaemonName| filter(config.log_level(&daemon.to_string()));
    let shared = daemons.iter().map(level).max().unwrap_or(LevelFilter::INFO);
    let own = daemons.iter().map(|d| (format!("sf_daemon_{}", d.to_string().replace('-', "_")), level(d)));
    Targets::new().with_default(LevelFilter::WARN).with_target("sf_", shared).with_targets(own)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}
