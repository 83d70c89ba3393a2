//! Level C: QEMU boots a 512-byte boot sector that reports through the debug-exit port.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sf_model::disk::MachineType;

use crate::domain::Accelerator;

/// Where acceleration works, firmware and sector take a few hundred milliseconds.
pub(super) const LIMIT: Duration = Duration::from_secs(3);

/// Exit status of QEMU when the sector wrote [`CODE`]: twice the byte, plus one.
const EXPECTED_STATUS: i32 = CODE as i32 * 2 + 1;
const CODE: u8 = 0x21;
const SECTOR: usize = 512;
/// Firmware boots from no disk smaller than a cylinder.
const DISK: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(5);

/// Boots the sector and answers how long it took.
pub(super) fn run(
    qemu: &Path,
    machine: MachineType,
    accelerator: Accelerator,
    limit: Duration,
) -> Result<Duration, String> {
    let image = boot_sector_file().map_err(|error| format!("no file for the boot sector: {error}"))?;
    let (accel, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm", "host,migratable=off"),
        Accelerator::Qemu => ("tcg", "max"),
    };
    let started = Instant::now();
    let mut child = Command::new(qemu)
        .env_clear()
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-m", "16"])
        .args(["-machine", &format!("{machine},accel={accel}"), "-cpu", cpu])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .args([
            "-drive",
            &format!("if=none,id=canary,format=raw,readonly=on,file={}", image.path().display()),
        ])
        .args(["-device", "virtio-blk-pci,drive=canary,bootindex=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", qemu.display()))?;
    let status = wait(&mut child, limit);
    let took = started.elapsed();
    match status {
        Some(status) if status.code() == Some(EXPECTED_STATUS) => Ok(took),
        Some(status) => Err(format!("the test guest on {machine} failed: QEMU ended with {status}")),
        None => Err(format!("the test guest on {machine} did not boot within {} s", limit.as_secs())),
    }
}

/// Waits up to `limit`, then kills. There is no wait with a deadline in the standard library.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// A file that is removed when dropped.
struct SectorFile(std::path::PathBuf);

impl SectorFile {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SectorFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn boot_sector_file() -> std::io::Result<SectorFile> {
    let path = std::env::temp_dir().join(format!("sf-canary-{}", uuid::Uuid::new_v4()));
    let mut file = std::fs::File::create_new(&path)?;
    let guard = SectorFile(path);
    file.write_all(&boot_sector())?;
    file.set_len(DISK)?;
    Ok(guard)
}

/// `mov dx,0xf4; mov al,CODE; out dx,al; cli; hlt; jmp` and the boot signature.
fn boot_sector() -> Vec<u8> {
    let mut sector = vec![0xba, 0xf4, 0x00, 0xb0, CODE, 0xee, 0xfa, 0xf4, 0xeb, 0xfd];
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    fn the_sector_boots_under_emulation_on_both_machines() {
        let qemu = Path::new("/usr/bin/qemu-system-x86_64");
        if !qemu.exists() {
            eprintln!("skipped: qemu-system-x86_64 is not installed");
            return;
        }
        for machine in [MachineType::Pc, MachineType::Q35] {
            run(qemu, machine, Accelerator::Qemu, Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn an_emulator_that_does_nothing_fails_the_test() {
        let refused = run(Path::new("/bin/true"), MachineType::Pc, Accelerator::Kvm, LIMIT).unwrap_err();
        assert!(refused.contains("QEMU ended"), "{refused}");
    }
}
