//! The helper behind its real socket, with the real image tool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail loudly and says why it is skipped"
)]

use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sf_daemon_privexec::{Settings, serve};
use sf_model::{BlobId, InstanceId};
use sf_privileged::{DiskOrder, PrivexecClient, PrivilegedError};
use sf_protos::privexec::image_file::Place;
use sf_protos::privexec::{DiskKind, FailureCode, ImageFormat, StagedFile, StagingPurpose};
use sf_runtime::Shutdown;

const QEMU_IMG: &str = "/usr/bin/qemu-img";
const MIB: u64 = 1 << 20;

struct Helper {
    dir: tempfile::TempDir,
    client: PrivexecClient,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Helper {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The tool's user must reach nothing here by path: only descriptors are handed to it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let store = dir.path().join("store");
        for sub in ["image_cache", "blobs/.staging", "uploads"] {
            std::fs::create_dir_all(store.join(sub)).unwrap();
        }
        let socket = dir.path().join("privexec.sock");
        let settings = Settings {
            socket: socket.clone(),
            storage_path: store,
            libvirt_log_path: dir.path().join("log"),
            libvirt_pid_paths: vec![dir.path().join("pids")],
            qemu_img: QEMU_IMG.into(),
            image_users: vec!["nobody".into()],
        };
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { serve(settings, stop).await.unwrap() });
        let helper = Self { dir, client: PrivexecClient::new(&socket).for_request("test"), shutdown, task };
        let ready = async {
            while helper.client.read_console(InstanceId::random()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready).await.unwrap();
        helper
    }

    fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name)
    }

    fn file(&self, instance: InstanceId, name: &str) -> PathBuf {
        self.store(&format!("instances/{instance}/{name}"))
    }

    /// A cached image of 16 MiB whose first sector says `base`.
    fn cached(&self) -> BlobId {
        let blob = BlobId::random();
        let raw = self.dir.path().join("raw");
        let mut file = std::fs::File::create(&raw).unwrap();
        file.write_all(b"base").unwrap();
        file.set_len(16 * MIB).unwrap();
        let target = self.store(&format!("image_cache/{blob}.qcow2"));
        qemu_img(&["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), target.to_str().unwrap()]);
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o444)).unwrap();
        blob
    }

    async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
        assert!(!self.dir.path().join("privexec.sock").exists());
    }
}

fn qemu_img(arguments: &[&str]) -> String {
    let output = Command::new(QEMU_IMG).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn info(path: &Path) -> serde_json::Value {
    serde_json::from_str(&qemu_img(&["info", "--output=json", "-f", "qcow2", path.to_str().unwrap()]))
        .unwrap()
}

fn no_tool() -> bool {
    let missing = !Path::new(QEMU_IMG).exists();
    if missing {
        eprintln!("skipped: {QEMU_IMG} is not installed");
    }
    missing
}

fn code(error: PrivilegedError) -> FailureCode {
    match error {
        PrivilegedError::Failed { code, .. } => code,
        other => panic!("{other}"),
    }
}

fn order(instance: InstanceId, kind: DiskKind, blob: Option<BlobId>, virtual_size: u64) -> DiskOrder {
    DiskOrder { instance, device: "vda".into(), kind, blob, virtual_size, replace: false }
}

#[tokio::test]
async fn an_overlay_is_made_once_confirmed_later_and_never_overwritten_after_boot() {
    if no_tool() {
        return;
    }
    let helper = Helper::start().await;
    let (client, instance, blob) = (&helper.client, InstanceId::random(), helper.cached());
    let wanted = order(instance, DiskKind::Overlay, Some(blob), 64 * MIB);
    assert_eq!(code(client.create_instance_disk(&wanted).await.unwrap_err()), FailureCode::Missing);
    client.prepare_instance_dir(instance).await.unwrap();
    assert!(client.create_instance_disk(&wanted).await.unwrap().created);
    assert!(!client.create_instance_disk(&wanted).await.unwrap().created);

    let path = helper.file(instance, "vda");
    qemu_img(&["check", "-f", "qcow2", path.to_str().unwrap()]);
    let facts = info(&path);
    assert_eq!(facts["virtual-size"], 64 * MIB);
    assert_eq!(facts["cluster-size"], 2 * MIB);
    assert_eq!(facts["backing-filename-format"], "qcow2");
    assert!(facts["backing-filename"].as_str().unwrap().ends_with(&format!("image_cache/{blob}.qcow2")));
    // What the guest would read comes from the base.
    let flat = helper.dir.path().join("flat");
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", path.to_str().unwrap(), flat.to_str().unwrap()]);
    assert!(std::fs::read(&flat).unwrap().starts_with(b"base"));

    let other = DiskOrder { virtual_size: 32 * MIB, ..wanted.clone() };
    assert_eq!(code(client.create_instance_disk(&other).await.unwrap_err()), FailureCode::Mismatch);
    let replaced = DiskOrder { replace: true, ..other };
    assert!(client.create_instance_disk(&replaced).await.unwrap().created);
    let small = DiskOrder { virtual_size: 8 * MIB, ..replaced };
    assert_eq!(code(client.create_instance_disk(&small).await.unwrap_err()), FailureCode::Invalid);
    helper.stop().await;
}

#[tokio::test]
async fn blank_flat_and_linked_disks() {
    if no_tool() {
        return;
    }
    let helper = Helper::start().await;
    let (client, blob) = (&helper.client, helper.cached());
    let [blank, flat, disc] = [InstanceId::random(), InstanceId::random(), InstanceId::random()];
    for instance in [blank, flat, disc] {
        client.prepare_instance_dir(instance).await.unwrap();
    }
    client.create_instance_disk(&order(blank, DiskKind::Blank, None, 1 << 40)).await.unwrap();
    qemu_img(&["check", "-f", "qcow2", helper.file(blank, "vda").to_str().unwrap()]);
    assert_eq!(info(&helper.file(blank, "vda"))["virtual-size"], 1u64 << 40);

    let wanted = order(flat, DiskKind::Flat, Some(blob), 24 * MIB);
    assert!(client.create_instance_disk(&wanted).await.unwrap().created);
    assert!(!client.create_instance_disk(&wanted).await.unwrap().created);
    let facts = info(&helper.file(flat, "vda"));
    assert_eq!(facts["virtual-size"], 24 * MIB);
    assert!(facts.get("backing-filename").is_none());
    assert_eq!(helper.file(flat, "vda").metadata().unwrap().mode() & 0o777, 0o600);

    let iso = helper.store(&format!("image_cache/{blob}.iso"));
    std::fs::write(&iso, vec![7; 4096]).unwrap();
    let wanted = order(disc, DiskKind::Link, Some(blob), 0);
    assert_eq!(client.create_instance_disk(&wanted).await.unwrap().virtual_size, 4096);
    assert!(!client.create_instance_disk(&wanted).await.unwrap().created);
    assert_eq!(helper.file(disc, "vda").metadata().unwrap().ino(), iso.metadata().unwrap().ino());
    helper.stop().await;
}

#[tokio::test]
async fn images_are_inspected_and_converted_without_following_what_they_name() {
    if no_tool() {
        return;
    }
    let helper = Helper::start().await;
    let (client, blob) = (&helper.client, BlobId::random());
    let directory = helper.store(&format!("blobs/{}", blob.to_string().chars().take(2).collect::<String>()));
    std::fs::create_dir_all(&directory).unwrap();
    let source = directory.join(blob.to_string());
    let cached = helper.store(&format!("image_cache/{}.qcow2", helper.cached()));
    let (from, to) = (cached.to_str().unwrap(), source.to_str().unwrap());
    qemu_img(&["convert", "-f", "qcow2", "-O", "qcow2", "-c", from, to]);
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o400)).unwrap();

    let place = Place::BlobUuid(blob.to_string());
    let facts = client.inspect_image(place.clone(), ImageFormat::Qcow2).await.unwrap();
    assert_eq!((facts.virtual_size, facts.cluster_size), (16 * MIB, 65536));
    let target = StagedFile { purpose: StagingPurpose::Xcode.into(), uuid: blob.to_string() };
    let size = client
        .convert_image(place.clone(), ImageFormat::Qcow2, target.clone(), 16 * MIB, u64::MAX)
        .await
        .unwrap();
    let made = helper.store(&format!("blobs/.staging/xcode-{blob}.partial"));
    assert_eq!(made.metadata().unwrap().len(), size);
    assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o640);
    assert_eq!(info(&made)["cluster-size"], 2 * MIB);
    // The permission that was lent is taken back.
    assert_eq!(source.metadata().unwrap().mode() & 0o777, 0o400);

    // A header that names another file leads nowhere: the named content never appears in the output.
    std::fs::remove_file(&source).unwrap();
    let secret = helper.dir.path().join("secret");
    std::fs::write(&secret, [b"SECRET".as_slice(), &vec![1; 65530]].concat()).unwrap();
    let (hidden, evil) = (secret.to_str().unwrap(), source.to_str().unwrap());
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", hidden, evil, "65536"]);
    let converted = client.convert_image(place, ImageFormat::Qcow2, target, 65536, u64::MAX).await;
    if converted.is_ok() {
        assert!(!std::fs::read(&made).unwrap().windows(6).any(|window| window == b"SECRET"));
    }

    let garbage = Place::UploadUuid(blob.to_string());
    std::fs::write(helper.store(&format!("uploads/{blob}.data")), b"not an image").unwrap();
    let target = StagedFile { purpose: StagingPurpose::Xcode.into(), uuid: InstanceId::random().to_string() };
    let failed = client.convert_image(garbage, ImageFormat::Qcow2, target, 4096, u64::MAX).await.unwrap_err();
    assert_eq!(code(failed), FailureCode::Tool);
    let left = std::fs::read_dir(helper.store("blobs/.staging")).unwrap().count();
    assert!(left <= 1, "a failed conversion left its draft");
    helper.stop().await;
}

#[tokio::test]
async fn passed_content_becomes_a_file_and_wrong_content_is_refused() {
    let helper = Helper::start().await;
    let (client, instance) = (&helper.client, InstanceId::random());
    client.prepare_instance_dir(instance).await.unwrap();
    let mut content = tempfile::tempfile().unwrap();
    content.write_all(b"drive").unwrap();
    client.write_config_drive(instance, "vdb", content.as_fd(), 5).await.unwrap();
    assert_eq!(std::fs::read(helper.file(instance, "vdb")).unwrap(), b"drive");
    for (device, size) in [("vdb", 4), ("vdb", 6), ("../vdb", 5), ("nvram", 5)] {
        let refused = client.write_config_drive(instance, device, content.as_fd(), size).await.unwrap_err();
        assert_eq!(code(refused), FailureCode::Invalid, "{device} {size}");
    }
    let socket = std::os::unix::net::UnixStream::pair().unwrap().0;
    let refused = client.write_config_drive(instance, "vdb", socket.as_fd(), 0).await.unwrap_err();
    assert_eq!(code(refused), FailureCode::Invalid);

    assert!(client.install_nvram(instance, content.as_fd(), 5, false).await.unwrap());
    content.rewind().unwrap();
    content.write_all(b"other").unwrap();
    assert!(!client.install_nvram(instance, content.as_fd(), 5, false).await.unwrap());
    assert_eq!(std::fs::read(helper.file(instance, "nvram")).unwrap(), b"drive");
    assert!(client.install_nvram(instance, content.as_fd(), 5, true).await.unwrap());
    assert_eq!(std::fs::read(helper.file(instance, "nvram")).unwrap(), b"other");
    helper.stop().await;
}

#[tokio::test]
async fn consoles_logs_and_directories() {
    let helper = Helper::start().await;
    let (client, instance) = (&helper.client, InstanceId::random());
    assert!(client.read_console(instance).await.unwrap().is_empty());
    client.prepare_instance_dir(instance).await.unwrap();
    std::fs::write(helper.file(instance, "console.log"), vec![b'n'; 100_000]).unwrap();
    std::fs::write(helper.file(instance, "console.log.0"), b"old").unwrap();
    let mut parts = client.read_console(instance).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.size).collect::<Vec<_>>(), [3, 100_000]);
    let mut old = String::new();
    parts[0].file.read_to_string(&mut old).unwrap();
    assert_eq!(old, "old");
    client.truncate_console(instance).await.unwrap();
    assert_eq!(client.read_console(instance).await.unwrap()[0].size, 0);

    assert!(client.qemu_log_tail(instance, 20).await.unwrap().is_empty());
    let log = helper.dir.path().join("log");
    std::fs::create_dir(&log).unwrap();
    std::fs::write(log.join(format!("sf:{instance}.log")), "one\ntwo\nthree\n").unwrap();
    assert_eq!(client.qemu_log_tail(instance, 2).await.unwrap(), ["two", "three"]);

    std::fs::write(log.join(format!("sf:{instance}.log.0")), "rotated").unwrap();
    std::fs::write(log.join("other.log"), "somebody else's").unwrap();
    assert_eq!(client.list_qemu_logs(None).await.unwrap(), (vec![instance], false));
    assert_eq!(client.list_qemu_logs(Some(instance)).await.unwrap(), (vec![], false));
    client.remove_qemu_logs(instance).await.unwrap();
    client.remove_qemu_logs(instance).await.unwrap();
    assert_eq!(client.list_qemu_logs(None).await.unwrap(), (vec![], false));
    assert_eq!(std::fs::read_dir(&log).unwrap().count(), 1, "logs of others stay");

    client.remove_instance_dir(instance).await.unwrap();
    client.remove_instance_dir(instance).await.unwrap();
    assert!(!helper.file(instance, "").exists());
    helper.stop().await;
}

/// A process that does not outlive its test.
struct Stray(std::process::Child);

impl Drop for Stray {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn only_the_domains_own_process_is_killed() {
    let helper = Helper::start().await;
    let (client, instance) = (&helper.client, InstanceId::random());
    assert!(!client.kill_domain_process(instance).await.unwrap());
    let pids = helper.dir.path().join("pids");
    std::fs::create_dir(&pids).unwrap();
    let pid_file = pids.join(format!("sf:{instance}.pid"));
    let mut other = Stray(Command::new("/bin/sleep").arg("600").spawn().unwrap());
    std::fs::write(&pid_file, other.0.id().to_string()).unwrap();
    assert!(!client.kill_domain_process(instance).await.unwrap());
    assert!(other.0.try_wait().unwrap().is_none(), "another process was killed");
    drop(other);

    let script = "while :; do sleep 1; done";
    let mut domain = Stray(
        Command::new("/bin/sh").args(["-c", script, "qemu", "-uuid", &instance.to_string()]).spawn().unwrap(),
    );
    std::fs::write(&pid_file, domain.0.id().to_string()).unwrap();
    // The kernel lets the parent go on a moment before the child's new command line can be read.
    let command_line = format!("/proc/{}/cmdline", domain.0.id());
    while !std::fs::read_to_string(&command_line).unwrap().contains(&instance.to_string()) {
        assert!(domain.0.try_wait().unwrap().is_none(), "the stand-in for a domain ended");
        tokio::task::yield_now().await;
    }
    assert!(client.kill_domain_process(instance).await.unwrap());
    assert!(!domain.0.wait().unwrap().success());
    helper.stop().await;
}
