//! The host this process runs on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use nix::fcntl::{OFlag, open};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::stat::Mode;
use nix::sys::statfs::{NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::listeners::{self, Listener};
use super::{FileSystem, Interface, System};

/// The real thing.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSystem;

impl System for RealSystem {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn output(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let output = Command::new(program).args(arguments).env("LC_ALL", "C").output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{program} ended with {}: {}", output.status, said.trim())))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let mut found: BTreeMap<String, Interface> = BTreeMap::new();
        for entry in getifaddrs()? {
            let mtu = fs::read_to_string(format!("/sys/class/net/{}/mtu", entry.interface_name));
            let interface = found.entry(entry.interface_name.clone()).or_default();
            interface.name.clone_from(&entry.interface_name);
            interface.up = entry.flags.contains(InterfaceFlags::IFF_UP);
            interface.mtu = mtu.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
            let address = entry.address.and_then(|address| address.as_sockaddr_in().map(|a| a.ip()));
            let mask = entry.netmask.and_then(|mask| mask.as_sockaddr_in().map(|a| a.ip()));
            if let Some(address) = address {
                let prefix = mask.map_or(32, |mask| u32::from(mask).count_ones());
                interface.addresses.push((IpAddr::V4(address), u8::try_from(prefix).unwrap_or(32)));
            }
        }
        Ok(found.into_values().collect())
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        let at = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let room = statvfs(at)?;
        let kind = match statfs(at)?.filesystem_type() {
            TMPFS_MAGIC => "tmpfs",
            OVERLAYFS_SUPER_MAGIC => "overlay",
            NFS_SUPER_MAGIC => "nfs",
            _ => "other",
        };
        Ok(FileSystem {
            at: at.to_owned(),
            kind,
            free: room.blocks_available() * room.fragment_size(),
            read_only: room.flags().contains(FsFlags::ST_RDONLY),
        })
    }

    fn direct_io(&self, directory: &Path) -> io::Result<()> {
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_DIRECT | OFlag::O_CLOEXEC;
        open(directory, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(drop).map_err(io::Error::from)
    }

    fn listeners(&self) -> io::Result<Vec<Listener>> {
        listeners::list()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_can_be_looked_at() {
        let system = RealSystem;
        let loopback =
            system.interfaces().unwrap().into_iter().find(|interface| interface.name == "lo").unwrap();
        assert!(loopback.addresses.contains(&("127.0.0.1".parse().unwrap(), 8)) && loopback.mtu > 1500);
        let here = system.file_system(Path::new("/nowhere/at/all")).unwrap();
        assert_eq!((here.at.as_path(), here.free > 0), (Path::new("/"), true));
        assert!(system.output("false", &[]).is_err());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = system.listeners().unwrap().into_iter().find(|found| found.port == port).unwrap();
        assert_eq!((found.protocol, found.pid), ("tcp", Some(std::process::id())));
    }
}
