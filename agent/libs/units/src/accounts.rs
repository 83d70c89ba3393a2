//! Users, groups and directories that the daemons expect.

use serde::Serialize;

/// A system user, with a group of its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name.
    pub user: &'static str,
    /// Groups it is a member of. What a single daemon needs beyond stands in that daemon's unit, so that another daemon
    /// of the same user does not get it.
    pub groups: &'static [&'static str],
}

/// Groups without a user: readers of the configuration, readers of the store, callers of either helper.
pub const GROUPS: &[&str] = &["sf", "sf-store", "sf-priv", "sf-netpriv"];

/// Every user. The image tools run as `sf-image`, which may read the store and not the configuration.
pub const ACCOUNTS: &[Account] = &[
    Account { user: "shakenfist", groups: &["sf", "sf-store"] },
    Account { user: "sf-api", groups: &["sf", "sf-store"] },
    Account { user: "sf-db", groups: &["sf"] },
    Account { user: "sf-net", groups: &["sf"] },
    Account { user: "sf-transfers", groups: &["sf", "sf-store"] },
    Account { user: "sf-image", groups: &["sf-store"] },
];

/// The file in each directory of the store that proves that its file system is mounted and can be written. Only who makes
/// the directories makes it; sweeps ignore names that begin with an underscore.
pub const HEARTBEAT: &str = "_heartbeat";

/// A directory that `tmpfiles` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Path, with `{storage_path}`, `{spool_path}` and `{run_path}`.
    pub path: &'static str,
    /// Owner.
    pub user: &'static str,
    /// Group.
    pub group: &'static str,
    /// Mode, octal.
    pub mode: &'static str,
    /// Holds [`HEARTBEAT`], which `sf-resources` writes.
    pub heartbeat: bool,
}

const fn directory(
    path: &'static str,
    user: &'static str,
    group: &'static str,
    mode: &'static str,
) -> Directory {
    Directory { path, user, group, mode, heartbeat: false }
}

const fn store(path: &'static str, user: &'static str, mode: &'static str) -> Directory {
    Directory { path, user, group: "sf-store", mode, heartbeat: true }
}

/// Every directory, parents first.
pub const DIRECTORIES: &[Directory] = &[
    directory("{run_path}", "root", "root", "0755"),
    directory("{run_path}/queues", "shakenfist", "sf", "0750"),
    directory("{run_path}/instances", "shakenfist", "shakenfist", "0750"),
    directory("{run_path}/locks", "shakenfist", "shakenfist", "0750"),
    directory("{run_path}/transfers", "sf-transfers", "sf-store", "0750"),
    directory("{run_path}/net-privexec", "root", "sf-netpriv", "0750"),
    directory("{storage_path}", "root", "root", "0755"),
    store("{storage_path}/blobs", "sf-transfers", "0750"),
    store("{storage_path}/uploads", "sf-transfers", "0750"),
    store("{storage_path}/image_cache", "sf-transfers", "0751"),
    store("{storage_path}/instances", "root", "0751"),
    directory("{storage_path}/quarantine", "sf-transfers", "sf-store", "0750"),
    directory("{spool_path}", "root", "root", "0755"),
    directory("{spool_path}/database", "sf-db", "sf-db", "0700"),
    directory("{spool_path}/api", "sf-api", "sf-api", "0700"),
    directory("{spool_path}/queues", "shakenfist", "shakenfist", "0700"),
    directory("{spool_path}/cluster", "shakenfist", "shakenfist", "0700"),
    directory("{spool_path}/cleaner", "shakenfist", "shakenfist", "0700"),
    directory("{spool_path}/resources", "shakenfist", "shakenfist", "0700"),
    directory("{spool_path}/transfers", "sf-transfers", "sf-transfers", "0700"),
    directory("{spool_path}/net", "sf-net", "sf-net", "0700"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::UNITS;

    #[test]
    fn what_a_daemon_writes_exists_and_may_be_written_by_it() {
        for unit in UNITS {
            for path in unit.writable {
                let directory = DIRECTORIES.iter().find(|directory| directory.path == *path);
                let directory =
                    directory.unwrap_or_else(|| panic!("{}: {path} is made by nobody", unit.name));
                // sf-resources writes its own heartbeat files only, and sf-transfers what lies below the root of the store.
                let shared = directory.heartbeat || *path == "{storage_path}";
                assert!(directory.user == unit.user || shared, "{}: {path}", unit.name);
            }
        }
    }

    #[test]
    fn parents_come_first() {
        for (at, directory) in DIRECTORIES.iter().enumerate() {
            let Some((parent, _)) = directory.path.rsplit_once('/') else { continue };
            assert!(DIRECTORIES.iter().take(at).any(|other| other.path == parent), "{}", directory.path);
        }
    }
}
