//! QEMU processes and their logs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send_signal};
use nix::unistd::Pid;
use sf_model::InstanceId;
use sf_protos::privexec::FailureCode;

use crate::failure::{Doing, OperationError, Outcome};
use crate::settings::Settings;

/// Bytes of the log that are looked at.
const TAIL: u64 = 32 * 1024;
const MAX_LINES: u32 = 100;
/// Instances of one listing: the uuids have to fit into a frame.
const MAX_LISTED: usize = 500;

/// Kills the domain's QEMU process. False: there is none.
pub(crate) fn kill(settings: &Settings, instance: InstanceId) -> Outcome<bool> {
    let Some(pid) = find(settings, instance) else { return Ok(false) };
    match send_signal(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(error) => Err(error).doing("kill the QEMU process"),
    }
}

/// The domain's QEMU process. The pid comes from libvirt's pid file and the process must carry the domain's uuid on its
/// command line; a name alone never decides.
fn find(settings: &Settings, instance: InstanceId) -> Option<i32> {
    let name = format!("sf:{instance}.pid");
    let pid = settings
        .libvirt_pid_paths
        .iter()
        .filter_map(|directory| std::fs::read_to_string(directory.join(&name)).ok())
        .find_map(|text| text.trim().parse::<i32>().ok().filter(|pid| *pid > 1))?;
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let ours = is_domain(&command_line, instance);
    if !ours {
        tracing::warn!(pid, %instance, "the pid file names another process, which is left alone");
    }
    ours.then_some(pid)
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
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Instances whose domains have logs, in order after `after`, and whether there are more.
pub(crate) fn logs(settings: &Settings, after: Option<InstanceId>) -> Outcome<(Vec<InstanceId>, bool)> {
    let found: BTreeSet<InstanceId> =
        log_files(settings)?.into_iter().map(|(_, instance)| instance).collect();
    let mut listed: Vec<InstanceId> =
        found.into_iter().filter(|instance| after.is_none_or(|after| *instance > after)).collect();
    let more = listed.len() > MAX_LISTED;
    listed.truncate(MAX_LISTED);
    Ok((listed, more))
}

/// Removes the log of a domain and its rotated parts.
pub(crate) fn remove_logs(settings: &Settings, instance: InstanceId) -> Outcome<()> {
    if find(settings, instance).is_some() {
        return Err(OperationError::new(
            FailureCode::Refused,
            "the domain's process runs and writes its log",
        ));
    }
    for (path, _) in log_files(settings)?.into_iter().filter(|(_, of)| *of == instance) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).doing("remove a QEMU log");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Logs of our domains: `sf:<uuid>.log`, and with a suffix those that were rotated.
fn log_files(settings: &Settings) -> Outcome<Vec<(PathBuf, InstanceId)>> {
    let entries = match std::fs::read_dir(&settings.libvirt_log_path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing("list the QEMU logs"),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.doing("list the QEMU logs")?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(instance) = log_owner(name) {
            files.push((path, instance));
        }
    }
    Ok(files)
}

fn log_owner(name: &str) -> Option<InstanceId> {
    let (uuid, rest) = name.strip_prefix("sf:")?.split_once('.')?;
    rest.starts_with("log").then(|| uuid.parse().ok())?
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

    #[test]
    fn a_log_belongs_to_the_instance_in_its_name() {
        let instance = InstanceId::random();
        for suffix in ["log", "log.0", "log-20260101.gz"] {
            assert_eq!(log_owner(&format!("sf:{instance}.{suffix}")), Some(instance), "{suffix}");
        }
        for name in
            ["web.log", "sf:web.log", "sf:", &format!("{instance}.log"), &format!("sf:{instance}.txt")]
        {
            assert_eq!(log_owner(name), None, "{name}");
        }
    }
}
