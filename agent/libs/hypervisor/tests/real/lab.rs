//! A libvirtd of the test's own, in a mount namespace of its own, with everything below one temporary directory.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use sf_model::InstanceId;

use super::executable;

/// What the guest prints when it is up.
pub(crate) const MARKER: &str = "GUEST-IS-UP";

const NEEDED: [&str; 6] = [
    "/usr/sbin/libvirtd",
    "/usr/sbin/virtlogd",
    "/usr/bin/qemu-system-x86_64",
    "/usr/bin/unshare",
    "/usr/bin/nsenter",
    "/bin/busybox",
];

/// libvirt's directories, and where they are below the lab.
const SPACE: &str = r#"
mount --make-rslave /
mount -t tmpfs tmpfs /run
mkdir -p /run/libvirt /var/log/libvirt /var/cache/libvirt /var/lib/libvirt /etc/libvirt
mount --bind "$1/run" /run/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$1/cache" /var/cache/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/etc" /etc/libvirt
echo ready
exec sleep infinity
"#;

const QEMU_CONF: &str = "user = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\nremember_owner = 0\n\
    security_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\nstdio_handler = \"logd\"\n";

const LIBVIRTD_CONF: &str = "auth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n";

const INIT: &str = "#!/bin/busybox sh\n/bin/busybox mkdir -p /proc\n/bin/busybox mount -t proc proc /proc\n\
    echo GUEST-IS-UP\n/bin/busybox grep -q sf_off /proc/cmdline && /bin/busybox poweroff -f\n\
    while :; do /bin/busybox sleep 1; done\n";

/// The kernel that guests boot: the one that is named, or one of this machine.
fn kernel() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SF_TEST_KERNEL") {
        return Some(PathBuf::from(named));
    }
    let mut found = std::fs::read_dir("/boot").ok()?.flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().contains("vmlinuz-"))
}

pub(crate) struct Lab {
    dir: tempfile::TempDir,
    space: Child,
    kernel: PathBuf,
}

impl Lab {
    /// `None`: something is missing here, and it was said what.
    pub(crate) fn start() -> Option<Self> {
        let missing = NEEDED.iter().find(|path| !Path::new(path).exists());
        let kernel = kernel();
        let reason = match (missing, &kernel) {
            _ if std::env::consts::ARCH != "x86_64" => Some("the guest is made for x86_64".to_owned()),
            _ if !Uid::effective().is_root() => Some("a private libvirtd needs root".to_owned()),
            (Some(path), _) => Some(format!("{path} is not installed")),
            (None, None) => Some("no kernel in /boot, and SF_TEST_KERNEL names none".to_owned()),
            _ => None,
        };
        if let Some(reason) = reason {
            eprintln!("skipped: {reason}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for sub in ["run", "log", "cache", "lib", "etc", "store"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("etc/qemu.conf"), QEMU_CONF).unwrap();
        std::fs::write(dir.path().join("etc/libvirtd.conf"), LIBVIRTD_CONF).unwrap();
        let mut space = Command::new("unshare")
            .args(["-m", "sh", "-ec", SPACE, "space"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if !said_ready(&mut space) {
            let _ = space.kill();
            let _ = space.wait();
            eprintln!("skipped: mount namespaces are not allowed here");
            return None;
        }
        let lab = Self { dir, space, kernel: kernel.unwrap() };
        lab.make_initrd();
        lab.daemon("virtlogd", &[]);
        lab.start_libvirtd();
        Some(lab)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.dir.path().join("run/libvirt-sock").display())
    }

    /// A port nobody listens on.
    pub(crate) fn port(&self) -> u16 {
        TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }

    /// The document, booting the lab's kernel directly instead of a disk.
    pub(crate) fn with_kernel(&self, document: &str, command_line: &str) -> String {
        let boot = format!(
            "<kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 panic=-1 {command_line}</cmdline><bootmenu",
            self.kernel.display(),
            self.dir.path().join("initrd").display()
        );
        document.replacen("<bootmenu", &boot, 1)
    }

    pub(crate) fn start_libvirtd(&self) {
        self.daemon("libvirtd", &[]);
        let socket = self.dir.path().join("run/libvirt-sock");
        until("libvirtd answers", || UnixStream::connect(&socket).is_ok());
    }

    pub(crate) fn stop_libvirtd(&self) {
        self.end("libvirtd");
    }

    /// Kills the guest's QEMU as the kernel would for want of memory.
    pub(crate) fn kill_qemu(&self, instance: InstanceId) {
        let pid = self.pid(&format!("qemu/sf:{instance}.pid")).unwrap();
        kill(pid, Signal::SIGKILL).unwrap();
    }

    /// Ends everything this lab started, by pid.
    pub(crate) fn finish(mut self) {
        self.end_all();
    }

    fn end_all(&mut self) {
        self.end("libvirtd");
        self.end("virtlogd");
        let _ = self.space.kill();
        let _ = self.space.wait();
    }

    fn daemon(&self, name: &str, more: &[&str]) {
        let started = Command::new("nsenter")
            .args(["-m", "-t", &self.space.id().to_string(), &format!("/usr/sbin/{name}"), "--daemon"])
            .arg(format!("--pid-file=/run/libvirt/{name}.pid"))
            .args(more)
            .output()
            .unwrap();
        assert!(started.status.success(), "{name}: {}", String::from_utf8_lossy(&started.stderr));
    }

    fn end(&self, name: &str) {
        let Some(pid) = self.pid(&format!("{name}.pid")) else { return };
        let _ = kill(pid, Signal::SIGTERM);
        until(&format!("{name} ends"), || kill(pid, None).is_err());
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        let text = std::fs::read_to_string(self.dir.path().join("run").join(name)).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    fn make_initrd(&self) {
        let root = self.dir.path().join("initrd.d");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        std::fs::write(root.join("init"), INIT).unwrap();
        executable(&root.join("init"));
        let pack = "cd \"$1\" && find . | busybox cpio -o -H newc > ../initrd";
        let packed = Command::new("sh").args(["-ec", pack, "pack"]).arg(&root).output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A test that failed half way leaves guests behind; they are ours and known by pid file.
        let guests = std::fs::read_dir(self.dir.path().join("run/qemu")).into_iter().flatten().flatten();
        for file in guests.filter(|file| file.path().extension().is_some_and(|it| it == "pid")) {
            if let Some(pid) = self.pid(&format!("qemu/{}", file.file_name().to_string_lossy())) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        self.end_all();
    }
}

fn said_ready(space: &mut Child) -> bool {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    let Some(stdout) = space.stdout.take() else { return false };
    BufReader::new(stdout).read_line(&mut line).is_ok() && line == "ready\n"
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
