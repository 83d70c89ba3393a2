//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address. The text form is six lower-case octets joined by colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// A text that is not six hexadecimal octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: expected six hexadecimal octets joined by colons")]
pub struct ParseMacError;

/// Prefix of the inner end of a network's veth pair (`networking.md` §3); guests never get it.
pub const GATEWAY_PREFIX: [u8; 3] = [0x02, 0x53, 0x46];
/// Prefix of the inner end of a network's egress pair (`networking.md` §3); guests never get it.
pub const EGRESS_PREFIX: [u8; 3] = [0x06, 0x53, 0x46];

impl MacAddress {
    /// Wraps six octets.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The octets in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether the address names one station (neither group nor broadcast).
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0
    }

    /// Whether the address lies in a prefix that the cloud keeps for its own routers.
    pub fn is_reserved(self) -> bool {
        let prefix = [self.0[0], self.0[1], self.0[2]];
        prefix == GATEWAY_PREFIX || prefix == EGRESS_PREFIX
    }

    /// Twelve hexadecimal digits without separators, as used in tap names.
    pub fn hex(self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// The address as a 48-bit number, its value in the allocator.
    pub fn as_u64(self) -> u64 {
        self.0.iter().fold(0, |sum, octet| (sum << 8) | u64::from(*octet))
    }

    /// The address with the low 48 bits of `value`.
    pub const fn from_u64(value: u64) -> Self {
        let b = value.to_be_bytes();
        Self([b[2], b[3], b[4], b[5], b[6], b[7]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0u8; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(Self(octets)) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_prints_and_numbers() {
        let mac: MacAddress = "02:00:00:Ab:cd:EF".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:00:ab:cd:ef");
        assert_eq!(mac.hex(), "020000abcdef");
        assert_eq!(MacAddress::from_u64(mac.as_u64()), mac);
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:0",
            "02-00-00-00-00-00",
            "0g:00:00:00:00:00",
            "+1:00:00:00:00:00",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved_and_group_addresses_are_known() {
        assert!(MacAddress::new([0x02, 0x53, 0x46, 0, 0, 1]).is_reserved());
        assert!(!MacAddress::new([0x02, 0, 0, 0, 0, 1]).is_reserved());
        assert!(!MacAddress::new([0x01, 0, 0, 0, 0, 1]).is_unicast());
    }
}
