//! The three quantities an instance is charged and a node is limited by.

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// One of the quantities that are counted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Dimension {
    /// Virtual processors.
    Cpus,
    /// Memory, in MiB.
    Memory,
    /// Virtual disk size, in GiB.
    Disk,
}

impl Dimension {
    /// In the order in which they are examined and reported.
    pub const ALL: [Self; 3] = [Self::Cpus, Self::Memory, Self::Disk];

    /// The text used in refusals and in the ledger.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// vCPUs, MiB and GiB. Requests are rounded up to whole units, limits down. Arithmetic saturates, so absurd inputs
/// give absurd but defined answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amounts {
    /// Virtual processors.
    pub cpus: i64,
    /// MiB of memory.
    pub memory_mb: i64,
    /// GiB of virtual disk.
    pub disk_gb: i64,
}

impl Amounts {
    /// One quantity.
    pub const fn get(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Cpus => self.cpus,
            Dimension::Memory => self.memory_mb,
            Dimension::Disk => self.disk_gb,
        }
    }

    /// The sum.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.saturating_add(other.cpus),
            memory_mb: self.memory_mb.saturating_add(other.memory_mb),
            disk_gb: self.disk_gb.saturating_add(other.disk_gb),
        }
    }

    /// The difference; it may be negative.
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.saturating_sub(other.cpus),
            memory_mb: self.memory_mb.saturating_sub(other.memory_mb),
            disk_gb: self.disk_gb.saturating_sub(other.disk_gb),
        }
    }

    /// Each quantity, but never below zero.
    pub const fn at_least_zero(self) -> Self {
        const fn floor(value: i64) -> i64 {
            if value < 0 { 0 } else { value }
        }
        Self { cpus: floor(self.cpus), memory_mb: floor(self.memory_mb), disk_gb: floor(self.disk_gb) }
    }

    /// The first quantity in which `self` is more than `limit`.
    pub fn exceeds(&self, limit: &Self) -> Option<Dimension> {
        Dimension::ALL.into_iter().find(|&dimension| self.get(dimension) > limit.get(dimension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let huge = Amounts { cpus: i64::MAX, memory_mb: i64::MAX, disk_gb: i64::MAX };
        let one = Amounts { cpus: 1, memory_mb: 1, disk_gb: 1 };
        assert_eq!(huge.plus(one), huge);
        assert_eq!(Amounts::default().minus(one).at_least_zero(), Amounts::default());
    }

    #[test]
    fn the_first_exceeded_dimension_is_named() {
        let limit = Amounts { cpus: 4, memory_mb: 10, disk_gb: 10 };
        assert_eq!(Amounts { cpus: 4, memory_mb: 10, disk_gb: 10 }.exceeds(&limit), None);
        assert_eq!(Amounts { cpus: 4, memory_mb: 11, disk_gb: 11 }.exceeds(&limit), Some(Dimension::Memory));
        assert_eq!(Dimension::Memory.as_str(), "memory");
    }
}
