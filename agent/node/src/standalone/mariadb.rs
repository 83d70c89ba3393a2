//! The private MariaDB: on a unix socket only, surviving this process, started again when it died.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::Pid;
use sf_config::DatabaseConfig;
use sf_store::migrate::Progress;

use super::layout::{Layout, write_whole};
use super::process;
use crate::ctl::{bootstrap, database};
use crate::failure::{Exit, Failure};

const SERVER: &str = "mariadbd";
const INSTALL: &str = "mariadb-install-db";
/// The directory of the cluster's database, below that of the server.
const DATABASE: &str = "shakenfist";
/// Recovery after a crash may take this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server of a data directory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mariadb {
    layout: Layout,
    /// Our own child, if this process started the server; kept so that a dead one is reaped.
    child: Arc<Mutex<Option<Child>>>,
}

/// The socket of the server.
pub(super) fn socket(layout: &Layout) -> PathBuf {
    layout.mariadb().join("mysqld.sock")
}

/// Makes tables and first contents. A second run changes nothing.
pub(super) async fn prepare(
    layout: &Layout,
    config: &DatabaseConfig,
    cluster: &[String],
) -> Result<(), Failure> {
    let mut tell = |progress| {
        if let Progress::Applied(step, _) = progress {
            tracing::info!(migration = step.name, "applied");
        }
    };
    database::ensure_schema(config, &mut tell).await?;
    let cluster_id = bootstrap::standalone(config, &layout.system_key(), cluster).await?;
    // From here on there may be devices and tables of this cluster: what takes them off the host needs its name.
    write_whole(&layout.cluster_id(), &format!("{cluster_id}\n"), 0o644)
}

impl Mariadb {
    /// Takes over a running server, or starts one.
    pub(super) async fn bring_up(layout: &Layout) -> Result<Self, Failure> {
        let server = Self { layout: layout.clone(), child: Arc::default() };
        if alive(layout).is_some() {
            tracing::info!("taking over the running MariaDB");
        } else {
            server.install()?;
            server.start()?;
        }
        server.until_answering().await?;
        Ok(server)
    }

    /// Starts the server again if it died. A server that merely does not answer is left alone.
    pub(super) async fn revive(&self) -> Result<(), Failure> {
        self.reap();
        if alive(&self.layout).is_some() {
            return Ok(());
        }
        tracing::warn!("MariaDB died and is started again");
        self.start()?;
        self.until_answering().await
    }

    /// Ends the server.
    pub(super) async fn stop(&self) {
        stop(&self.layout).await;
        self.reap();
    }

    /// Makes the data directory once. A half-made one, without the mark of completion, is made anew; one that holds a cluster
    /// is never removed.
    fn install(&self) -> Result<(), Failure> {
        let mark = self.directory().join("installed");
        let is_there = |path: &Path| {
            path.try_exists().with_context(|| format!("{} cannot be looked at", path.display()))
        };
        if is_there(&mark)? {
            return Ok(());
        }
        let data = self.data();
        if is_there(&data.join(DATABASE))? {
            let told = format!(
                "{} holds a database, but {} is missing: make that file if the database is whole, or move the directory away",
                data.display(),
                mark.display()
            );
            return Err(Failure::say(Exit::Refused, told));
        }
        if is_there(&data)? {
            std::fs::remove_dir_all(&data)
                .with_context(|| format!("{} cannot be removed", data.display()))?;
        }
        let program = find(INSTALL)?;
        let made = Command::new(&program)
            .env("TMPDIR", self.scratch()?)
            .args([
                "--no-defaults",
                "--user=root",
                "--auth-root-authentication-method=socket",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", data.display()))
            .output()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Failure::say(Exit::Internal, format!("{} failed: {said}", program.display())));
        }
        write_whole(&mark, "", 0o600)
    }

    fn start(&self) -> Result<(), Failure> {
        let program = find(SERVER)?;
        let init = self.write_init()?;
        let directory = self.directory();
        let log = log_file(&directory.join("server.log"))?;
        let errors = log.try_clone().context("the log of MariaDB cannot be opened")?;
        let child = Command::new(&program)
            .args([
                "--no-defaults",
                "--user=root",
                "--skip-networking",
                "--skip-log-bin",
                "--performance-schema=OFF",
            ])
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--tmpdir={}", self.scratch()?.display()))
            .arg(format!("--socket={}", socket(&self.layout).display()))
            .arg(format!("--pid-file={}", self.pid_file().display()))
            .arg(format!("--init-file={}", init.display()))
            .args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"])
            .args(["--max-allowed-packet=64M", "--innodb-buffer-pool-size=128M", "--max-connections=200"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Signals of the terminal are meant for the agent.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// Where temporary tables are. A server that starts deletes those it finds: in `/tmp`, also those of another server.
    fn scratch(&self) -> Result<PathBuf, Failure> {
        let path = self.directory().join("tmp");
        std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(path)
    }

    /// Statements the server runs at each start: they make the schema and the user of the agent.
    fn write_init(&self) -> Result<PathBuf, Failure> {
        let path = self.directory().join("init.sql");
        let password =
            super::layout::secret_file(&self.layout.mariadb_password(), super::layout::random_text)?;
        // The password is hexadecimal, so it needs no quoting.
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS shakenfist CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n\
             CREATE USER IF NOT EXISTS 'shakenfist'@'localhost' IDENTIFIED BY '{password}';\n\
             ALTER USER 'shakenfist'@'localhost' IDENTIFIED BY '{password}';\n\
             GRANT ALL ON shakenfist.* TO 'shakenfist'@'localhost';\n"
        );
        write_whole(&path, &sql, 0o600)?;
        Ok(path)
    }

    async fn until_answering(&self) -> Result<(), Failure> {
        let socket = socket(&self.layout);
        let dead = || {
            self.reap();
            self.child.lock().unwrap_or_else(PoisonError::into_inner).is_none()
                && alive(&self.layout).is_none()
        };
        let answered = process::within(PATIENCE, || greets(&socket) || dead()).await;
        if answered && greets(&socket) {
            return Ok(());
        }
        let log = self.directory().join("server.log");
        let what = if answered { "MariaDB ended at once" } else { "MariaDB does not answer" };
        Err(Failure::say(
            Exit::Unreachable,
            format!("{what}; the end of {}:{}", log.display(), process::tail(&log)),
        ))
    }

    /// Forgets our child when it has ended.
    fn reap(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None))) {
            *child = None;
        }
    }

    fn directory(&self) -> PathBuf {
        self.layout.mariadb()
    }

    fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    fn pid_file(&self) -> PathBuf {
        pid_file(&self.layout)
    }
}

fn pid_file(layout: &Layout) -> PathBuf {
    layout.mariadb().join("server.pid")
}

/// The server of a directory, if it runs.
pub(super) fn alive(layout: &Layout) -> Option<Pid> {
    // It works in its data directory.
    let data = layout.mariadb().join("data");
    process::alive(&pid_file(layout), SERVER, |pid| process::sees(pid, "cwd", &data))
}

/// Ends the server of a directory, whoever started it.
pub(super) async fn stop(layout: &Layout) {
    if let Some(pid) = alive(layout) {
        process::end(pid, Duration::from_secs(60)).await;
    }
}

/// Whether the server sends its greeting: a packet whose first byte is the protocol version and not an error.
fn greets(socket: &Path) -> bool {
    let greet = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut head = [0_u8; 5];
        stream.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(head)
    };
    matches!(greet(), Ok([_, _, _, _, version]) if version != 0xff)
}

/// An executable of this name in the usual places.
pub(super) fn find(program: &str) -> Result<PathBuf, Failure> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let why = format!("{program} is not installed; install the packages that `make quickstart` installs");
        Failure::say(Exit::Unreachable, why)
    })
}

/// A log that is appended to.
pub(super) fn log_file(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok(file.with_context(|| format!("{} cannot be opened", path.display()))?)
}
