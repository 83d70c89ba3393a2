//! Room, and what kind of file system it is on.

use sf_units::Role;

use crate::finding::Finding;
use crate::subject::Subject;
use crate::system::FileSystem;

const GIB: f64 = 1_073_741_824.0;
/// Room beyond the reservation on hosts that hold blobs or guests, and room at all on others, GiB.
const WORKING_ROOM: f64 = 20.0;
const LEAST_ROOM: f64 = 5.0;

/// PF-DISK.
pub(in crate::checks) fn disk(subject: &Subject) -> Vec<Finding> {
    with_storage(subject, |found| {
        let node = &subject.input.node;
        let holds = subject.input.is(Role::Hypervisor) || subject.input.is(Role::Api);
        let wanted = if holds { node.node_disk_reservation_gb + WORKING_ROOM } else { LEAST_ROOM };
        let free = found.free as f64 / GIB;
        let at = found.at.display();
        if found.read_only {
            return Finding::fail(format!("{at} is read-only"))
                .want("a file system that can be written")
                .why("everything the node keeps is there")
                .fix("mount it writable");
        }
        if free < wanted {
            return Finding::fail(format!("{free:.0} GiB free on {at}"))
                .want(format!("{wanted:.0} GiB"))
                .why("blobs, disks and spools need room beyond the reservation")
                .fix("make room, use another sf_storage_path, or lower sf_disk_reservation_gb");
        }
        Finding::pass(format!("{free:.0} GiB free on {at}"))
    })
}

/// PF-FS.
pub(in crate::checks) fn storage(subject: &Subject) -> Vec<Finding> {
    let allowed = subject.input.settings.allow_unsafe_storage;
    with_storage(subject, |found| {
        let at = found.at.display();
        let unsafe_storage = |got: String, why: &str| {
            Finding::fail(got)
                .want("a local file system on a disk")
                .why(why)
                .fix("use another sf_storage_path; sf_allow_unsafe_storage is for tests")
                .unless(allowed)
        };
        if matches!(found.kind, "tmpfs" | "overlay") {
            return unsafe_storage(format!("{at} is {}", found.kind), "disks of guests would not survive");
        }
        match subject.system.direct_io(&found.at) {
            Ok(()) => Finding::pass(format!("{at} takes direct I/O")),
            Err(error) => {
                let got = format!("{at} takes no direct I/O: {error}");
                unsafe_storage(got, "disks of guests are opened past the page cache")
            }
        }
    })
}

/// PF-NFS.
pub(in crate::checks) fn nfs(subject: &Subject) -> Vec<Finding> {
    with_storage(subject, |found| match found.kind {
        "nfs" => Finding::warn(format!("{} is NFS", found.at.display()))
            .want("local storage")
            .why("a hard mount hangs instead of failing when its server is gone")
            .fix("use local disks for sf_storage_path"),
        _ => Finding::pass("not NFS"),
    })
}

fn with_storage(subject: &Subject, look: impl FnOnce(FileSystem) -> Finding) -> Vec<Finding> {
    let path = &subject.input.node.storage_path;
    match subject.system.file_system(path) {
        Ok(found) => vec![look(found)],
        Err(error) => vec![Finding::skip(format!("{} cannot be inspected: {error}", path.display()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeSystem, changed};

    #[test]
    fn room_depends_on_what_the_host_holds() {
        let mut tight = changed(|system| system.file_system.free = 30 << 30);
        assert_eq!(disk(&tight)[0].level, Level::Fail);
        tight.input.roles = vec![Role::Database];
        assert_eq!(disk(&tight)[0].level, Level::Pass);
        assert_eq!(disk(&changed(|system| system.file_system.read_only = true))[0].level, Level::Fail);
    }

    #[test]
    fn storage_that_forgets_is_refused_unless_allowed() {
        for change in [
            (|system: &mut FakeSystem| system.file_system.kind = "tmpfs") as fn(&mut FakeSystem),
            |system| system.file_system.kind = "overlay",
            |system| system.direct_io = false,
        ] {
            let mut subject = changed(change);
            assert_eq!(storage(&subject)[0].level, Level::Fail);
            subject.input.settings.allow_unsafe_storage = true;
            assert_eq!(storage(&subject)[0].level, Level::Warn);
        }
        assert_eq!(nfs(&changed(|system| system.file_system.kind = "nfs"))[0].level, Level::Warn);
    }
}
