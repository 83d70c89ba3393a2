//! The private libvirt. It survives this process, as the guests that it runs do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::layout::Layout;
use super::process;
use super::space::{MADE, PATIENCE, alive};
use crate::failure::{Exit, Failure};

const LIBVIRTD: &str = "libvirtd";
const VIRTLOGD: &str = "virtlogd";

/// The libvirt of a data directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Libvirt {
    layout: Layout,
}

impl Libvirt {
    /// Takes over what runs and starts what does not.
    pub(super) async fn bring_up(layout: &Layout) -> Result<Self, Failure> {
        let libvirt = Self { layout: layout.clone() };
        libvirt.make()?;
        libvirt.start().await?;
        Ok(libvirt)
    }

    /// Starts what died. Guests go on meanwhile, and libvirt finds them again.
    pub(super) async fn revive(&self) -> Result<(), Failure> {
        if self.alive(LIBVIRTD).is_some() && self.alive(VIRTLOGD).is_some() {
            return Ok(());
        }
        tracing::warn!("libvirt died and is started again");
        self.start().await
    }

    /// Ends libvirt. Guests go on.
    pub(super) async fn stop(&self) {
        stop(&self.layout).await;
    }

    fn make(&self) -> Result<(), Failure> {
        let root = self.layout.libvirt();
        // Daemons outside the namespace find pid files of guests here.
        let link = self.layout.run().join("libvirt");
        if !link.exists() {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(root.join("run"), &link)
                .context("the run directory of libvirt cannot be linked")?;
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        let program = std::env::current_exe().context("the agent cannot find its own program")?;
        let mut command = Command::new(program);
        command.arg("libvirt-space").arg("--directory").arg(self.layout.libvirt());
        if let Some(pid) = self.alive(LIBVIRTD).or_else(|| self.alive(VIRTLOGD)) {
            command.arg("--join").arg(pid.to_string());
        }
        let made = tokio::task::spawn_blocking(move || command.output()).await;
        let output =
            made.context("libvirt's start was cut short")?.context("the agent cannot be run again")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::say(
                Exit::Unreachable,
                format!("the private libvirt does not start: {said}"),
            ));
        }
        let socket = self.layout.libvirt_socket();
        if process::within(PATIENCE, || process::accepts(&socket)).await {
            return Ok(());
        }
        let log = self.layout.libvirt().join("log/libvirtd.log");
        let why = format!("libvirt does not answer; the end of {}:{}", log.display(), process::tail(&log));
        Err(Failure::say(Exit::Unreachable, why))
    }

    fn alive(&self, program: &str) -> Option<nix::unistd::Pid> {
        alive(&self.layout.libvirt(), program)
    }
}

/// Ends the libvirt of a directory and removes directories that were made for it elsewhere.
pub(super) async fn stop(layout: &Layout) {
    let directory = layout.libvirt();
    for program in [LIBVIRTD, VIRTLOGD] {
        if let Some(pid) = alive(&directory, program) {
            process::end(pid, Duration::from_secs(30)).await;
        }
    }
    let note = directory.join(MADE);
    for outside in fs::read_to_string(&note).unwrap_or_default().lines() {
        // Only if it is still empty: somebody else's libvirt may use it by now.
        let _ = fs::remove_dir(Path::new(outside));
    }
    let _ = fs::remove_file(note);
}

/// Pids of both daemons, by name.
pub(super) fn pids(layout: &Layout) -> Vec<(&'static str, i32)> {
    let find = |program: &'static str| Some((program, alive(&layout.libvirt(), program)?.as_raw()));
    [LIBVIRTD, VIRTLOGD].into_iter().filter_map(find).collect()
}
