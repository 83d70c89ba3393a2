//! Looking at the daemons of this host.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use sf_config::{DatabaseConfig, NodeConfig, fingerprint};
use sf_model::DaemonName;
use sf_systemd::{ServiceError, ServiceManager};
use sf_units::binary::{self, BinaryError};

use crate::plan::{Observed, Wanted};
use crate::unit_files::UnitFiles;
use crate::{credentials, record};

/// Why the state of this host could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The service manager does not say.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The executable that is wanted cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A file or a process cannot be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn unreadable(what: impl Into<String>) -> impl FnOnce(io::Error) -> ObserveError {
    let what = what.into();
    move |source| ObserveError::Read { what, source }
}

/// The configuration of now.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Keys of the node.
    pub node: NodeConfig,
    /// Keys of the tier, on its hosts.
    pub database: Option<DatabaseConfig>,
}

/// Looks at this host through its service manager, `/proc` and its files. Executables are hashed once.
pub struct Observer<'a> {
    services: &'a dyn ServiceManager,
    configuration: &'a Configuration,
    build_id: String,
    known: HashMap<(u64, u64), String>,
}

impl<'a> Observer<'a> {
    /// An observer that compares with an executable.
    ///
    /// # Errors
    /// The executable cannot be read.
    pub fn new(
        services: &'a dyn ServiceManager,
        configuration: &'a Configuration,
        executable: &Path,
    ) -> Result<Self, ObserveError> {
        let mut observer = Self { services, configuration, build_id: String::new(), known: HashMap::new() };
        observer.build_id = observer.build_of(executable)?;
        Ok(observer)
    }

    /// The build that is wanted.
    pub fn build_id(&self) -> &str {
        &self.build_id
    }

    /// What a daemon should be, and the files of its unit.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn wanted(&self, daemon: DaemonName) -> Result<(Wanted, UnitFiles), ObserveError> {
        let unit = unit_name(daemon);
        let files = UnitFiles::read(&unit).map_err(unreadable(format!("the unit {unit}")))?;
        let database = self.configuration.database.as_ref().filter(|_| daemon == DaemonName::Database);
        let wanted = Wanted {
            build_id: self.build_id.clone(),
            config: fingerprint(daemon, &self.configuration.node, database),
            unit: files.digest(),
        };
        Ok((wanted, files))
    }

    /// What a daemon is. `files` are those of its unit.
    ///
    /// # Errors
    /// Something that exists cannot be read.
    pub async fn observed(
        &mut self,
        daemon: DaemonName,
        files: &UnitFiles,
    ) -> Result<Observed, ObserveError> {
        let state = self.services.state(&unit_name(daemon)).await?;
        let Some(pid) = state.pid else { return Ok(Observed { state, ..Observed::default() }) };
        let record = record::read(pid).map_err(unreadable(format!("process {pid} of sf-{daemon}")))?;
        let build_id = self.build_of_process(pid)?;
        let recorded = record.as_ref().and_then(|record| record.credentials.as_deref());
        let same_credentials = credentials::same(recorded, &files.credentials())
            .map_err(unreadable(format!("a credential of sf-{daemon}")))?;
        Ok(Observed { state, build_id, record, same_credentials })
    }

    /// `None` when the process has ended meanwhile.
    fn build_of_process(&mut self, pid: u32) -> Result<Option<String>, ObserveError> {
        let link = PathBuf::from(format!("/proc/{pid}/exe"));
        match self.build_of(&link) {
            Ok(build) => Ok(Some(build)),
            Err(BinaryError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn build_of(&mut self, path: &Path) -> Result<String, BinaryError> {
        use std::os::unix::fs::MetadataExt;
        let failed = |source| BinaryError::Read { path: path.to_owned(), source };
        let meta = std::fs::metadata(path).map_err(failed)?;
        let identity = (meta.dev(), meta.ino());
        if let Some(build) = self.known.get(&identity) {
            return Ok(build.clone());
        }
        let build = binary::build_id(path)?;
        self.known.insert(identity, build.clone());
        Ok(build)
    }
}

/// Name of the unit of a daemon.
pub fn unit_name(daemon: DaemonName) -> String {
    format!("{}.service", daemon.program())
}
