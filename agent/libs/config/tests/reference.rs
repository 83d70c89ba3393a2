//! `docs/reference/configuration.md` is generated from the table of keys. Run with `SF_UPDATE_REFERENCE=1` to write it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::fmt::Write;
use std::path::Path;

use sf_config::{Bound, KeySpec, Scope, all_keys};

const HEAD: &str = "# Configuration\n\n\
<!-- Generated from the table of keys in the agent; `cargo test -p sf-config` compares it. -->\n\n\
A key has one home. In YAML it is written as below, in the environment as `SHAKENFIST_<KEY>`, on the command line as\n\
`--<key>` with hyphens. Durations are seconds. Live keys take effect without a restart.\n";

fn title(scope: Scope) -> &'static str {
    match scope {
        Scope::Node => "Node: `/etc/sf/config.yaml` and `/etc/sf/config.d/*.yaml`",
        Scope::Database => "Database tier: `/etc/sf/database.yaml`",
        Scope::Cluster => "Cluster: the same on every node, set with `sf-ctl cluster-config apply`",
    }
}

fn row(key: &KeySpec) -> String {
    let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
    let range = match key.bound {
        Bound::Any => String::new(),
        Bound::Range(low, high) => format!("{low} to {high}"),
        Bound::AtLeast(low) => format!("at least {low}"),
    };
    let mut notes = Vec::new();
    if key.flags.live {
        notes.push("live");
    }
    if key.flags.secret {
        notes.push("secret");
    }
    format!(
        "| `{}` | {} | {default} | {range} | {} | {} |\n",
        key.name,
        key.kind,
        notes.join(", "),
        key.help.trim()
    )
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    for scope in [Scope::Node, Scope::Database, Scope::Cluster] {
        write!(
            text,
            "\n## {}\n\n| Key | Type | Default | Range | | Meaning |\n|---|---|---|---|---|---|\n",
            title(scope)
        )
        .unwrap();
        all_keys().filter(|key| key.scope == scope).for_each(|key| text.push_str(&row(key)));
    }
    text
}

#[test]
fn the_reference_page_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference/configuration.md");
    if std::env::var_os("SF_UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reference(), "{} is stale: run this test with SF_UPDATE_REFERENCE=1", path.display());
}
