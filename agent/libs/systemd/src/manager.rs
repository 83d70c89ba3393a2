//! systemd over the system bus.

use async_trait::async_trait;
use futures::StreamExt;
use zbus::proxy::CacheProperties;
use zbus::{Connection, Result as BusResult};

use crate::proxies::{ManagerProxy, ServiceProxy, UnitProxy};
use crate::state::{Active, UnitState};
use crate::{ServiceError, ServiceManager};

/// The systemd of this host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    bus: Connection,
    manager: ManagerProxy<'static>,
}

impl Systemd {
    /// Connects.
    ///
    /// # Errors
    /// [`ServiceError::Unreachable`].
    pub async fn connect() -> Result<Self, ServiceError> {
        let bus = Connection::system().await.map_err(ServiceError::Unreachable)?;
        let manager = ManagerProxy::new(&bus).await.map_err(ServiceError::Unreachable)?;
        // Without a subscriber systemd announces no ends of jobs.
        manager.subscribe().await.map_err(ServiceError::Unreachable)?;
        Ok(Self { bus, manager })
    }

    /// Queues a job and waits for its end. The signal is listened for before the job exists, so it cannot be missed.
    async fn job(&self, job: Job, unit: &str) -> Result<(), ServiceError> {
        let action = job.action();
        let refused = refused(action, unit);
        let mut ends = self.manager.receive_job_removed().await.map_err(&refused)?;
        let queued = match job {
            Job::Start => self.manager.start_unit(unit, REPLACE).await,
            Job::Restart => self.manager.restart_unit(unit, REPLACE).await,
            Job::Stop => self.manager.stop_unit(unit, REPLACE).await,
            Job::Reload => self.manager.reload_unit(unit, REPLACE).await,
        };
        let queued = queued.map_err(&refused)?;
        while let Some(end) = ends.next().await {
            let end = end.args().map_err(&refused)?;
            if end.job != queued {
                continue;
            }
            // `skipped`: it was there already.
            if matches!(end.result.as_str(), "done" | "skipped") {
                return Ok(());
            }
            return Err(ServiceError::Job { action, unit: unit.to_owned(), result: end.result.clone() });
        }
        Err(ServiceError::Job { action, unit: unit.to_owned(), result: "the bus went away".to_owned() })
    }

    async fn read(&self, unit: &str) -> BusResult<UnitState> {
        let path = self.manager.load_unit(unit).await?;
        let general = UnitProxy::builder(&self.bus)
            .path(path.clone())
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let installed = general.load_state().await? == "loaded";
        let active: String = general.active_state().await?;
        let since = general.active_enter_timestamp().await?;
        let state = UnitState {
            installed,
            // Not the property of the unit, which is what was true when its file was read.
            enabled: installed && self.manager.get_unit_file_state(unit).await?.starts_with("enabled"),
            active: Active::parse(&active),
            sub: general.sub_state().await?,
            stale: general.need_daemon_reload().await?,
            since: (since > 0).then_some(since as f64 / 1e6),
            ..UnitState::default()
        };
        if !unit.ends_with(".service") {
            return Ok(UnitState { wants: general.wants().await?, ..state });
        }
        let service =
            ServiceProxy::builder(&self.bus).path(path).cache_properties(CacheProperties::No).build().await?;
        Ok(UnitState {
            pid: Some(service.main_pid().await?).filter(|pid| *pid != 0),
            status: service.status_text().await?,
            result: service.result().await?,
            exit_status: service.exec_main_status().await?,
            ..state
        })
    }
}

/// Changes that take their time.
#[derive(Debug, Clone, Copy)]
enum Job {
    Start,
    Restart,
    Stop,
    Reload,
}

impl Job {
    fn action(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Reload => "reload",
        }
    }
}

/// Says what was refused.
fn refused(action: &'static str, unit: &str) -> impl Fn(zbus::Error) -> ServiceError {
    move |source| ServiceError::Refused { action, unit: unit.to_owned(), source }
}

/// How jobs treat others that are queued: a newer wish replaces an older one.
const REPLACE: &str = "replace";

#[async_trait]
impl ServiceManager for Systemd {
    async fn state(&self, unit: &str) -> Result<UnitState, ServiceError> {
        self.read(unit).await.map_err(refused("inspect", unit))
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        self.manager.reload().await.map_err(refused("read again", "all units"))
    }

    async fn start(&self, unit: &str) -> Result<(), ServiceError> {
        self.job(Job::Start, unit).await
    }

    async fn restart(&self, unit: &str) -> Result<(), ServiceError> {
        self.job(Job::Restart, unit).await
    }

    async fn stop(&self, unit: &str) -> Result<(), ServiceError> {
        self.job(Job::Stop, unit).await
    }

    async fn reload_unit(&self, unit: &str) -> Result<(), ServiceError> {
        self.job(Job::Reload, unit).await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), ServiceError> {
        self.manager.reset_failed_unit(unit).await.map_err(refused("forget the failure of", unit))
    }

    async fn enable(&self, unit: &str) -> Result<(), ServiceError> {
        let enabled = self.manager.enable_unit_files(&[unit], false, false).await;
        enabled.map(|_| ()).map_err(refused("enable", unit))
    }

    async fn disable(&self, unit: &str) -> Result<(), ServiceError> {
        let disabled = self.manager.disable_unit_files(&[unit], false).await;
        disabled.map(|_| ()).map_err(refused("disable", unit))
    }

    async fn loaded(&self, pattern: &str) -> Result<Vec<String>, ServiceError> {
        let listed = self.manager.list_units_by_patterns(&[], &[pattern]).await;
        let listed = listed.map_err(refused("list", pattern))?;
        Ok(listed.into_iter().map(|unit| unit.0).collect())
    }
}
