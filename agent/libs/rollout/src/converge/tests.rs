//! Converging a host whose service manager, gates and cluster are written down here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sf_config::Fingerprint;
use sf_model::DaemonName::{self, Api, Database, Net, NetPrivexec, Queues};
use sf_systemd::{Active, ServiceError, ServiceManager, UnitState};

use super::*;
use crate::observe::unit_name;
use crate::plan::Action;
use crate::slots::Turn;

/// What everything has in common: units, what was done with them, and what the cluster says.
#[derive(Default)]
struct World {
    units: Mutex<BTreeMap<String, (UnitState, &'static str)>>,
    done: Mutex<Vec<String>>,
    /// Daemons whose gate never opens.
    sick: Mutex<Vec<DaemonName>>,
    /// What is answered to a wish for a turn; granted when nothing is left.
    turns: Mutex<Vec<Turn>>,
    ended: Mutex<Vec<(DaemonName, bool)>>,
}

impl World {
    /// A host whose daemons run the old build.
    fn of(daemons: &[DaemonName]) -> Self {
        let world = Self::default();
        for daemon in daemons {
            world.units.lock().insert(unit_name(*daemon), (running(), "old"));
        }
        world
    }

    fn change(&self, daemon: DaemonName, change: impl FnOnce(&mut UnitState)) {
        change(&mut self.units.lock().get_mut(&unit_name(daemon)).unwrap().0);
    }

    fn note(&self, what: &str, unit: &str) {
        self.done.lock().push(format!("{what} {unit}"));
    }

    fn bring_up(&self, unit: &str) {
        if let Some(entry) = self.units.lock().get_mut(unit) {
            *entry = (UnitState { enabled: entry.0.enabled, ..running() }, "new");
        }
    }

    fn take_done(&self) -> Vec<String> {
        std::mem::take(&mut *self.done.lock())
    }

    async fn converge(&self, order: &Order) -> Result<Outcome, Stopped> {
        let releases = Releases::below(&PathBuf::from("/nowhere"));
        let mut view = self;
        let host = Host { view: &mut view, services: self, gates: self, slots: self, releases: &releases };
        let mut host = host;
        super::converge(&mut host, order).await
    }
}

fn running() -> UnitState {
    UnitState { installed: true, enabled: true, active: Active::Active, pid: Some(7), ..UnitState::default() }
}

fn order(daemons: &[DaemonName]) -> Order {
    Order {
        daemons: daemons.to_vec(),
        staged: None,
        wait_ready: Duration::from_secs(120),
        settle: Duration::from_secs(10),
        coordinated: true,
        report: false,
        keep: 2,
        check: false,
        target: "t".into(),
    }
}

#[async_trait]
impl View for &World {
    async fn look(&mut self, daemon: DaemonName) -> Result<(Wanted, Observed), ObserveError> {
        let config = Fingerprint { fixed: "f".into(), live: "l".into() };
        let wanted = Wanted { build_id: "new".into(), config, unit: "u".into() };
        let found = self.units.lock().get(&unit_name(daemon)).cloned();
        let (state, build) = found.unwrap_or_default();
        let build_id = Some(build.to_owned());
        Ok((
            wanted,
            Observed {
                state,
                build_id,
                record: Some(crate::record::tests::record()),
                same_credentials: true,
            },
        ))
    }
}

#[async_trait]
impl ServiceManager for World {
    async fn state(&self, unit: &str) -> Result<UnitState, ServiceError> {
        Ok(self.units.lock().get(unit).cloned().unwrap_or_default().0)
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        self.note("reload", "units");
        let mut units = self.units.lock();
        let enabled = |(unit, (state, _)): (&String, &(UnitState, _))| state.enabled.then(|| unit.clone());
        let wants: Vec<String> = units.iter().filter_map(enabled).collect();
        if let Some((target, _)) = units.get_mut("sf.target") {
            *target = UnitState { stale: false, wants, ..target.clone() };
        }
        Ok(())
    }

    async fn start(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("start", unit);
        self.bring_up(unit);
        Ok(())
    }

    async fn restart(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("restart", unit);
        self.bring_up(unit);
        Ok(())
    }

    async fn stop(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("stop", unit);
        Ok(())
    }

    async fn reload_unit(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("hup", unit);
        Ok(())
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("reset", unit);
        Ok(())
    }

    async fn enable(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("enable", unit);
        if let Some(entry) = self.units.lock().get_mut(unit) {
            entry.0.enabled = true;
        }
        Ok(())
    }

    async fn disable(&self, unit: &str) -> Result<(), ServiceError> {
        self.note("disable", unit);
        Ok(())
    }

    async fn loaded(&self, _: &str) -> Result<Vec<String>, ServiceError> {
        Ok(self.units.lock().keys().filter(|unit| unit.ends_with(".service")).cloned().collect())
    }
}

#[async_trait]
impl Gates for World {
    async fn check(&self, daemon: DaemonName, _: u32) -> Result<(), String> {
        let unit = unit_name(daemon);
        let new = self.units.lock().get(&unit).is_some_and(|(_, build)| *build == "new");
        if new && self.sick.lock().contains(&daemon) { Err("it answers 503".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl Slots for World {
    async fn take(&self, daemon: DaemonName, _: &str, _: Duration) -> Turn {
        self.note("take", &daemon.to_string());
        self.turns.lock().pop().unwrap_or(Turn::Granted)
    }

    async fn end(&self, daemon: DaemonName, _: &str, failure: Option<&str>) -> Result<(), String> {
        self.ended.lock().push((daemon, failure.is_none()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn daemons_are_restarted_in_order_and_the_second_run_does_nothing() {
    let set = [Queues, Net, NetPrivexec, Database];
    let world = World::of(&set);
    let first = world.converge(&order(&set)).await.unwrap();
    assert!(first.changed);
    let turns: Vec<String> = world.take_done();
    assert_eq!(
        turns,
        [
            "take net-privexec",
            "restart sf-net-privexec.service",
            "take database",
            "restart sf-database.service",
            "take net",
            "restart sf-net.service",
            "take queues",
            "restart sf-queues.service",
        ]
    );
    assert!(world.ended.lock().iter().all(|(_, well)| *well));
    let second = world.converge(&order(&set)).await.unwrap();
    assert!(!second.changed && world.take_done().is_empty(), "{second:?}");
    assert!(second.daemons.iter().all(|done| done.action == Action::None));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_down_is_started_without_a_turn() {
    let world = World::of(&[Api]);
    world.change(Api, |state| {
        *state = UnitState { installed: true, active: Active::Failed, ..UnitState::default() };
    });
    world.turns.lock().push(Turn::Unreachable("no gateway".into()));
    let outcome = world.converge(&order(&[Api])).await.unwrap();
    assert_eq!(world.take_done(), ["enable sf-api.service", "reset sf-api.service", "start sf-api.service"]);
    assert_eq!(outcome.daemons[0].action, Action::Start);
}

#[tokio::test(start_paused = true)]
async fn a_roll_stops_at_the_first_daemon_that_does_not_come_back() {
    let world = World::of(&[Database, Net]);
    world.sick.lock().push(Database);
    let stopped = world.converge(&order(&[Database, Net])).await.unwrap_err();
    let ConvergeError::Unhealthy(failed) = &stopped.why else { panic!("{:?}", stopped.why) };
    assert_eq!((failed.daemon.as_str(), failed.reason.as_str()), ("database", "it answers 503"));
    assert_eq!(*world.ended.lock(), [(Database, false)]);
    assert!(stopped.outcome.changed);
    assert_eq!(world.take_done(), ["take database", "restart sf-database.service"], "net is left alone");
    // The daemon is of the new build now and still ill: the next run does not call that converged.
    let again = world.converge(&order(&[Database])).await.unwrap_err();
    assert!(matches!(again.why, ConvergeError::Unhealthy(_)));
    assert!(!again.outcome.changed);
    world.sick.lock().clear();
    world.converge(&order(&[Database])).await.unwrap();
    assert_eq!(world.ended.lock().last(), Some(&(Database, true)), "it takes its mark back");
}

#[tokio::test(start_paused = true)]
async fn without_a_turn_nothing_is_touched() {
    let failed = || Turn::Failed { node: "other".into(), reason: "it broke".into() };
    type Expected = fn(&ConvergeError) -> bool;
    let cases: [(Turn, Expected); 2] = [
        (failed(), |why| matches!(why, ConvergeError::RollFailed { node, .. } if node == "other")),
        (Turn::Unreachable("silence".into()), |why| matches!(why, ConvergeError::Uncoordinated { .. })),
    ];
    for (turn, expected) in cases {
        let world = World::of(&[Api]);
        world.change(Api, |state| state.stale = true);
        world.turns.lock().push(turn);
        let stopped = world.converge(&order(&[Api])).await.unwrap_err();
        assert!(expected(&stopped.why), "{:?}", stopped.why);
        assert!(!stopped.outcome.changed);
        assert_eq!(world.take_done(), ["take api"], "not even the units were read again");
        assert!(world.ended.lock().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_waited_for_and_not_for_ever() {
    let busy = || Turn::Busy(vec!["other".into()]);
    let world = World::of(&[Api]);
    world.turns.lock().extend([busy(), busy()]);
    world.converge(&order(&[Api])).await.unwrap();
    assert_eq!(world.take_done().len(), 4, "asked three times, then restarted");
    let world = World::of(&[Api]);
    world.turns.lock().extend(vec![busy(); 1000]);
    let stopped = world.converge(&order(&[Api])).await.unwrap_err();
    assert!(matches!(stopped.why, ConvergeError::Busy { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_check_and_a_report_touch_nothing_that_runs() {
    let world = World::of(&[Api, Net]);
    world.change(Net, |state| (state.active, state.pid) = (Active::Inactive, None));
    let check = world.converge(&Order { check: true, ..order(&[Api, Net]) }).await.unwrap();
    assert!(check.changed && world.take_done().is_empty());
    let actions: Vec<Action> = check.daemons.iter().map(|done| done.action).collect();
    assert_eq!(actions, [Action::Start, Action::Restart]);
    let report = world.converge(&Order { report: true, ..order(&[Api, Net]) }).await.unwrap();
    assert_eq!(report.pending, ["api"]);
    assert_eq!(world.take_done(), ["start sf-net.service"]);
}

#[tokio::test(start_paused = true)]
async fn the_target_is_reached_when_nothing_of_it_is_down() {
    let world = World::of(&[Api, Net]);
    world
        .units
        .lock()
        .insert("sf.target".into(), (UnitState { installed: true, ..UnitState::default() }, ""));
    world.change(Api, |state| (state.active, state.pid) = (Active::Inactive, None));
    world.converge(&order(&[Net])).await.unwrap();
    let started = |done: &[String]| done.iter().any(|what| what == "start sf.target");
    assert!(!started(&world.take_done()), "the target would start sf-api as well");
    world.converge(&order(&[Api])).await.unwrap();
    assert!(started(&world.take_done()));
}

#[tokio::test(start_paused = true)]
async fn units_are_read_again_until_the_target_knows_what_it_starts() {
    let world = World::of(&[Api, Net]);
    let target = UnitState { stale: true, ..running() };
    world.units.lock().insert("sf.target".into(), (target, ""));
    let reloads = |done: Vec<String>| done.iter().filter(|what| *what == "reload units").count();
    // Whoever enabled sf-api was cut off before systemd was told.
    assert!(world.converge(&order(&[Net])).await.unwrap().units_reloaded);
    assert_eq!(reloads(world.take_done()), 1);
    world.units.lock().get_mut("sf.target").unwrap().0.wants.retain(|unit| unit != "sf-api.service");
    world.converge(&order(&[Net])).await.unwrap();
    assert_eq!(reloads(world.take_done()), 0, "sf-api is not asked for");
    assert!(world.converge(&order(&[Api])).await.unwrap().units_reloaded);
    assert_eq!(reloads(world.take_done()), 1);
    let again = world.converge(&order(&[Api, Net])).await.unwrap();
    assert!(!again.changed, "{again:?}");
    world.change(Api, |state| state.enabled = false);
    world.units.lock().get_mut("sf.target").unwrap().0.wants.clear();
    world.converge(&order(&[Api])).await.unwrap();
    let done = world.take_done();
    assert_eq!(done.first().map(String::as_str), Some("enable sf-api.service"));
    assert_eq!(reloads(done), 1);
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_named() {
    let stopped = World::of(&[Api]).converge(&order(&[Api, Net])).await.unwrap_err();
    assert!(matches!(&stopped.why, ConvergeError::NotInstalled(units) if units == &["sf-net.service"]));
}
