//! The commands that open MariaDB directly: nothing else runs yet when they are needed.

use clap::Args;
use serde_json::json;
use sf_config::{DatabaseConfig, Sources, load_database};
use sf_store::migrate::{Progress, Report, Step};

use super::database;
use crate::answer::{Answer, table};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct EnsureOptions {
    /// Say what would be done and change nothing.
    #[arg(long, visible_alias = "dry-run")]
    check: bool,
}

/// `check-mariadb`.
pub(crate) async fn check(sources: &Sources) -> Result<Answer, Failure> {
    let report = database::check(&config(sources)?).await?;
    let warnings: String = report.warnings.iter().map(|w| format!("\nwarning: {w}")).collect();
    let text = format!("MariaDB {} can be used{warnings}", report.version);
    Ok(Answer::new(
        json!({ "compatible": true, "version": report.version, "warnings": report.warnings }),
        text,
    ))
}

/// `ensure-mariadb-schema`.
pub(crate) async fn ensure(sources: &Sources, options: EnsureOptions) -> Result<Answer, Failure> {
    let config = config(sources)?;
    if options.check {
        let plan = database::plan_schema(&config).await?;
        return Ok(answer(&plan, "would be applied"));
    }
    let mut tell = |progress| {
        if let Progress::Applied(step, took) = progress {
            tracing::info!(migration = step.name, seconds = took.as_secs_f64(), "applied");
        }
    };
    let report = database::ensure_schema(&config, &mut tell).await?;
    Ok(answer(&report, "applied"))
}

fn config(sources: &Sources) -> Result<DatabaseConfig, Failure> {
    Ok(load_database(sources)?.config)
}

fn answer(report: &Report, what: &str) -> Answer {
    let version = report.schema_version;
    let entry =
        |step: &Step| json!({ "version": step.version, "name": step.name, "blocking": step.is_blocking() });
    let fields =
        json!({ "applied": report.applied.iter().map(entry).collect::<Vec<_>>(), "schema_version": version });
    let row = |step: &Step| {
        let blocking = if step.is_blocking() { "blocks writers" } else { "" };
        vec![format!("{:04}", step.version), step.name.to_owned(), what.to_owned(), blocking.to_owned()]
    };
    let text = match report.applied.is_empty() {
        true => format!("the schema is version {version}, nothing to do"),
        false => {
            let rows = table(&["migration", "name", "", ""], report.applied.iter().map(row));
            format!("{rows}\nschema version {version}")
        }
    };
    Answer::new(fields, text).changed(!report.applied.is_empty())
}
