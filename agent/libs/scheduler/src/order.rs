//! The order of candidates (`scheduler.md` §8.4): affinity, then calm nodes before busy ones, then a coarse band of
//! load, and inside a band a weighted shuffle. Coarse on purpose: a fine ranking on figures up to half a minute old
//! would stack a burst on one node.

use std::cmp::Ordering;

use rand::Rng;

use crate::affinity;
use crate::decide::Request;
use crate::snapshot::{Capacity, Facts, Node, Snapshot};

/// Width of a band, as a fraction of a node.
const BAND: f64 = 0.25;
/// Everything at or beyond this band is equally full.
const HIGHEST_BAND: f64 = 15.0;
/// No weight is below this, so every survivor can come first.
const LEAST: f64 = 0.1;

/// The cluster's settings that order candidates.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Load per thread above which a node is avoided (`SCHEDULER_TARGET_LOAD`).
    pub target_load: f64,
    /// Weight of having the image already (`SCHEDULER_LOCALITY_WEIGHT`).
    pub locality_weight: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { target_load: 0.75, locality_weight: 1.0 }
    }
}

/// Why a candidate stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// Soft affinity; more is better.
    pub affinity: i64,
    /// Busy nodes come after calm ones.
    pub busy: bool,
    /// Quarter of the node that is in use, 0 to 15.
    pub band: u8,
    /// Chance inside the band, relative to the others.
    pub weight: f64,
    /// The drawn key of the weighted shuffle; larger comes first.
    pub key: f64,
}

impl Rank {
    /// Less = tried earlier.
    pub fn compare(&self, other: &Self) -> Ordering {
        other
            .affinity
            .cmp(&self.affinity)
            .then(self.busy.cmp(&other.busy))
            .then(self.band.cmp(&other.band))
            .then(other.key.total_cmp(&self.key))
    }
}

/// The rank of a node that passed every stage.
pub(crate) fn rank(
    snapshot: &Snapshot,
    node: &Node,
    capacity: &Capacity,
    request: &Request,
    policy: &Policy,
    rng: &mut impl Rng,
) -> Rank {
    let demand = bounded(capacity.expected_demand);
    let ram = memory_share(&node.facts, capacity);
    let weight = weight(&node.facts, demand, ram, policy, locality(snapshot, node));
    let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..=1.0);
    Rank {
        affinity: affinity::score(&request.affinity, &node.tags),
        busy: node.facts.is_busy(),
        band: band(&node.facts, demand, ram),
        weight,
        // The logarithm of u^(1/w): the same order without underflow for small weights.
        key: uniform.ln() / weight,
    }
}

fn band(facts: &Facts, demand: f64, ram: f64) -> u8 {
    let load = (bounded(facts.cpu_load_1) + demand) / f64::from(facts.cpu_schedulable.max(1));
    // The value is clamped to 0..=15 and therefore fits.
    (load / BAND).floor().max((ram / BAND).floor()).clamp(0.0, HIGHEST_BAND) as u8
}

fn weight(facts: &Facts, demand: f64, ram: f64, policy: &Policy, locality: f64) -> f64 {
    let target = bounded(policy.target_load) * f64::from(facts.cpu_schedulable.max(1));
    let idle = (target - bounded(facts.cpu_load_1) - demand).max(LEAST);
    idle * (1.0 - ram).max(LEAST) * (1.0 + bounded(policy.locality_weight) * locality)
}

/// Share of the memory limit that is promised or in use, whichever is more.
fn memory_share(facts: &Facts, capacity: &Capacity) -> f64 {
    let limit = capacity.limit.memory_mb;
    if limit <= 0 {
        return HIGHEST_BAND;
    }
    let promised = capacity.used.memory_mb.max(0) as f64;
    promised.max(facts.memory_total_instance_actual_mb as f64) / limit as f64
}

fn locality(snapshot: &Snapshot, node: &Node) -> f64 {
    if snapshot.blob_bytes == 0 {
        return 0.0;
    }
    (node.local_blob_bytes as f64 / snapshot.blob_bytes as f64).clamp(0.0, 1.0)
}

/// A figure that is not a number counts as very high, so a broken collector never attracts instances.
fn bounded(value: f64) -> f64 {
    const VERY_HIGH: f64 = 1e9;
    if value.is_nan() { VERY_HIGH } else { value.clamp(0.0, VERY_HIGH) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amounts::Amounts;

    fn rank_of(affinity: i64, busy: bool, band: u8, key: f64) -> Rank {
        Rank { affinity, busy, band, weight: 1.0, key }
    }

    #[test]
    fn criteria_apply_in_turn() {
        let mut ranks = [
            rank_of(0, false, 0, -1.0),
            rank_of(1, true, 9, -9.0),
            rank_of(1, false, 2, -9.0),
            rank_of(1, false, 2, -1.0),
            rank_of(1, false, 1, -9.0),
        ];
        ranks.sort_by(Rank::compare);
        let order: Vec<_> = ranks.iter().map(|r| (r.affinity, r.busy, r.band, r.key)).collect();
        assert_eq!(
            order,
            [
                (1, false, 1, -9.0),
                (1, false, 2, -1.0),
                (1, false, 2, -9.0),
                (1, true, 9, -9.0),
                (0, false, 0, -1.0)
            ]
        );
    }

    #[test]
    fn bands() {
        let facts = |load| Facts { cpu_schedulable: 4, cpu_load_1: load, ..Facts::default() };
        for (load, demand, ram, expected) in [
            (0.0, 0.0, 0.0, 0),
            (1.0, 0.0, 0.0, 1),
            (0.4, 0.6, 0.0, 1),
            (0.0, 0.0, 0.5, 2),
            (1e9, 0.0, 0.0, 15),
            (f64::NAN, 0.0, 0.0, 15),
            (-3.0, 0.0, 0.0, 0),
        ] {
            assert_eq!(band(&facts(load), demand, ram), expected, "{load} {demand} {ram}");
        }
    }

    #[test]
    fn weights_prefer_idle_nodes_with_the_image() {
        let policy = Policy::default();
        let facts = Facts { cpu_schedulable: 8, ..Facts::default() };
        let idle = weight(&facts, 0.0, 0.0, &policy, 0.0);
        assert_eq!(idle, 6.0);
        assert_eq!(weight(&facts, 0.0, 0.0, &policy, 1.0), 12.0);
        assert_eq!(weight(&facts, 100.0, 2.0, &policy, 0.0), LEAST * LEAST);
        let full = Capacity { limit: Amounts::default(), ..Capacity::default() };
        assert_eq!(memory_share(&facts, &full), HIGHEST_BAND);
    }
}
