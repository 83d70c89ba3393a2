//! Starting and ending a private `mariadbd`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::conn::{ConnectOptions, Endpoint};

/// Time for a server to answer.
const START: Duration = Duration::from_secs(60);

/// A directory in memory.
const MEMORY: &str = "/dev/shm";
/// What must be free there, bytes: each test of a program has a hundred tables of its own until the program ends.
const ROOM: u64 = 4 << 30;

/// Keeps the server and removes its files when the pipe from the test process closes, however that process ended. The
/// server itself dies with this shell.
const KEEPER: &str = r#"dir=$1; shift
setpriv --pdeathsig KILL "$@" &
pid=$!
cat >/dev/null
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
rm -rf "$dir""#;

/// A private server on a unix socket in a temporary directory. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    keeper: Child,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The programs are not installed.
    #[error("{0} is not installed")]
    NotInstalled(&'static str),
    /// It did not start.
    #[error("a private MariaDB did not start: {0}")]
    Failed(String),
}

impl Server {
    /// Installs and starts a server with further options for `mariadbd`.
    ///
    /// # Errors
    /// Programs are missing, or the server does not answer within a minute.
    pub fn start(options: &[&str]) -> Result<Self, ServerError> {
        for program in ["/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", "/usr/bin/setpriv"] {
            if !Path::new(program).exists() {
                return Err(ServerError::NotInstalled(program));
            }
        }
        let directory = tempfile::Builder::new().prefix("sf-db-").tempdir_in(place()).map_err(failed)?.keep();
        let started = Self::start_in(&directory, options);
        if started.is_err() {
            // What is left of a failed start has no other owner.
            let _ = fs::remove_dir_all(&directory);
        }
        started
    }

    fn start_in(directory: &Path, options: &[&str]) -> Result<Self, ServerError> {
        let (data, scratch) = (directory.join("data"), directory.join("tmp"));
        // A server that starts deletes the temporary tables it finds, and those of another server are none of its business.
        fs::create_dir(&scratch).map_err(failed)?;
        let install = Command::new("/usr/bin/mariadb-install-db")
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
            ])
            .arg(format!("--datadir={}", data.display()))
            .args(["--innodb-log-file-size=16M", "--innodb-flush-method=nosync"])
            .env("TMPDIR", &scratch)
            .output()
            .map_err(failed)?;
        if !install.status.success() {
            return Err(ServerError::Failed(String::from_utf8_lossy(&install.stderr).into_owned()));
        }
        let log = fs::File::create(directory.join("log")).map_err(failed)?;
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(directory)
            .args([
                "/usr/sbin/mariadbd",
                "--no-defaults",
                "--user=root",
                "--skip-networking",
                "--skip-log-bin",
            ])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", scratch.display()))
            .arg(format!("--socket={}", directory.join("s").display()))
            .arg(format!("--pid-file={}", directory.join("pid").display()))
            .args([
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_general_ci",
                "--max-connections=500",
            ])
            .args([
                "--innodb-buffer-pool-size=96M",
                "--innodb-log-file-size=16M",
                "--innodb-flush-method=nosync",
            ])
            .args([
                "--innodb-flush-log-at-trx-commit=2",
                "--max-allowed-packet=64M",
                "--performance-schema=OFF",
            ])
            .args(options)
            // Signals for the tests are not for the keeper, who has to clean up after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(failed)?;
        let mut server = Self { directory: directory.to_path_buf(), keeper };
        server.wait()?;
        Ok(server)
    }

    /// How to reach it as root.
    pub fn options(&self, database: Option<&str>) -> ConnectOptions {
        ConnectOptions {
            endpoint: Endpoint::Socket(self.directory.join("s")),
            user: "root".to_owned(),
            password: None,
            database: database.map(str::to_owned),
            tls: None,
        }
    }

    /// Process id of the server itself, for tests that stop it for a while.
    ///
    /// # Errors
    /// It has not written its pid file.
    pub fn pid(&self) -> io::Result<u32> {
        let text = fs::read_to_string(self.directory.join("pid"))?;
        text.trim().parse().map_err(io::Error::other)
    }

    fn wait(&mut self) -> Result<(), ServerError> {
        let began = Instant::now();
        while began.elapsed() < START {
            if std::os::unix::net::UnixStream::connect(self.directory.join("s")).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.keeper.try_wait() {
                return Err(ServerError::Failed(format!("its keeper ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        Err(ServerError::Failed(log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The keeper ends by itself; waiting makes sure that the files are gone.
        let _ = self.keeper.wait();
    }
}

/// Where servers have their files: in memory where there is room, since tests make tables all the time and none outlives
/// its test. `TMPDIR` decides otherwise.
fn place() -> PathBuf {
    let free = rustix::fs::statvfs(MEMORY).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    let roomy = free >= ROOM && available() >= 2 * ROOM && std::env::var_os("TMPDIR").is_none();
    if roomy { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

/// Memory that programs can still have, bytes. Nothing where the kernel does not say.
fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

fn failed(error: impl std::fmt::Display) -> ServerError {
    ServerError::Failed(error.to_string())
}
