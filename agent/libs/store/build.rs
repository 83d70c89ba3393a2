//! Lists the embedded migrations: `migrations/NNNN_name/up.sql`, in order, with their text.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("migrations");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&root)? {
        let entry = entry?;
        if entry.path().join("up.sql").is_file() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut code = String::from("&[\n");
    for name in names {
        let number = name.split('_').next().unwrap_or_default();
        let version: u32 = number.parse().map_err(|e| format!("{name}: {e}"))?;
        let file = root.join(&name).join("up.sql");
        writeln!(code, "    Step {{ version: {version}, name: {name:?}, sql: include_str!({file:?}) }},")?;
    }
    code.push_str("]\n");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("migrations.rs");
    std::fs::write(out, code)?;
    Ok(())
}
