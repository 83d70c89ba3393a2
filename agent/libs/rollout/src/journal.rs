//! The last words of a unit.

use tokio::process::Command;

/// Lines that are kept.
const LINES: &str = "20";

/// The last lines of a unit's journal; what went wrong instead, when it cannot be read: nothing depends on it.
pub async fn tail(unit: &str) -> Vec<String> {
    let arguments = ["--unit", unit, "--lines", LINES, "--output", "cat", "--no-pager", "--quiet"];
    match Command::new("journalctl").args(arguments).output().await {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("the journal cannot be read: {error}")],
    }
}
