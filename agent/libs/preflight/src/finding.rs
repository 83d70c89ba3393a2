//! What a check says.

use serde::Serialize;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Pass,
    /// The check could not look, or has nothing to look at here.
    Skip,
    /// It works, and may hurt later.
    Warn,
    /// The daemons would not work.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Whether an operator may not ignore it.
    pub hard: bool,
    /// What there is.
    pub got: String,
    /// What is needed.
    pub want: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    fn new(level: Level, got: impl Into<String>) -> Self {
        let empty = String::new;
        Self { id: "", level, hard: false, got: got.into(), want: empty(), why: empty(), fix: empty() }
    }

    /// It is as it should be.
    pub fn pass(got: impl Into<String>) -> Self {
        Self::new(Level::Pass, got)
    }

    /// It could not be looked at.
    pub fn skip(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::new(Level::Skip, "") }
    }

    /// It works, and may hurt later.
    pub fn warn(got: impl Into<String>) -> Self {
        Self::new(Level::Warn, got)
    }

    /// It would not work.
    pub fn fail(got: impl Into<String>) -> Self {
        Self::new(Level::Fail, got)
    }

    /// What is needed instead.
    pub fn want(self, want: impl Into<String>) -> Self {
        Self { want: want.into(), ..self }
    }

    /// Why it matters.
    pub fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    /// What to do.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// A failure that a setting turns into a warning.
    pub fn unless(self, allowed: bool) -> Self {
        let level = if allowed && self.level == Level::Fail { Level::Warn } else { self.level };
        Self { level, ..self }
    }
}
