//! Looking at this host through its service manager and `/proc`.

use async_trait::async_trait;
use sf_model::DaemonName;
use sf_rollout::converge::View;
use sf_rollout::observe::{ObserveError, Observer};
use sf_rollout::plan::{Observed, Wanted};

/// The daemons as they are.
pub(super) struct HostView<'a>(pub(super) Observer<'a>);

#[async_trait]
impl View for HostView<'_> {
    async fn look(&mut self, daemon: DaemonName) -> Result<(Wanted, Observed), ObserveError> {
        let (wanted, files) = self.0.wanted(daemon)?;
        let observed = self.0.observed(daemon, &files).await?;
        Ok((wanted, observed))
    }
}
