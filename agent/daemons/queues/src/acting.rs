//! Which domains this process is changing right now, so that their events are known to be its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_model::InstanceId;

/// libvirt reports a change up to this long after the call that made it returned.
const ECHO: Duration = Duration::from_secs(1);

/// The marks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acting(Arc<Mutex<HashMap<InstanceId, Mark>>>);

#[derive(Debug, Clone, Copy)]
enum Mark {
    Acting(u32),
    Until(Instant),
}

/// Marks an instance while it lives.
#[derive(Debug)]
pub(crate) struct ActingGuard {
    marks: Acting,
    instance: InstanceId,
}

impl Acting {
    /// Begins acting on an instance.
    pub(crate) fn begin(&self, instance: InstanceId) -> ActingGuard {
        let mut marks = self.0.lock();
        let depth = match marks.get(&instance) {
            Some(Mark::Acting(depth)) => *depth,
            _ => 0,
        };
        marks.insert(instance, Mark::Acting(depth + 1));
        ActingGuard { marks: self.clone(), instance }
    }

    /// Whether something that happened at `at` was our doing.
    pub(crate) fn is_ours(&self, instance: InstanceId, at: Instant) -> bool {
        match self.0.lock().get(&instance) {
            Some(Mark::Acting(_)) => true,
            Some(Mark::Until(until)) => at <= *until,
            None => false,
        }
    }

    /// Whether this process acts on the instance now.
    pub(crate) fn is_busy(&self, instance: InstanceId) -> bool {
        matches!(self.0.lock().get(&instance), Some(Mark::Acting(_)))
    }
}

impl Drop for ActingGuard {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut marks = self.marks.0.lock();
        let next = match marks.get(&self.instance) {
            Some(Mark::Acting(depth)) if *depth > 1 => Mark::Acting(depth - 1),
            _ => Mark::Until(now + ECHO),
        };
        marks.insert(self.instance, next);
        // Old echoes are of no use; the map stays as small as the number of recent actions.
        marks.retain(|_, mark| !matches!(mark, Mark::Until(until) if *until + ECHO < now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_changes_are_ours_during_the_action_and_shortly_after() {
        let (acting, instance) = (Acting::default(), InstanceId::random());
        let now = Instant::now();
        assert!(!acting.is_ours(instance, now));
        let (outer, inner) = (acting.begin(instance), acting.begin(instance));
        assert!(acting.is_ours(instance, now) && acting.is_busy(instance));
        drop(outer);
        assert!(acting.is_busy(instance));
        drop(inner);
        assert!(!acting.is_busy(instance) && acting.is_ours(instance, now));
        assert!(!acting.is_ours(instance, now + ECHO * 3));
    }
}
