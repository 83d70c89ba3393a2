//! A whole cloud in one process, over the same code paths as a cluster: real gRPC on loopback, a private MariaDB, a
//! private libvirt, and the two privileged daemons as child processes.
//!
//! Everything is kept below one directory. MariaDB, libvirt and guests outlive this process and are taken over by the
//! next one, so that a crash or an upgrade of the agent stops no guest.

mod children;
mod config;
mod daemons;
mod layout;
mod libvirt;
mod mariadb;
mod process;
mod ready;
mod report;
mod space;
mod stop;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use sf_config::{Sources, load_database, load_node};
use sf_daemon::Host;
use sf_runtime::{Metrics, Shutdown, StatusLine, log, notify};

use crate::answer::Outcome;
use crate::cli::KeyOverrides;
use crate::failure::{Exit, Failure};
use crate::run;
use layout::Layout;
pub(crate) use space::{SpaceOptions, enter as enter_space};

/// Options of `sf-node standalone`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Directory that holds everything.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// First port; the others follow as they do from 13000.
    #[arg(long, default_value_t = 13000, value_parser = clap::value_parser!(u16).range(1024..=65000))]
    port_base: u16,
    /// Use this libvirt instead of a private one.
    #[arg(long, value_name = "URI")]
    use_libvirt: Option<String>,
    /// Cluster key to set when the cluster is made, as KEY=VALUE.
    #[arg(long = "cluster", value_name = "KEY=VALUE")]
    cluster: Vec<String>,
    /// When told to end, stop the private MariaDB and libvirt too. Guests end with it only if they are deleted before.
    #[arg(long)]
    stop_helpers: bool,
    /// Stop what runs in the directory, helpers included, and do nothing else.
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    keys: KeyOverrides,
}

/// Runs the cloud until it is told to end, or stops a running one.
pub(crate) fn execute(options: Options) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::say(
            Exit::Refused,
            "standalone mode needs root: it makes network devices and starts guests",
        ));
    }
    let layout = Layout::new(&options.data_dir)?;
    if options.stop {
        return run::runtime()?.block_on(stop::everything(&layout)).map(Some);
    }
    let lock = layout.lock()?;
    layout.make()?;
    config::write(&layout, &options)?;
    let sources =
        Sources { command_line: options.keys.given.clone(), ..Sources::in_directory(&layout.etc()) };
    let node = Arc::new(load_node(&sources)?.config);
    let database = load_database(&sources)?.config;
    let names = daemons::names();
    let control =
        log::start_json("sf-standalone", &node, &names).map_err(|e| Failure::say(Exit::Internal, e))?;
    let shutdown = Shutdown::new(node.api_drain_grace + Duration::from_secs(30));
    let outcome = run::runtime()?.block_on(async {
        let (reload, watched) = (sources.clone(), names.clone());
        shutdown
            .listen(move || match load_node(&reload) {
                Ok(fresh) => control.apply(&fresh.config, &watched),
                Err(error) => tracing::error!(%error, "the configuration was not read again"),
            })
            .context("signals cannot be received")?;
        let metrics = Metrics::install().map_err(sf_daemon::DaemonError::from)?;
        let host = Host::new(node, "standalone", shutdown, metrics, &names)?;
        notify::watch(host.liveness.clone(), host.shutdown.clone());
        cloud(&layout, &options, host, database).await
    });
    drop(lock);
    outcome.map(|()| None)
}

/// Brings everything up in order, keeps it up, and takes it down in the reverse order.
async fn cloud(
    layout: &Layout,
    options: &Options,
    host: Host,
    database: sf_config::DatabaseConfig,
) -> Result<(), Failure> {
    let status = host.status.clone();
    let step = |text: &str| say(&status, text);
    report::write(layout, &host, options, "starting")?;

    step("starting MariaDB");
    let mariadb = mariadb::Mariadb::bring_up(layout).await?;
    step("preparing the database");
    mariadb::prepare(layout, &database, &options.cluster).await?;
    let libvirt = match &options.use_libvirt {
        Some(_) => None,
        None => {
            step("starting libvirt");
            Some(libvirt::Libvirt::bring_up(layout).await?)
        }
    };
    step("starting the privileged daemons");
    let children = children::Children::start(layout, &host).await?;
    step("starting the daemons");
    let daemons = daemons::Running::start(&host, database).await?;
    let helpers = keep_helpers(&host, mariadb.clone(), libvirt.clone());

    let (outcome, ()) = tokio::join!(daemons.until_ended(&host), announce(layout, options, &host));

    notify::stopping();
    step("ending");
    children.stop().await;
    helpers.abort();
    if options.stop_helpers {
        if let Some(libvirt) = libvirt {
            libvirt.stop().await;
        }
        mariadb.stop().await;
    }
    report::remove(layout);
    outcome
}

/// Says that the cloud serves, as soon as the API says so.
async fn announce(layout: &Layout, options: &Options, host: &Host) {
    let address = report::api_address(host);
    if host.shutdown.unless(ready::until_ready(address)).await.is_none() {
        return;
    }
    if let Err(failure) = report::write(layout, host, options, "ready") {
        tracing::error!(error = format!("{:#}", failure.error), "standalone.json cannot be written");
    }
    notify::ready();
    say(&host.status, &format!("serving at {}", report::api_url(host)));
}

/// Restarts helpers that died.
fn keep_helpers(
    host: &Host,
    mariadb: mariadb::Mariadb,
    libvirt: Option<libvirt::Libvirt>,
) -> tokio::task::JoinHandle<()> {
    let pass = move |_| {
        let (mariadb, libvirt) = (mariadb.clone(), libvirt.clone());
        async move {
            mariadb.revive().await?;
            if let Some(libvirt) = libvirt {
                libvirt.revive().await?;
            }
            Ok::<_, Shown>(sf_runtime::Pass::Done)
        }
    };
    let work =
        sf_runtime::Loop::every("helpers", Duration::from_secs(2)).max_silence(Duration::from_secs(120));
    tokio::spawn(work.run(host.shutdown.clone(), host.liveness.clone(), pass))
}

/// A failure as the loop logs it.
struct Shown(Failure);

impl From<Failure> for Shown {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0.error)
    }
}

fn say(status: &StatusLine, text: &str) {
    tracing::info!("{text}");
    status.set(text);
}
