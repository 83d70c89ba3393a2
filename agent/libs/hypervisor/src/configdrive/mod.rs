//! The configuration drive: what a guest reads to learn its name, keys, addresses and user data.
//!
//! [`build`] is a pure function from typed values to the bytes of an ISO 9660 image; writing it anywhere is the
//! caller's business.

mod content;
pub mod iso;

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, Utc};
use sf_model::{InstanceId, InterfaceId, MacAddress, NetworkId};

pub use content::{NETWORK_DATA_FILE, USER_DATA_FILE};
pub use iso::IsoError;

/// Volume identifier by which guests find the drive.
pub const VOLUME_ID: &str = "config-2";

/// Directories that hold the same files; guests look for a dated one first.
const VERSIONS: [&str; 2] = ["2017-02-22", "latest"];

/// Everything the drive tells a guest.
#[derive(Debug, Clone)]
pub struct ConfigDriveSpec {
    /// The instance.
    pub instance: InstanceId,
    /// Its name; the host name is `<name>.local`.
    pub name: String,
    /// Its namespace, part of the DNS search domain.
    pub namespace: String,
    /// The cloud's `ZONE`.
    pub zone: String,
    /// One or more OpenSSH public keys, as the user gave them.
    pub ssh_key: Option<String>,
    /// Decoded user data.
    pub user_data: Option<Vec<u8>>,
    /// Fresh random bytes for the guest's entropy pool, 512 in production.
    pub random_seed: Vec<u8>,
    /// Interfaces with an address, in guest order.
    pub interfaces: Vec<ConfigDriveInterface>,
    /// Resolvers for guests none of whose networks serves DNS.
    pub dns_servers: Vec<IpAddr>,
}

/// One interface with its address.
#[derive(Debug, Clone)]
pub struct ConfigDriveInterface {
    /// The interface.
    pub interface: InterfaceId,
    /// Its network.
    pub network: NetworkId,
    /// Position among the instance's interfaces; the guest sees `eth<order>`.
    pub order: u32,
    /// Ethernet address.
    pub mac: MacAddress,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// Netmask of the network.
    pub netmask: Ipv4Addr,
    /// The network's gateway, if guests may leave it.
    pub gateway: Option<Ipv4Addr>,
    /// The address at which the network answers DNS, if it does.
    pub dns: Option<Ipv4Addr>,
}

/// Builds the drive. `made_at` becomes the time of every file, so that equal inputs give equal bytes.
///
/// # Errors
/// Fails only if a file would exceed what the format can describe.
pub fn build(spec: &ConfigDriveSpec, made_at: DateTime<Utc>) -> Result<Vec<u8>, IsoError> {
    let files = content::files(spec);
    let mut tree = iso::Tree::new();
    for version in VERSIONS {
        for (name, data) in &files {
            tree.add_file(&["openstack", version, name], data.clone())?;
        }
    }
    iso::write(&tree, VOLUME_ID, made_at)
}
