//! Init, distribution, kernel, and the executable.

use std::cmp::Ordering;

use sf_units::Role;
use sf_units::binary::{self, compare};

use super::{read, value, version};
use crate::finding::Finding;
use crate::subject::Subject;

/// Distributions that are tested.
const SUPPORTED: [(&str, &str); 4] =
    [("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")];
const SUPPORTED_TEXT: &str = "Debian 12 or 13, Ubuntu 22.04 or 24.04";
const SYSTEMD: &str = "249";
const KERNEL: &str = "5.15";

/// PF-INIT.
pub(in crate::checks) fn init(subject: &Subject) -> Vec<Finding> {
    let found = match read(subject, "/proc/1/comm") {
        Ok(name) if name.trim() == "systemd" => Finding::pass("systemd"),
        Ok(name) => Finding::fail(name.trim())
            .want("systemd")
            .why("daemons are units of systemd")
            .fix("boot the host with systemd"),
        Err(error) => Finding::skip(error),
    };
    vec![found]
}

/// PF-OS.
pub(in crate::checks) fn os(subject: &Subject) -> Vec<Finding> {
    let mut found = vec![distribution(subject)];
    let systemd =
        subject.system.output("systemctl", &["--version"]).map_err(|error| format!("systemctl: {error}"));
    found.push(at_least("systemd", systemd, SYSTEMD));
    if subject.input.is(Role::Hypervisor) {
        found.push(at_least("kernel", read(subject, "/proc/sys/kernel/osrelease"), KERNEL));
    }
    found
}

fn distribution(subject: &Subject) -> Finding {
    let text = match read(subject, "/etc/os-release") {
        Ok(text) => text,
        Err(error) => return Finding::skip(error),
    };
    let (id, release) = (value(&text, "ID", '='), value(&text, "VERSION_ID", '='));
    let name = value(&text, "PRETTY_NAME", '=').unwrap_or("unknown");
    if SUPPORTED.iter().any(|(known, version)| (id, release) == (Some(*known), Some(*version))) {
        return Finding::pass(name);
    }
    Finding::fail(name)
        .want(SUPPORTED_TEXT)
        .why("package names and versions are known for these only")
        .fix("use a supported release, or set sf_allow_unsupported_os")
        .unless(subject.input.settings.allow_unsupported_os)
}

fn at_least(what: &str, text: Result<String, String>, least: &str) -> Finding {
    let text = match text {
        Ok(text) => text,
        Err(error) => return Finding::skip(error),
    };
    match version(text.trim()) {
        None => Finding::skip(format!("the version of {what} was not understood: {}", text.trim())),
        Some(found) if compare(found, least) == Ordering::Less => Finding::fail(format!("{what} {found}"))
            .want(format!("{what} {least} or later"))
            .why("older versions lack what is used")
            .fix("use a supported release of the distribution"),
        Some(found) => Finding::pass(format!("{what} {found}")),
    }
}

/// PF-BIN. This process is the executable, so that it runs at all is the proof; what it needs is said for the record.
pub(in crate::checks) fn binary(_: &Subject) -> Vec<Finding> {
    let needs = binary::needs(std::path::Path::new("/proc/self/exe"));
    let found = match needs {
        Ok(needs) => Finding::pass(format!(
            "{}, runs with glibc {} and libvirt {}",
            needs.arch,
            needs.glibc.as_deref().unwrap_or("none"),
            needs.libvirt.as_deref().unwrap_or("none")
        )),
        Err(error) => Finding::skip(error.to_string()),
    };
    vec![found]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeSystem, subject_of};

    fn with(path: &str, text: &str) -> Subject {
        let mut system = FakeSystem::default();
        system.files.insert(path.into(), text.into());
        subject_of(system, &[])
    }

    #[test]
    fn another_init_is_refused() {
        assert_eq!(init(&with("/proc/1/comm", "runit\n"))[0].level, Level::Fail);
        assert_eq!(init(&with("/proc/1/comm", "systemd\n"))[0].level, Level::Pass);
    }

    #[test]
    fn an_unknown_distribution_is_refused_unless_allowed() {
        let mut subject =
            with("/etc/os-release", "ID=debian\nVERSION_ID=\"11\"\nPRETTY_NAME=\"Debian 11\"\n");
        assert_eq!((os(&subject)[0].level, os(&subject)[0].got.as_str()), (Level::Fail, "Debian 11"));
        subject.input.settings.allow_unsupported_os = true;
        assert_eq!(os(&subject)[0].level, Level::Warn);
    }

    #[test]
    fn old_parts_are_refused_and_unreadable_ones_skipped() {
        let kernel = os(&with("/proc/sys/kernel/osrelease", "5.10.0-9-amd64\n"));
        assert_eq!(kernel[2].level, Level::Fail);
        let mut system = FakeSystem::default();
        system.programs.remove("systemctl");
        system.files.remove(std::path::Path::new("/etc/os-release"));
        let blind = os(&subject_of(system, &[]));
        assert_eq!((blind[0].level, blind[1].level), (Level::Skip, Level::Skip));
    }
}
