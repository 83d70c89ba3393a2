//! Work on MariaDB itself, for the three commands that open it and for standalone mode.

use std::sync::Arc;

use sf_config::DatabaseConfig;
use sf_store::bootstrap::{BootstrapError, Done, Input, Moment, Observer};
use sf_store::compat::{self, Purpose};
use sf_store::migrate::{self, Progress, SchemaError};
use sf_store::{ConnectOptions, StoreError};

use crate::failure::{Exit, Failure};

/// Says whether the server fits schema work and a gateway.
pub(crate) async fn check(config: &DatabaseConfig) -> Result<compat::Report, Failure> {
    let schema = compat::check(&ConnectOptions::schema(config)?, Purpose::Schema).await?;
    let purpose = Purpose::Gateway { pool_size: config.database_pool_size };
    let gateway = compat::check(&ConnectOptions::runtime(config)?, purpose).await?;
    let mut warnings = schema.warnings;
    warnings.extend(gateway.warnings);
    warnings.dedup();
    Ok(compat::Report { warnings, ..gateway })
}

/// Says which migrations would be applied.
pub(crate) async fn plan_schema(config: &DatabaseConfig) -> Result<migrate::Report, Failure> {
    Ok(migrate::plan(&ConnectOptions::schema(config)?).await?)
}

/// Applies the missing migrations.
pub(crate) async fn ensure_schema(
    config: &DatabaseConfig,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<migrate::Report, Failure> {
    Ok(migrate::ensure_schema(&ConnectOptions::schema(config)?, tell).await?)
}

/// Makes what a cluster begins with, as far as it does not exist.
pub(crate) async fn bootstrap(config: &DatabaseConfig, input: &Input) -> Result<Vec<Done>, Failure> {
    let observe: Observer = Arc::new(|operation: &str, moment| {
        if moment == Moment::Committed {
            tracing::info!(operation, "made");
        }
    });
    Ok(sf_store::bootstrap::bootstrap(&ConnectOptions::runtime(config)?, input, &observe).await?)
}

/// Says what bootstrap would make.
pub(crate) async fn plan_bootstrap(config: &DatabaseConfig, input: &Input) -> Result<Vec<Done>, Failure> {
    Ok(sf_store::bootstrap::plan(&ConnectOptions::runtime(config)?, input).await?)
}

impl From<BootstrapError> for Failure {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Schema(schema) => schema.into(),
            BootstrapError::Store { operation, source } => {
                let inner = Self::from(source);
                Self { error: inner.error.context(format!("bootstrap stopped at {operation}")), ..inner }
            }
            file @ BootstrapError::KeyFile { .. } => Self::new(Exit::Refused, file),
        }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        let exit = match &error {
            SchemaError::Busy => Exit::Busy,
            SchemaError::Failed { .. } => Exit::Internal,
            SchemaError::Store(_) => Exit::Unreachable,
            _ => Exit::Config,
        };
        Self::new(exit, error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Setup(_) => Exit::Config,
            StoreError::Invalid(_) | StoreError::Refused { .. } => Exit::Refused,
            _ => Exit::Unreachable,
        };
        Self::new(exit, error)
    }
}
