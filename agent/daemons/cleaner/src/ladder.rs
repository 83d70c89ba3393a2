//! How hard a domain that should be gone is pushed: a little harder with each pass.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use sf_model::InstanceId;

/// Steps of a rung.
const PER_RUNG: u32 = 2;

/// What is done in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Step {
    /// Destroy, undefine, remove the files.
    Remove,
    /// The same again: what was in the way may be gone.
    RemoveAgain,
    /// Kill the process, then as before.
    Kill,
    /// It cannot be removed. Said once.
    GiveUp,
    /// It was given up before.
    Nothing,
}

/// Passes spent on each instance, kept while the process lives: a new process begins gently again.
#[derive(Debug, Default)]
pub(crate) struct Ladder(Mutex<BTreeMap<InstanceId, u32>>);

impl Ladder {
    /// The next step for an instance, and its number.
    pub(crate) fn next(&self, instance: InstanceId) -> (Step, u32) {
        let mut passes = self.0.lock();
        let count = passes.entry(instance).or_default();
        *count = count.saturating_add(1);
        (step(*count), *count)
    }

    /// Forgets the instances that are no longer in question.
    pub(crate) fn keep_only(&self, instances: &BTreeSet<InstanceId>) {
        self.0.lock().retain(|instance, _| instances.contains(instance));
    }
}

fn step(pass: u32) -> Step {
    match pass.saturating_sub(1) / PER_RUNG {
        0 => Step::Remove,
        1 => Step::RemoveAgain,
        2 => Step::Kill,
        _ if pass == 3 * PER_RUNG + 1 => Step::GiveUp,
        _ => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rungs() {
        let ladder = Ladder::default();
        let instance = InstanceId::random();
        let steps: Vec<Step> = (0..9).map(|_| ladder.next(instance).0).collect();
        use Step::{GiveUp, Kill, Nothing, Remove, RemoveAgain};
        assert_eq!(steps, [Remove, Remove, RemoveAgain, RemoveAgain, Kill, Kill, GiveUp, Nothing, Nothing]);
        assert_eq!(ladder.next(InstanceId::random()).0, Remove);
        ladder.keep_only(&BTreeSet::new());
        assert_eq!(ladder.next(instance).0, Remove);
    }
}
