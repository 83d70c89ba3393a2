//! The embedded migrations and what may be done with them: pure.

use std::borrow::Cow;
use std::fmt;

use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationVersion, Result as MigrationResult,
};
use diesel::mysql::Mysql;
use sha2::{Digest, Sha256};

/// Every migration of this build, in order.
pub const STEPS: &[Step] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// The lowest schema a running gateway may have been built for and still work with this one.
pub const OLDEST_COMPATIBLE: u32 = 1;

/// One migration: one DDL statement or one batched change of data, written so that it can run twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The number at the front of its name.
    pub version: u32,
    /// Name of its folder.
    pub name: &'static str,
    /// What it says.
    pub sql: &'static str,
}

impl Step {
    /// SHA-256 of its text.
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }

    /// Whether it says of itself that it blocks writers.
    pub fn is_blocking(&self) -> bool {
        self.sql.contains("-- sf: blocking")
    }
}

/// The schema version of this build.
pub fn built_version() -> u32 {
    STEPS.last().map_or(0, |step| step.version)
}

/// A migration that was applied, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// Its number.
    pub(super) version: u32,
    /// Checksum of the text that ran.
    pub(super) checksum: String,
}

/// The steps that are missing.
///
/// # Errors
/// The name of an applied migration whose text differs from the embedded one.
pub(super) fn pending(steps: &'static [Step], applied: &[Applied]) -> Result<Vec<Step>, &'static str> {
    let mut missing = Vec::new();
    for step in steps {
        match applied.iter().find(|a| a.version == step.version) {
            None => missing.push(*step),
            Some(a) if a.checksum != step.checksum() => return Err(step.name),
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// Whether a gateway may serve a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Built for this schema.
    Same,
    /// Older than the schema and still compatible.
    Older,
    /// Too old.
    TooOld,
    /// The schema lacks migrations.
    SchemaBehind,
}

/// Judges a build against the recorded versions (`database-tier.md` §3.3).
pub fn window(built: u32, recorded: u32, oldest_compatible: u32) -> Window {
    if built > recorded {
        Window::SchemaBehind
    } else if built == recorded {
        Window::Same
    } else if built >= oldest_compatible {
        Window::Older
    } else {
        Window::TooOld
    }
}

impl Migration<Mysql> for Step {
    fn run(&self, conn: &mut dyn BoxableConnection<Mysql>) -> MigrationResult<()> {
        Ok(conn.batch_execute(self.sql)?)
    }

    fn revert(&self, _conn: &mut dyn BoxableConnection<Mysql>) -> MigrationResult<()> {
        Err("schemas are never moved backwards".into())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

impl MigrationMetadata for Step {
    /// DDL commits by itself.
    fn run_in_transaction(&self) -> bool {
        false
    }
}

impl MigrationName for Step {
    fn version(&self) -> MigrationVersion<'_> {
        let number = self.name.split('_').next().unwrap_or_default();
        MigrationVersion::from(Cow::Borrowed(number).into_owned())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_unique_and_ordered_and_each_can_run_twice() {
        assert!(STEPS.windows(2).all(|pair| pair[0].version < pair[1].version));
        for step in STEPS {
            let text = step.sql.to_uppercase();
            let repeatable = ["IF NOT EXISTS", "IF EXISTS", "INSERT IGNORE", "UPDATE ", "ON DUPLICATE KEY"];
            assert!(repeatable.iter().any(|w| text.contains(w)), "{}: cannot be repeated", step.name);
            let statements = step.sql.split(';').filter(|part| !part.trim().is_empty()).count();
            let comments = step.sql.lines().filter(|l| l.starts_with("--") && l.contains(';')).count();
            assert!(statements - comments <= 1, "{}: one statement per migration", step.name);
        }
    }

    #[test]
    fn a_changed_migration_is_refused() {
        let applied = |step: &Step| Applied { version: step.version, checksum: step.checksum() };
        let all: Vec<Applied> = STEPS.iter().map(applied).collect();
        assert_eq!(pending(STEPS, &all), Ok(Vec::new()));
        assert_eq!(pending(STEPS, &all[1..]).unwrap(), vec![STEPS[0]]);
        let mut forged = all;
        forged[3].checksum = "0".repeat(64);
        assert_eq!(pending(STEPS, &forged), Err(STEPS[3].name));
    }

    #[test]
    fn version_windows() {
        for (built, recorded, oldest, expected) in [
            (7, 7, 1, Window::Same),
            (6, 7, 6, Window::Older),
            (5, 7, 6, Window::TooOld),
            (8, 7, 1, Window::SchemaBehind),
        ] {
            assert_eq!(window(built, recorded, oldest), expected, "{built} {recorded} {oldest}");
        }
    }
}
