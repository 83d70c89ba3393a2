//! Running the checks: side by side, under one deadline.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::checks::{CHECKS, Check};
use crate::finding::{Finding, Level};
use crate::subject::Subject;

/// Runs every check that applies. One that does not end in time is skipped and left behind: a mount that hangs must not
/// hang the report.
pub fn run(subject: Subject) -> Vec<Finding> {
    run_checks(Arc::new(subject), CHECKS)
}

fn run_checks(subject: Arc<Subject>, checks: &'static [Check]) -> Vec<Finding> {
    let limit = subject.input.settings.timeout;
    let deadline = Instant::now() + Duration::from_secs(limit);
    let applying: Vec<&'static Check> =
        checks.iter().filter(|check| (check.applies)(&subject.input)).collect();
    let (sender, receiver) = mpsc::channel();
    for (at, check) in applying.iter().enumerate() {
        let (subject, sender, run) = (subject.clone(), sender.clone(), check.run);
        std::thread::spawn(move || {
            // Nobody listens any more when it took too long.
            let _ = sender.send((at, run(&subject)));
        });
    }
    drop(sender);
    let mut found: Vec<Option<Vec<Finding>>> = vec![None; applying.len()];
    while let Ok((at, findings)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(slot) = found.get_mut(at) {
            *slot = Some(findings);
        }
    }
    let ignored = &subject.input.settings.ignore;
    let late = || vec![Finding::skip(format!("it did not end within {limit} s"))];
    let labelled = applying.iter().zip(found).flat_map(|(check, findings)| {
        findings.unwrap_or_else(late).into_iter().map(|finding| label(check, finding, ignored))
    });
    labelled.collect()
}

fn label(check: &Check, finding: Finding, ignored: &[String]) -> Finding {
    let ignored = !check.hard && ignored.iter().any(|id| id == check.id);
    Finding { id: check.id, hard: check.hard, ..finding.unless(ignored) }
}

/// Whether a report stops a deployment.
impl Level {
    /// Whether it does.
    pub fn stops(self) -> bool {
        self == Self::Fail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::fake::subject;

    fn hangs(_: &Subject) -> Vec<Finding> {
        std::thread::park();
        Vec::new()
    }

    fn fails(_: &Subject) -> Vec<Finding> {
        vec![Finding::fail("bad")]
    }

    const TABLE: &[Check] = &[
        Check { id: "PF-A", hard: false, applies: |_| true, run: fails },
        Check { id: "PF-B", hard: true, applies: |_| true, run: fails },
        Check { id: "PF-C", hard: false, applies: |_| false, run: fails },
        Check { id: "PF-D", hard: false, applies: |_| true, run: hangs },
    ];

    #[test]
    fn ignoring_softens_what_is_not_hard_and_hanging_is_a_skip() {
        let mut subject = subject(&[]);
        subject.input.settings.ignore = vec!["PF-A".into(), "PF-B".into()];
        subject.input.settings.timeout = 0;
        // With no time at all what is quick may or may not have answered; what hangs has not.
        let late = run_checks(Arc::new(subject), TABLE);
        assert_eq!(late.last().map(|f| (f.id, f.level)), Some(("PF-D", Level::Skip)));
        let mut subject = self::subject(&[]);
        subject.input.settings.ignore = vec!["PF-A".into(), "PF-B".into()];
        let found = run_checks(Arc::new(subject), TABLE.get(..3).unwrap());
        let levels: Vec<(&str, Level)> = found.iter().map(|f| (f.id, f.level)).collect();
        assert_eq!(levels, [("PF-A", Level::Warn), ("PF-B", Level::Fail)]);
    }
}
