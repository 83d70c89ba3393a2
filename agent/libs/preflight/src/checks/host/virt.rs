//! Whether guests can run.

use std::cmp::Ordering;
use std::path::Path;

use sf_units::binary::compare;

use super::{value, version};
use crate::finding::{Finding, Level};
use crate::subject::Subject;

const LIBVIRT: &str = "8.0";
const QEMU: &str = "6.2";
const FIRMWARE: &str = "/usr/share/qemu/firmware";
const GUESTS: &str = "/etc/default/libvirt-guests";

/// PF-KVM.
pub(in crate::checks) fn kvm(subject: &Subject) -> Vec<Finding> {
    let state = subject.probes.virt();
    if subject.input.settings.packages_pending && state.lacks_emulator {
        return vec![Finding::skip("QEMU is not installed yet, with which it would be tried")];
    }
    let why = state.failure.unwrap_or_default();
    let found = match state.virt_type.as_deref() {
        Some("kvm") => Finding::pass("kvm"),
        Some(other) => Finding::warn(other)
            .want("kvm")
            .why(if why.is_empty() { "guests are emulated and slow".to_owned() } else { why })
            .fix("enable virtualisation in the firmware of the machine"),
        None => Finding::fail("no acceleration").want("kvm").why(why).fix(
            "enable virtualisation in the firmware of the machine and load its kernel module, or set sf_allow_emulation: true",
        ),
    };
    vec![found]
}

/// PF-VIRT.
pub(in crate::checks) fn virt(subject: &Subject) -> Vec<Finding> {
    let libvirt = program(subject, "libvirtd", LIBVIRT, "libvirt-daemon-system");
    let answers = answers(subject, &libvirt);
    let mut found = vec![
        libvirt,
        program(subject, "qemu-system-x86_64", QEMU, "qemu-system-x86"),
        program(subject, "qemu-img", QEMU, "qemu-utils"),
        answers,
    ];
    if !subject.system.exists(Path::new(FIRMWARE)) {
        found.push(missing(subject, "firmware for UEFI guests", "ovmf"));
    }
    if found.iter().any(|finding| finding.level != Level::Skip) {
        found.extend(guests(subject));
    }
    found
}

fn program(subject: &Subject, name: &str, least: &str, package: &str) -> Finding {
    let text = match subject.system.output(name, &["--version"]) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return missing(subject, name, package),
        Err(error) => return Finding::skip(error.to_string()),
    };
    match version(&text) {
        None => Finding::skip(format!("the version of {name} was not understood")),
        Some(found) if compare(found, least) == Ordering::Less => Finding::fail(format!("{name} {found}"))
            .want(format!("{name} {least} or later"))
            .why("older versions lack devices that guests are given")
            .fix(format!("install {package} from a supported release")),
        Some(found) => Finding::pass(format!("{name} {found}")),
    }
}

fn missing(subject: &Subject, what: &str, package: &str) -> Finding {
    if subject.input.settings.packages_pending {
        return Finding::skip(format!("{what} is not here yet: {package} is not installed"));
    }
    Finding::fail(format!("{what} is missing"))
        .want(what)
        .why("guests cannot run without it")
        .fix(format!("install {package}, or let the role do it (sf_manage_packages)"))
}

/// A connection alone would prove nothing: systemd accepts it also for a libvirtd that cannot start.
fn answers(subject: &Subject, libvirt: &Finding) -> Finding {
    match subject.probes.libvirt() {
        Ok(version) => Finding::pass(format!("libvirt {version} answers")),
        Err(_) if subject.input.settings.packages_pending && libvirt.level == Level::Skip => {
            Finding::skip("libvirt is not installed yet")
        }
        Err(error) => Finding::fail(format!("libvirt does not answer: {error}"))
            .want("libvirt answers")
            .why("guests are started through it")
            .fix("systemctl start libvirtd.socket, and look at `journalctl -u libvirtd`"),
    }
}

/// The distribution's own service would suspend guests behind our back, and start them before their networks exist.
fn guests(subject: &Subject) -> Option<Finding> {
    // Without the file its built-in defaults hold, which are the ones that hurt.
    let text = subject.system.read(Path::new(GUESTS)).unwrap_or_default();
    let suspends = value(&text, "ON_SHUTDOWN", '=').unwrap_or("suspend") == "suspend";
    let starts = value(&text, "ON_BOOT", '=').unwrap_or("start") == "start";
    (suspends || starts).then(|| {
        Finding::warn("libvirt-guests suspends guests at shutdown or starts them at boot")
            .want("ON_BOOT=ignore and ON_SHUTDOWN=shutdown")
            .why("guests are started by this product, after their networks")
            .fix(format!("set both in {GUESTS}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::VirtState;
    use crate::system::fake::{FakeProbes, FakeSystem, probes, subject, subject_of};

    #[test]
    fn what_kvm_lacks_is_said() {
        let with = |virt_type: Option<&str>| {
            let mut subject = subject(&[]);
            let virt = VirtState {
                virt_type: virt_type.map(str::to_owned),
                failure: Some("device: no".into()),
                ..probes().virt
            };
            subject.probes = Box::new(FakeProbes { virt, ..probes() });
            kvm(&subject).remove(0)
        };
        assert_eq!(with(Some("kvm")).level, Level::Pass);
        assert_eq!((with(Some("qemu")).level, with(Some("qemu")).why.as_str()), (Level::Warn, "device: no"));
        assert_eq!(with(None).level, Level::Fail);
    }

    #[test]
    fn missing_old_and_silent_parts_fail() {
        let mut system = FakeSystem::default();
        system.programs.remove("qemu-img");
        system.programs.insert("qemu-system-x86_64".into(), "QEMU emulator version 5.2.0".into());
        system.files.remove(Path::new(FIRMWARE));
        let mut subject = subject_of(system, &[]);
        // As it is where the socket is systemd's and the daemon behind it ends at once.
        subject.probes = Box::new(FakeProbes { libvirt: Err("End of file".into()), ..probes() });
        let found = virt(&subject);
        let failed: Vec<&str> =
            found.iter().filter(|f| f.level == Level::Fail).map(|f| f.got.as_str()).collect();
        assert_eq!(failed.len(), 4, "{failed:?}");
    }

    #[test]
    fn what_is_to_be_installed_is_skipped_and_what_is_too_old_is_not() {
        let mut bare = FakeSystem::default();
        for program in ["libvirtd", "qemu-system-x86_64", "qemu-img"] {
            bare.programs.remove(program);
        }
        bare.files.remove(Path::new(FIRMWARE));
        let mut subject = subject_of(bare.clone(), &[]);
        let mut hopeless = probes();
        hopeless.virt =
            VirtState { virt_type: None, failure: Some("flags: no vmx".into()), lacks_emulator: false };
        let untried = VirtState { lacks_emulator: true, ..hopeless.virt.clone() };
        subject.input.settings.packages_pending = true;
        let absent = || Err("Failed to connect socket".to_owned());
        subject.probes = Box::new(FakeProbes { virt: untried, libvirt: absent(), ..probes() });
        assert_eq!(kvm(&subject)[0].level, Level::Skip);
        let found = virt(&subject);
        assert!(found.len() == 5 && found.iter().all(|f| f.level == Level::Skip), "{found:#?}");
        assert_eq!(found[0].why, "libvirtd is not here yet: libvirt-daemon-system is not installed");

        subject.probes = Box::new(hopeless);
        assert_eq!(kvm(&subject)[0].level, Level::Fail, "no package gives the processor what it lacks");
        bare.programs.insert("qemu-system-x86_64".into(), "QEMU emulator version 5.2.0".into());
        let mut old = subject_of(bare, &[]);
        old.input.settings.packages_pending = true;
        assert_eq!(virt(&old)[1].level, Level::Fail);
    }

    #[test]
    fn the_guests_of_libvirt_are_left_to_us() {
        let mut system = FakeSystem::default();
        system.files.remove(Path::new(GUESTS));
        let found = virt(&subject_of(system, &[]));
        assert_eq!(found.last().map(|f| f.level), Some(Level::Warn));
    }
}
