//! When a network that failed is tried again. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sf_model::NetworkId;

/// Longest pause, and the pause of a network that rests.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Failures by network.
#[derive(Default)]
pub(super) struct Cooldowns {
    failures: HashMap<NetworkId, (u32, Instant)>,
}

impl Cooldowns {
    /// Whether the network may be tried now.
    pub(super) fn may_try(&self, network: NetworkId, now: Instant) -> bool {
        self.failures.get(&network).is_none_or(|(_, until)| *until <= now)
    }

    /// Forgets earlier failures.
    pub(super) fn succeeded(&mut self, network: NetworkId) {
        self.failures.remove(&network);
    }

    /// Counts a failure: the pause doubles from `base`, and from the `circuit`-th on it is the longest one. Returns the
    /// number of failures in a row.
    pub(super) fn failed(&mut self, network: NetworkId, base: Duration, circuit: u32, now: Instant) -> u32 {
        let (count, until) = self.failures.entry(network).or_insert((0, now));
        *count = count.saturating_add(1);
        let doubled = base.saturating_mul(1u32.checked_shl(*count - 1).unwrap_or(u32::MAX));
        *until = now + if *count >= circuit { LONGEST } else { doubled.min(LONGEST) };
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_in_the_longest() {
        let (mut cooldowns, network, now) = (Cooldowns::default(), NetworkId::random(), Instant::now());
        let minute = Duration::from_secs(60);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            cooldowns.failed(network, minute, 5, now);
            let pause = (0..=30).map(|n| minute * n).find(|pause| cooldowns.may_try(network, now + *pause));
            pauses.push(pause.unwrap().as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15]);
        cooldowns.succeeded(network);
        assert!(cooldowns.may_try(network, now));
    }
}
