//! QEMU processes and their logs.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send_signal};
use nix::unistd::Pid;
use sf_model::InstanceId;

use crate::failure::{Doing, Outcome};
use crate::settings::Settings;

/// Bytes of the log that are looked at.
const TAIL: u64 = 32 * 1024;
const MAX_LINES: u32 = 100;

/// Kills the domain's QEMU process. The pid comes from libvirt's pid file and the process must carry the domain's
/// uuid on its command line; a name alone never decides. False: there is none.
pub(crate) fn kill(settings: &Settings, instance: InstanceId) -> Outcome<bool> {
    let name = format!("sf:{instance}.pid");
    let pid = settings
        .libvirt_pid_paths
        .iter()
        .filter_map(|directory| std::fs::read_to_string(directory.join(&name)).ok())
        .find_map(|text| text.trim().parse::<i32>().ok().filter(|pid| *pid > 1));
    let Some(pid) = pid else { return Ok(false) };
    let Ok(command_line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return Ok(false) };
    if !is_domain(&command_line, instance) {
        tracing::warn!(pid, %instance, "the pid file names another process, which is left alone");
        return Ok(false);
    }
    match send_signal(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(error) => Err(error).doing("kill the QEMU process"),
    }
}

/// Whether a command line is that of the instance's QEMU: it is given its uuid with `-uuid`.
fn is_domain(command_line: &[u8], instance: InstanceId) -> bool {
    let uuid = instance.to_string();
    let mut arguments = command_line.split(|byte| *byte == 0);
    arguments.any(|argument| argument == b"-uuid") && arguments.next() == Some(uuid.as_bytes())
}

/// The last lines of the domain's log; none if there is no log.
pub(crate) fn log_tail(settings: &Settings, instance: InstanceId, lines: u32) -> Outcome<Vec<String>> {
    let path = settings.libvirt_log_path.join(format!("sf:{instance}.log"));
    let text = read_tail(&path).doing("read the QEMU log")?;
    let wanted = usize::try_from(lines.min(MAX_LINES)).unwrap_or(0);
    let all: Vec<&str> = text.lines().collect();
    Ok(all.iter().skip(all.len().saturating_sub(wanted)).map(|line| (*line).to_owned()).collect())
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_was_started_with_the_uuid_is_the_domain() {
        let instance = InstanceId::random();
        let line =
            |uuid: &str| format!("/usr/bin/qemu\0-name\0guest={uuid}\0-uuid\0{uuid}\0-m\x001").into_bytes();
        assert!(is_domain(&line(&instance.to_string()), instance));
        assert!(!is_domain(&line(&InstanceId::random().to_string()), instance));
        assert!(!is_domain(format!("grep\0{instance}").as_bytes(), instance));
        assert!(!is_domain(b"", instance));
    }
}
