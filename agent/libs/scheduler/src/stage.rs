//! The stages that remove nodes, in the order of the table of `scheduler.md` §8.2.

use std::fmt;

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::amounts::Dimension;

/// Where a node was removed. The order is that of the table: the stage of a refusal is the last one that removed
/// a candidate.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// No capacity row, or one that is closed or stale.
    PreSchedule,
    /// Not a hypervisor.
    IsHypervisor,
    /// The caller named another node.
    RequestedNode,
    /// More vCPUs than one domain can have.
    CpuMaxPerInstance,
    /// A hard wish about neighbours is not met.
    Affinity,
    /// Not enough vCPUs.
    SufficientIdleCpu,
    /// Not enough memory.
    SufficientIdleMemory,
    /// Not enough disk.
    SufficientFreeDisk,
    /// Refused by the admission transaction.
    CapacityGuard,
}

impl Stage {
    /// The name used in answers and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether waiting can cure what this stage found. The first stage is answered for by
    /// [`crate::refusal::Refusal`], which sees all nodes.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::PreSchedule
                | Self::SufficientIdleCpu
                | Self::SufficientIdleMemory
                | Self::SufficientFreeDisk
                | Self::CapacityGuard
        )
    }
}

/// Why a node was removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node never published its capacity.
    NoCapacityRow,
    /// The node is cordoned, missing, failed or lacks a daemon.
    Closed,
    /// The node's figures are too old.
    Stale,
    /// The node can make no further networks.
    NetworkUnfit,
    /// The role is absent.
    NotHypervisor,
    /// The caller asked for another node.
    OtherNodeRequested,
    /// One domain cannot have so many vCPUs.
    PerInstanceMaximum,
    /// No instance with the tag is on the node.
    TagMissing(String),
    /// An instance with the tag is on the node.
    TagPresent(String),
    /// The instances on the node changed since the decision and now violate a hard wish.
    NeighboursChanged,
    /// The limit would be exceeded.
    Full(Dimension),
    /// The host has less memory free than asked for.
    HostMemory,
    /// The file system of instances is full.
    NoDiskHeadroom,
    /// The sum over the cluster would be exceeded.
    ClusterFull(Dimension),
}

impl Reason {
    /// The quantity it is about, if any.
    pub const fn dimension(&self) -> Option<Dimension> {
        match self {
            Self::Full(dimension) | Self::ClusterFull(dimension) => Some(*dimension),
            Self::PerInstanceMaximum => Some(Dimension::Cpus),
            Self::HostMemory => Some(Dimension::Memory),
            Self::NoDiskHeadroom => Some(Dimension::Disk),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCapacityRow => "has not published its capacity",
            Self::Closed => "accepts no placements",
            Self::Stale => "has not published recent metrics",
            Self::NetworkUnfit => "cannot take part in further networks",
            Self::NotHypervisor => "is not a hypervisor",
            Self::OtherNodeRequested => "is not the requested node",
            Self::PerInstanceMaximum => "allows fewer vCPUs per instance",
            Self::TagMissing(tag) => return write!(f, "has no instance tagged {tag:?}"),
            Self::TagPresent(tag) => return write!(f, "has an instance tagged {tag:?}"),
            Self::NeighboursChanged => "its instances violate the affinity",
            Self::Full(Dimension::Cpus) => "not enough vCPUs",
            Self::Full(Dimension::Memory) => "not enough memory",
            Self::Full(Dimension::Disk) => "not enough disk",
            Self::HostMemory => "not enough memory free on the host",
            Self::NoDiskHeadroom => "the file system of instances is full",
            Self::ClusterFull(dimension) => {
                return write!(f, "not enough unclaimed {dimension} in the cluster");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn names_are_the_contract() {
        let names: Vec<&str> = Stage::iter().map(Stage::as_str).collect();
        assert_eq!(
            names,
            [
                "pre_schedule",
                "is_hypervisor",
                "requested_node",
                "cpu_max_per_instance",
                "affinity",
                "sufficient_idle_cpu",
                "sufficient_idle_memory",
                "sufficient_free_disk",
                "capacity_guard"
            ]
        );
    }
}
