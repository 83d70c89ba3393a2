//! `sf-node libvirt-space`: starts virtlogd and libvirtd in a mount namespace where libvirt's directories are those of
//! the data directory. A short process of its own, because entering a namespace needs a single thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

use super::layout::write_whole;
use super::process;
use crate::failure::Failure;

/// Directories of libvirt and where they are below the data directory.
const DIRECTORIES: [(&str, &str); 5] = [
    ("/etc/libvirt", "etc"),
    ("/var/lib/libvirt", "lib"),
    ("/run/libvirt", "run"),
    ("/var/log/libvirt", "log"),
    ("/var/cache/libvirt", "cache"),
];

/// Names directories that this made outside the data directory, so that they can be removed again.
pub(super) const MADE: &str = "made-outside";

/// Only root reaches the socket, below a directory of the agent.
const LIBVIRTD_CONF: &str = r#"auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"#;

const VIRTLOGD_CONF: &str = r#"log_outputs = "3:file:/var/log/libvirt/virtlogd.log"
"#;

/// Guests run as root without control groups, labels or namespaces of their own: a machine on which one tries the
/// system may be a container that offers none of them. A cluster uses the libvirt of its distribution.
const QEMU_CONF: &str = r#"user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "logd"
"#;

/// Options of the hidden command.
#[derive(Debug, Args)]
pub(crate) struct SpaceOptions {
    /// The directory with `etc`, `lib`, `run`, `log` and `cache`.
    #[arg(long)]
    directory: PathBuf,
    /// Enter the mount namespace of this process instead of making one.
    #[arg(long)]
    join: Option<i32>,
}

/// Starts what does not run.
pub(crate) fn enter(options: &SpaceOptions) -> Result<(), Failure> {
    make(&options.directory)?;
    start(options).map_err(Failure::from)
}

/// The directories of libvirt and its configuration.
fn make(directory: &Path) -> Result<(), Failure> {
    for (_, inside) in DIRECTORIES {
        let path = directory.join(inside);
        fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    }
    let files =
        [("libvirtd.conf", LIBVIRTD_CONF), ("virtlogd.conf", VIRTLOGD_CONF), ("qemu.conf", QEMU_CONF)];
    for (name, text) in files {
        write_whole(&directory.join("etc").join(name), text, 0o644)?;
    }
    Ok(())
}

fn start(options: &SpaceOptions) -> anyhow::Result<()> {
    match options.join {
        Some(pid) => {
            let space =
                File::open(format!("/proc/{pid}/ns/mnt")).context("the mount namespace cannot be opened")?;
            setns(space, CloneFlags::CLONE_NEWNS).context("the mount namespace cannot be entered")?;
        }
        None => separate(&options.directory)?,
    }
    // The log daemon first: guests that libvirt starts write their consoles through it.
    daemon(&options.directory, "virtlogd")?;
    daemon(&options.directory, "libvirtd")
}

fn separate(directory: &Path) -> anyhow::Result<()> {
    for (outside, _) in DIRECTORIES {
        if !Path::new(outside).exists() {
            fs::create_dir_all(outside).with_context(|| format!("{outside} cannot be made"))?;
            let note = directory.join(MADE);
            let before = fs::read_to_string(&note).unwrap_or_default();
            fs::write(&note, format!("{before}{outside}\n"))
                .context("the note of made directories cannot be kept")?;
        }
    }
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace cannot be made; is this process root?")?;
    // What the host mounts later is seen inside; what is mounted inside stays inside.
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("mounts cannot be made private")?;
    for (outside, inside) in DIRECTORIES {
        let source = directory.join(inside);
        mount(Some(&source), outside, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("{} cannot be bound to {outside}", source.display()))?;
    }
    Ok(())
}

/// Starts a daemon of libvirt in the background unless it runs already.
fn daemon(directory: &Path, program: &str) -> anyhow::Result<()> {
    if alive(directory, program).is_some() {
        return Ok(());
    }
    let _ = fs::remove_file(pid_file(directory, program));
    let path = super::mariadb::find(program).map_err(|failure| failure.error)?;
    let output = Command::new(&path)
        .arg("--daemon")
        .arg(format!("--pid-file=/run/libvirt/{program}.pid"))
        .arg(format!("--config=/etc/libvirt/{program}.conf"))
        .output()
        .with_context(|| format!("{} cannot be run", path.display()))?;
    if !output.status.success() {
        let log = directory.join("log").join(format!("{program}.log"));
        bail!(
            "{program} did not start: {}{}",
            String::from_utf8_lossy(&output.stderr).trim(),
            process::tail(&log)
        );
    }
    Ok(())
}

/// A daemon of libvirt, if it runs: one whose run directory is that of the data directory. The host's own has another.
pub(super) fn alive(directory: &Path, program: &str) -> Option<Pid> {
    let run = directory.join("run");
    process::alive(&pid_file(directory, program), program, |pid| process::sees(pid, "root/run/libvirt", &run))
}

/// The pid file of a daemon of libvirt, seen from outside the namespace.
fn pid_file(directory: &Path, program: &str) -> PathBuf {
    directory.join("run").join(format!("{program}.pid"))
}

/// Time for one of them to come up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
