//! Processes that are not our children any more: found by pid file, told from strangers by their program and by what they use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(50);

/// The process in a pid file, if it lives, its command line begins with a program of this name, and it is one of `ours`: after
/// a boot the number may be that of the host's own server.
pub(super) fn alive(pid_file: &Path, program: &str, ours: impl FnOnce(Pid) -> bool) -> Option<Pid> {
    let text = fs::read_to_string(pid_file).ok()?;
    let pid = Pid::from_raw(text.trim().parse().ok()?);
    let words = command_line(pid)?;
    let name = Path::new(words.first()?).file_name()?.to_str()?;
    (name == program && ours(pid)).then_some(pid)
}

/// Whether a path as a process sees it is this directory, however either is spelt.
pub(super) fn sees(pid: Pid, path: &str, directory: &Path) -> bool {
    let of = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let seen = of(Path::new(&format!("/proc/{pid}/{path}")));
    seen.is_some() && seen == of(directory)
}

/// A zombie has no command line, so it does not count as alive.
fn command_line(pid: Pid) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (!words.is_empty()).then_some(words)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_pid_file_is_no_proof() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("server.pid");
        let mut server = std::process::Command::new("tail")
            .args(["-f", "/dev/null"])
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        let pid = server.id();
        // The kernel lets the parent go on a moment before it has the child's words.
        while command_line(Pid::from_raw(pid.try_into().unwrap())).is_none() {
            assert_eq!(server.try_wait().unwrap(), None, "it has ended");
            std::thread::yield_now();
        }
        fs::write(&pid_file, format!("{pid}\n")).unwrap();
        let found = |program: &str, at: &Path| alive(&pid_file, program, |pid| sees(pid, "cwd", at));
        let other_spelling = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &other_spelling).unwrap();
        let whose = [
            found("tail", directory.path()),
            found("tail", &other_spelling),
            found("mariadbd", directory.path()),
            found("tail", Path::new("/")),
            found("tail", &directory.path().join("missing")),
        ];
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(whose.map(|pid| pid.is_some()), [true, true, false, false, false]);
        assert_eq!(found("tail", directory.path()), None, "it has ended");
    }
}
