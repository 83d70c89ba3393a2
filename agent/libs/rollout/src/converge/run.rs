//! The run itself.

use std::time::Instant;

use sf_model::DaemonName;
use sf_systemd::{Active, ServiceError, UnitState};
use sf_units::dependency_order;

use super::{ConvergeError, Done, Host, Order, Outcome, Stopped, wait};
use crate::observe::unit_name;
use crate::plan::{self, Action, Observed, Reason, Step};

/// The target that holds all daemons together.
const TARGET: &str = "sf.target";

/// Brings the daemons to what is wanted, or says what would be done.
///
/// # Errors
/// See [`ConvergeError`]; what was done until then is told with it, and a repeated run goes on.
pub async fn converge(host: &mut Host<'_>, order: &Order) -> Result<Outcome, Stopped> {
    let mut outcome = Outcome::default();
    match steps(host, order, &mut outcome).await {
        Ok(()) => Ok(outcome),
        Err(why) => Err(Stopped { outcome, why }),
    }
}

/// A daemon and what is planned for it.
struct Planned {
    daemon: DaemonName,
    step: Step,
    observed: Observed,
}

async fn steps(host: &mut Host<'_>, order: &Order, outcome: &mut Outcome) -> Result<(), ConvergeError> {
    let planned = plan_all(host, order).await?;
    let mut prepared = Preparation::new(host, order, &planned, outcome)?;
    if order.check {
        foresee(&planned, order, outcome);
        return Ok(());
    }
    for planned in &planned {
        one(host, order, planned, &mut prepared, outcome).await?;
    }
    prepared.finish(host, order, outcome).await?;
    complete_target(host, order, outcome).await?;
    prune(host, order, outcome)
}

async fn plan_all(host: &mut Host<'_>, order: &Order) -> Result<Vec<Planned>, ConvergeError> {
    let mut planned = Vec::new();
    let mut missing = Vec::new();
    for daemon in dependency_order(&order.daemons) {
        let (wanted, observed) = host.view.look(daemon).await?;
        if !observed.state.installed {
            missing.push(unit_name(daemon));
        }
        planned.push(Planned { daemon, step: plan::decide(&wanted, &observed), observed });
    }
    if missing.is_empty() { Ok(planned) } else { Err(ConvergeError::NotInstalled(missing)) }
}

/// What comes before the first daemon is touched, and not earlier: a host that is not given its turn must come back as
/// it was if it crashes while it waits.
struct Preparation {
    flip: bool,
    reload: bool,
}

impl Preparation {
    fn new(
        host: &Host<'_>,
        order: &Order,
        planned: &[Planned],
        outcome: &mut Outcome,
    ) -> Result<Self, ConvergeError> {
        let link = host.releases.link();
        let current = host.releases.current();
        outcome.current.from = current.map_err(|source| ConvergeError::Release { path: link, source })?;
        outcome.current.to = order.staged.clone().or_else(|| outcome.current.from.clone());
        let flip = outcome.current.from != outcome.current.to;
        let reload = planned.iter().any(|planned| planned.observed.state.stale);
        (outcome.current.flipped, outcome.units_reloaded) = (order.check && flip, order.check && reload);
        outcome.changed = order.check && (flip || reload);
        Ok(Self { flip, reload })
    }

    async fn finish(
        &mut self,
        host: &Host<'_>,
        order: &Order,
        outcome: &mut Outcome,
    ) -> Result<(), ConvergeError> {
        if let Some(staged) = order.staged.as_ref().filter(|_| std::mem::take(&mut self.flip)) {
            let failed = |source| ConvergeError::Release { path: staged.clone(), source };
            host.releases.flip(staged).map_err(failed)?;
            (outcome.current.flipped, outcome.changed) = (true, true);
        }
        if std::mem::take(&mut self.reload) {
            host.services.reload().await?;
            (outcome.units_reloaded, outcome.changed) = (true, true);
        }
        Ok(())
    }
}

/// What a check says: the same words, nothing done.
fn foresee(planned: &[Planned], order: &Order, outcome: &mut Outcome) {
    for Planned { daemon, step, .. } in planned {
        let left = order.report && step.interrupts();
        if left {
            outcome.pending.push(daemon.to_string());
        }
        outcome.changed |= step.changes() && !left;
        outcome.daemons.push(done(*daemon, step, if left { Action::None } else { step.action }, None));
    }
}

async fn one(
    host: &Host<'_>,
    order: &Order,
    planned: &Planned,
    prepared: &mut Preparation,
    outcome: &mut Outcome,
) -> Result<(), ConvergeError> {
    let Planned { daemon, step, observed } = planned;
    if order.report && step.interrupts() {
        outcome.pending.push(daemon.to_string());
        outcome.daemons.push(done(*daemon, step, Action::None, None));
        return Ok(());
    }
    let began = Instant::now();
    // Whoever serves nobody needs no turn: there is nothing to protect.
    let turns =
        order.coordinated && step.interrupts() && wait::is_healthy(host, *daemon, observed.state.pid).await;
    if turns {
        wait::turn(host, order, *daemon).await?;
    }
    if step.changes() {
        prepared.finish(host, order, outcome).await?;
        outcome.changed = true;
    }
    let acted = act(host, *daemon, step).await;
    let well = match acted {
        // A unit that did not start says more about it than the job that failed.
        Ok(()) | Err(ConvergeError::Service(ServiceError::Job { .. })) => {
            wait::healthy(host, order, *daemon).await
        }
        Err(error) => Err(error),
    };
    if well.is_ok()
        && *daemon == DaemonName::Database
        && matches!(step.action, Action::Start | Action::Restart)
    {
        tokio::time::sleep(order.settle).await;
    }
    tell(host, order, *daemon, well.as_ref().err(), turns || step.changes()).await;
    outcome.daemons.push(done(*daemon, step, step.action, Some(began)));
    well
}

async fn act(host: &Host<'_>, daemon: DaemonName, step: &Step) -> Result<(), ConvergeError> {
    let unit = unit_name(daemon);
    if step.enable {
        host.services.enable(&unit).await?;
    }
    match step.action {
        Action::None => {}
        Action::Start => {
            if step.reasons.contains(&Reason::Failed) {
                host.services.reset_failed(&unit).await?;
            }
            host.services.start(&unit).await?;
        }
        Action::Restart => host.services.restart(&unit).await?,
        Action::Reload => host.services.reload_unit(&unit).await?,
    }
    Ok(())
}

/// Gives the turn back. A host that was left alone still tells that it is well: it may have failed before.
async fn tell(
    host: &Host<'_>,
    order: &Order,
    daemon: DaemonName,
    failure: Option<&ConvergeError>,
    acted: bool,
) {
    if !order.coordinated || (failure.is_some() && !acted) {
        return;
    }
    let reason = failure.map(|error| match error {
        ConvergeError::Unhealthy(failed) => failed.reason.clone(),
        other => other.to_string(),
    });
    if let Err(error) = host.slots.end(daemon, &order.target, reason.as_deref()).await {
        let level_matters = acted || reason.is_some();
        if level_matters {
            tracing::warn!(%daemon, error, "the cluster could not be told how the restart ended; the lease will say it failed");
        }
    }
}

/// Has the target started at boot, with all that belongs to it, and counts it as reached once nothing of that is down:
/// stopping it must stop them all, and starting it must start them.
async fn complete_target(host: &Host<'_>, order: &Order, outcome: &mut Outcome) -> Result<(), ConvergeError> {
    let target = host.services.state(TARGET).await?;
    if !target.installed {
        return Ok(());
    }
    if !target.enabled {
        host.services.enable(TARGET).await?;
        outcome.changed = true;
    }
    if target.stale || !target.enabled || misses(host, &target, order).await? {
        host.services.reload().await?;
        outcome.units_reloaded = true;
        // A site may have a daemon started by another target: then nothing is new.
        outcome.changed |= target.stale || host.services.state(TARGET).await?.wants != target.wants;
    }
    if target.active == Active::Active {
        return Ok(());
    }
    for unit in host.services.loaded("sf-*.service").await? {
        let state = host.services.state(&unit).await?;
        if state.enabled && state.active != Active::Active {
            return Ok(());
        }
    }
    host.services.start(TARGET).await?;
    outcome.changed = true;
    Ok(())
}

/// Whether the service manager does not know yet of a daemon that the target was given.
async fn misses(host: &Host<'_>, target: &UnitState, order: &Order) -> Result<bool, ConvergeError> {
    for unit in order.daemons.iter().map(|daemon| unit_name(*daemon)) {
        if !target.wants.contains(&unit) && host.services.state(&unit).await?.enabled {
            return Ok(true);
        }
    }
    Ok(false)
}

fn prune(host: &Host<'_>, order: &Order, outcome: &mut Outcome) -> Result<(), ConvergeError> {
    let Some(staged) = &order.staged else { return Ok(()) };
    let failed = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| ConvergeError::Release { path, source }
    };
    for path in host.releases.superfluous(order.keep, &[staged]).map_err(failed(staged))? {
        std::fs::remove_dir_all(&path).map_err(failed(&path))?;
        outcome.removed_releases.push(path);
        outcome.changed = true;
    }
    Ok(())
}

fn done(daemon: DaemonName, step: &Step, action: Action, began: Option<Instant>) -> Done {
    let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
    Done {
        daemon: daemon.to_string(),
        action,
        reasons: step.reasons.clone(),
        seconds: (seconds * 10.0).round() / 10.0,
    }
}
