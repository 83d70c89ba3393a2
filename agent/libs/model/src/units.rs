//! Quantities with their unit in the type.

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($($(#[$doc:meta])* $name:ident($repr:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

unit! {
    /// Mebibytes (2^20 bytes).
    Mib(u64);
    /// Gibibytes (2^30 bytes).
    Gib(u64);
    /// Virtual processors.
    Vcpus(u32);
}

impl Gib {
    /// The same amount in bytes, saturating.
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(1 << 30)
    }

    /// The smallest whole number of gibibytes that holds `bytes`.
    pub const fn ceil_from_bytes(bytes: u64) -> Self {
        Self(bytes.div_ceil(1 << 30))
    }

    /// The largest whole number of gibibytes contained in `bytes`.
    pub const fn floor_from_bytes(bytes: u64) -> Self {
        Self(bytes >> 30)
    }
}

/// A VXLAN network identifier a tenant network may have: 16 to 16,777,215. 0 stands for the floating network and
/// 1 to 15 are reserved (`networking.md` §13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vxid(u32);

impl Vxid {
    /// The lowest identifier given to a tenant network.
    pub const MIN: u32 = 16;
    /// The highest 24-bit identifier.
    pub const MAX: u32 = 0x00ff_ffff;

    /// Accepts an identifier in the tenant range.
    pub const fn new(value: u32) -> Option<Self> {
        if value >= Self::MIN && value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Six lower-case hexadecimal digits: the part of every device name that names the network.
    pub fn hex(self) -> String {
        format!("{:06x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gibibytes_round_up_for_requests_and_down_for_limits() {
        assert_eq!(Gib::ceil_from_bytes((1 << 30) + 1), Gib(2));
        assert_eq!(Gib::floor_from_bytes((2 << 30) - 1), Gib(1));
        assert_eq!(Gib::ceil_from_bytes(0), Gib(0));
    }

    #[test]
    fn vxid_excludes_the_reserved_range() {
        assert!(Vxid::new(15).is_none());
        assert_eq!(Vxid::new(16).map(Vxid::hex).as_deref(), Some("000010"));
        assert!(Vxid::new(0x0100_0000).is_none());
    }
}
