//! What a unit does.

/// Its activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Active {
    /// It runs and has said that it is ready.
    Active,
    /// It is on its way up, or waits before the next try.
    Activating,
    /// It reads its configuration again.
    Reloading,
    /// It is on its way down.
    Deactivating,
    /// It does not run.
    #[default]
    Inactive,
    /// It does not run because it failed.
    Failed,
}

impl Active {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "activating" => Self::Activating,
            "reloading" => Self::Reloading,
            "deactivating" => Self::Deactivating,
            "failed" => Self::Failed,
            _ => Self::Inactive,
        }
    }

    /// The word the service manager uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Activating => "activating",
            Self::Reloading => "reloading",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        }
    }
}

/// A unit at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UnitState {
    /// Its file exists and could be read.
    pub installed: bool,
    /// It is started at boot.
    pub enabled: bool,
    /// Its activity.
    pub active: Active,
    /// Finer, as the service manager calls it: `running`, `auto-restart`, `dead`, ….
    pub sub: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// The line it last reported.
    pub status: String,
    /// Its files changed since they were read.
    pub stale: bool,
    /// What is started with it, as far as the service manager has read: enabling a unit is a link that it does not see
    /// before it reads all files again. Empty for services.
    pub wants: Vec<String>,
    /// Unix seconds at which it became active; absent when it never was.
    pub since: Option<f64>,
    /// How its last run ended: `success`, `exit-code`, `signal`, `timeout`, `watchdog`, ….
    pub result: String,
    /// Exit code or signal of its last run.
    pub exit_status: i32,
}
