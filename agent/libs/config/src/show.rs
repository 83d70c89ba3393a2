//! A configuration as a list that may be printed.

use sf_model::redact::is_secret_name;

use crate::spec::KeySpec;
use crate::tables::{ClusterConfig, DatabaseConfig, NodeConfig};

/// One key as shown to an operator.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The declaration.
    pub spec: &'static KeySpec,
    /// The canonical text, `<redacted>` when the key is secret.
    pub text: String,
}

/// A table whose keys can be listed.
pub trait Table {
    /// Declaration and clear text of every key.
    fn rows(&self) -> Vec<(&'static KeySpec, String)>;
}

macro_rules! tables {
    ($($table:ty),*) => {$(impl Table for $table {
        fn rows(&self) -> Vec<(&'static KeySpec, String)> {
            self.texts()
        }
    })*};
}
tables!(NodeConfig, DatabaseConfig, ClusterConfig);

/// Every key of a table with its value, secrets masked unless `clear`.
pub fn show(table: &impl Table, clear: bool) -> Vec<Shown> {
    let mask = |spec: &KeySpec, text: String| {
        let hidden = !clear && !text.is_empty() && (spec.flags.secret || is_secret_name(spec.name));
        if hidden { "<redacted>".to_owned() } else { text }
    };
    table.rows().into_iter().map(|(spec, text)| Shown { spec, text: mask(spec, text) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_masked_unless_asked_for() {
        let (config, _) = ClusterConfig::from_texts([("auth_secret_seed", "hush")]).unwrap();
        let find = |clear| {
            show(&config, clear).into_iter().find(|s| s.spec.name == "auth_secret_seed").unwrap().text
        };
        assert_eq!(find(false), "<redacted>");
        assert_eq!(find(true), "hush");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
