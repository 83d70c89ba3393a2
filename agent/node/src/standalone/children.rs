//! The privileged daemons as child processes: what has root rights does not share a process with what talks to users.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use sf_daemon::Host;
use sf_model::DaemonName;
use sf_runtime::Shutdown;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::layout::Layout;
use super::process;
use crate::failure::{Exit, Failure};

/// Time for a child to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// Children that are kept running.
pub(super) struct Children {
    ending: Shutdown,
    keepers: Vec<JoinHandle<()>>,
}

impl Children {
    /// Starts both and waits until they listen.
    pub(super) async fn start(layout: &Layout, host: &Host) -> Result<Self, Failure> {
        let ending = Shutdown::new(PATIENCE);
        let mut keepers = Vec::new();
        let children = [
            (DaemonName::Privexec, host.config.privexec_socket.clone()),
            (DaemonName::NetPrivexec, host.config.net_privexec_socket.clone()),
        ];
        for (name, socket) in children {
            let program = Program::new(layout, name)?;
            // A socket of a process that was killed would look like a listener.
            let _ = std::fs::remove_file(&socket);
            let mut child = program.spawn()?;
            let listens = process::within(PATIENCE, || process::accepts(&socket) || ended(&mut child)).await;
            if !listens || ended(&mut child) {
                let why = format!("{} does not start; its last lines are above", name.program());
                return Err(Failure::say(Exit::Unreachable, why));
            }
            keepers.push(tokio::spawn(program.keep(child, ending.clone())));
        }
        Ok(Self { ending, keepers })
    }

    /// Ends both.
    pub(super) async fn stop(self) {
        self.ending.request();
        for keeper in self.keepers {
            let _ = keeper.await;
        }
    }
}

/// How to start one.
struct Program {
    name: DaemonName,
    path: PathBuf,
    config: PathBuf,
}

impl Program {
    fn new(layout: &Layout, name: DaemonName) -> Result<Self, Failure> {
        let path = std::env::current_exe().context("the agent cannot find its own program")?;
        Ok(Self { name, path, config: layout.etc() })
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let child = Command::new(&self.path)
            .arg("run")
            .arg(self.name.to_string())
            .arg("--with-parent")
            .arg("--config-dir")
            .arg(&self.config)
            // Its readiness is not that of the whole.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn();
        Ok(child.with_context(|| format!("{} cannot be started", self.name.program()))?)
    }

    /// Starts the daemon again whenever it ends, until told otherwise.
    async fn keep(self, mut child: Child, ending: Shutdown) {
        loop {
            if ending.unless(child.wait()).await.is_none() {
                if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
                    process::end(nix::unistd::Pid::from_raw(pid), PATIENCE).await;
                }
                let _ = child.wait().await;
                return;
            }
            tracing::error!(daemon = %self.name.program(), "a privileged daemon ended and is started again");
            child = loop {
                if ending.unless(tokio::time::sleep(PAUSE)).await.is_none() {
                    return;
                }
                match self.spawn() {
                    Ok(child) => break child,
                    Err(failure) => {
                        tracing::error!(error = format!("{:#}", failure.error), "it cannot be started")
                    }
                }
            };
        }
    }
}

fn ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}
