//! Reporting, at most once a day each, what the database does not know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_model::InstanceId;

/// Between two reports of the same instance.
const DAY: Duration = Duration::from_secs(86_400);

/// When what was reported.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<BTreeMap<InstanceId, Instant>>);

impl Reports {
    /// Whether a report is due; it then counts as made.
    pub(crate) fn due(&self, instance: InstanceId) -> bool {
        let mut reports = self.0.lock();
        reports.retain(|_, made| made.elapsed() < DAY);
        let due = !reports.contains_key(&instance);
        if due {
            reports.insert(instance, Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_report_a_day() {
        let (reports, instance) = (Reports::default(), InstanceId::random());
        assert!(reports.due(instance) && !reports.due(instance));
        assert!(reports.due(InstanceId::random()));
    }
}
