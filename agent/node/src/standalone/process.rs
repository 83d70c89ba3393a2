//! Processes that are not our children any more: found by pid file, told from strangers by their program.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(50);

/// The process in a pid file, if it lives and its command line begins with a program of this name.
pub(super) fn alive(pid_file: &Path, program: &str) -> Option<Pid> {
    let text = fs::read_to_string(pid_file).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?);
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = command.split(|byte| *byte == 0).next()?;
    let name = Path::new(std::str::from_utf8(first).ok()?).file_name()?.to_str()?;
    // A zombie has no command line, so it does not count as alive.
    (name == program).then_some(pid)
}

/// Asks a process to end and waits; kills it when it does not.
pub(super) async fn end(pid: Pid, patience: Duration) {
    let deadline = Instant::now() + patience;
    let mut signal = Signal::SIGTERM;
    // A stopped process acts on the signal only when it runs again.
    let _ = kill(pid, Signal::SIGCONT);
    while kill(pid, signal) != Err(Errno::ESRCH) && !is_zombie(pid) {
        if Instant::now() > deadline {
            signal = Signal::SIGKILL;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Polls until `holds`; whether it did in time.
pub(super) async fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether somebody accepts on a unix socket.
pub(super) fn accepts(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// The end of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| format!("\n  {line}")).collect()
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}
