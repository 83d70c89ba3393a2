//! Who listens on which port, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that waits for connections or datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Address it is bound to.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Process that holds it; `None` when that cannot be seen.
    pub pid: Option<u32>,
    /// Name of the process.
    pub program: String,
}

/// Tables of the kernel, and the state in which their sockets wait.
const TABLES: [(&str, &str, &str); 4] = [
    ("/proc/net/tcp", "tcp", "0A"),
    ("/proc/net/tcp6", "tcp", "0A"),
    ("/proc/net/udp", "udp", "07"),
    ("/proc/net/udp6", "udp", "07"),
];

pub(super) fn list() -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for (path, protocol, state) in TABLES {
        match fs::read_to_string(path) {
            Ok(text) => found.extend(text.lines().filter_map(|line| parse(line, protocol, state))),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let owners = owners()?;
    let named = found.into_iter().map(|(inode, mut listener)| {
        if let Some((pid, program)) = owners.get(&inode) {
            (listener.pid, listener.program) = (Some(*pid), program.clone());
        }
        listener
    });
    Ok(named.collect())
}

/// A line of a table: number, local address, remote address, state, and the inode as the tenth field.
fn parse(line: &str, protocol: &'static str, state: &str) -> Option<(u64, Listener)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.get(3) != Some(&state) {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let inode = fields.get(9)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let listener =
        Listener { protocol, address: address_of(address)?, port, pid: None, program: String::new() };
    Some((inode, listener))
}

/// Addresses stand there as numbers of this machine's byte order, four bytes each.
fn address_of(text: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = text
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.concat();
    match <[u8; 16]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Some(Ipv6Addr::from(bytes).to_canonical()),
        Err(_) => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?).into()),
    }
}

/// Process and program by socket. Processes that end meanwhile, or may not be looked into, have none.
fn owners() -> io::Result<HashMap<u64, (u32, String)>> {
    let mut owners = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let program = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let inodes = links.filter_map(|link| {
            let text = link.to_string_lossy().into_owned();
            text.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        owners.extend(inodes.map(|inode| (inode, (pid, program.clone()))));
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "   0: 0100007F:32C8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        let (inode, listener) = parse(line, "tcp", "0A").unwrap();
        assert_eq!(
            (inode, listener.port, listener.address.to_string()),
            (4242, 13000, "127.0.0.1".to_owned())
        );
        assert!(parse(&line.replace(" 0A ", " 01 "), "tcp", "0A").is_none(), "a connection");
        assert_eq!(address_of("00000000000000000000000000000000").unwrap().to_string(), "::");
        assert_eq!(address_of("0000000000000000FFFF00000100007F").unwrap().to_string(), "127.0.0.1");
        assert!(address_of("zz").is_none());
    }
}
