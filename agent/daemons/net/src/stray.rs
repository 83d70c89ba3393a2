//! What to do about kernel objects of ours that nothing claims. Pure (`networking.md` §12.2).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use sf_model::NetworkId;
use sf_protos::net_privexec::InventoryNetwork;

/// What is known about one stray.
struct Episode {
    since: Instant,
    warned: bool,
}

/// Strays by network, since when.
#[derive(Default)]
pub(crate) struct Strays {
    episodes: HashMap<NetworkId, Episode>,
}

/// What to do about one stray.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it away: it was seen for longer than the grace period and no guest is attached.
    Reap(NetworkId),
    /// A guest is attached, whatever the records say. Said once per episode.
    Protect(NetworkId, Vec<String>),
}

impl Strays {
    /// Judges the inventory against what the database claims. Call only with a complete answer of the database.
    pub(crate) fn judge(
        &mut self,
        inventory: &[InventoryNetwork],
        claimed: &HashSet<NetworkId>,
        grace: Duration,
        now: Instant,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut seen = HashSet::new();
        for found in inventory {
            let Ok(network) = found.network_uuid.parse::<NetworkId>() else { continue };
            if claimed.contains(&network) {
                continue;
            }
            seen.insert(network);
            let episode = self.episodes.entry(network).or_insert(Episode { since: now, warned: false });
            if now.duration_since(episode.since) < grace {
                continue;
            }
            if found.guest_ports.is_empty() {
                verdicts.push(Verdict::Reap(network));
            } else if !episode.warned {
                episode.warned = true;
                verdicts.push(Verdict::Protect(network, found.guest_ports.clone()));
            }
        }
        self.episodes.retain(|network, _| seen.contains(network));
        verdicts
    }

    /// Gives a stray that could not be reaped another grace period.
    pub(crate) fn postpone(&mut self, network: NetworkId, now: Instant) {
        if let Some(episode) = self.episodes.get_mut(&network) {
            episode.since = now;
        }
    }

    /// Strays known now.
    pub(crate) fn count(&self) -> usize {
        self.episodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(300);

    fn found(network: NetworkId, guests: &[&str]) -> InventoryNetwork {
        InventoryNetwork {
            network_uuid: network.to_string(),
            guest_ports: guests.iter().map(ToString::to_string).collect(),
            ..InventoryNetwork::default()
        }
    }

    #[test]
    fn strays_are_reaped_after_the_grace_period_only() {
        let (mut strays, network, start) = (Strays::default(), NetworkId::random(), Instant::now());
        let inventory = [found(network, &[])];
        let nothing = HashSet::new();
        assert!(strays.judge(&inventory, &nothing, GRACE, start).is_empty());
        assert!(strays.judge(&inventory, &nothing, GRACE, start + GRACE / 2).is_empty());
        assert_eq!(strays.judge(&inventory, &nothing, GRACE, start + GRACE), [Verdict::Reap(network)]);
        strays.postpone(network, start + GRACE);
        assert!(strays.judge(&inventory, &nothing, GRACE, start + GRACE * 3 / 2).is_empty());
        assert_eq!(strays.count(), 1);
    }

    #[test]
    fn a_claim_ends_the_episode() {
        let (mut strays, network, start) = (Strays::default(), NetworkId::random(), Instant::now());
        let inventory = [found(network, &[])];
        strays.judge(&inventory, &HashSet::new(), GRACE, start);
        strays.judge(&inventory, &HashSet::from([network]), GRACE, start + GRACE);
        assert_eq!(strays.count(), 0);
        assert!(strays.judge(&inventory, &HashSet::new(), GRACE, start + GRACE).is_empty(), "a new episode");
    }

    #[test]
    fn attached_guests_protect_and_are_mentioned_once() {
        let (mut strays, network, start) = (Strays::default(), NetworkId::random(), Instant::now());
        let inventory = [found(network, &["tap020000000001"])];
        strays.judge(&inventory, &HashSet::new(), GRACE, start);
        let first = strays.judge(&inventory, &HashSet::new(), GRACE, start + GRACE);
        assert_eq!(first, [Verdict::Protect(network, vec!["tap020000000001".into()])]);
        assert!(strays.judge(&inventory, &HashSet::new(), GRACE, start + GRACE * 2).is_empty());
    }
}
