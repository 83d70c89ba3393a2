//! Chooses where the next attempt goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::endpoint::{Endpoint, State};

/// Round robin over the best endpoints that there are.
pub(crate) struct Picker {
    endpoints: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
}

impl Picker {
    /// `start` is random, so that many clients do not begin with the same gateway.
    pub(crate) fn new(endpoints: Vec<Arc<Endpoint>>, start: usize) -> Self {
        Self { endpoints, next: AtomicUsize::new(start) }
    }

    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint for an attempt, preferably not `previous`. Ready ones come first; when there are none, suspects
    /// are tried all the same, because failing without trying helps nobody. `None` only without endpoints.
    pub(crate) fn pick(&self, previous: Option<&str>) -> Option<Arc<Endpoint>> {
        let states: Vec<State> = self.endpoints.iter().map(|e| e.state()).collect();
        let names: Vec<&str> = self.endpoints.iter().map(|e| e.name.as_str()).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = choose(&states, &names, previous, turn)?;
        self.endpoints.get(index).cloned()
    }
}

fn choose(states: &[State], names: &[&str], previous: Option<&str>, turn: usize) -> Option<usize> {
    [State::Ready, State::Suspect, State::Draining].into_iter().find_map(|wanted| {
        let mut fitting: Vec<usize> =
            states.iter().enumerate().filter(|(_, s)| **s == wanted).map(|(index, _)| index).collect();
        let other: Vec<usize> = fitting
            .iter()
            .copied()
            .filter(|i| names.get(*i).copied() != previous || previous.is_none())
            .collect();
        if !other.is_empty() {
            fitting = other;
        }
        let slot = turn.checked_rem(fitting.len())?;
        fitting.get(slot).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Draining, Ready, Suspect};

    #[test]
    fn ready_ones_take_turns_and_the_previous_is_avoided() {
        let names = ["a", "b", "c"];
        let pick = |states: &[State], previous, turn| choose(states, &names, previous, turn);
        let all = [Ready, Ready, Suspect];
        assert_eq!((0..4).map(|turn| pick(&all, None, turn).unwrap()).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(pick(&all, Some("a"), 0), Some(1));
        assert_eq!(pick(&all, Some("a"), 1), Some(1));
        assert_eq!(
            pick(&[Suspect, Ready, Suspect], Some("b"), 7),
            Some(1),
            "a ready one beats a suspect even when it just failed"
        );
        assert_eq!(pick(&[Suspect, Draining, Suspect], Some("a"), 3), Some(2));
        assert_eq!(pick(&[Draining, Draining, Draining], None, 2), Some(2));
        assert_eq!(choose(&[], &[], None, 0), None);
    }
}
