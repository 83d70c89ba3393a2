//! Values that must not be seen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sf_model::Secret;

use crate::error::Problem;
use crate::spec::Kind;
use crate::value::ConfigValue;
use crate::window::SecretWindow;

impl ConfigValue for Arc<Secret<String>> {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        SecretWindow::parse(text)?;
        Ok(Arc::new(Secret::new(text.to_owned())))
    }

    fn render(&self) -> String {
        self.expose().clone()
    }
}

/// How a value begins that is stored encrypted by the key-encryption key.
pub const WRAPPED: &str = "kek1:";

/// Whether a stored value is encrypted by the key-encryption key.
pub fn is_wrapped(text: &str) -> bool {
    text.starts_with(WRAPPED)
}

/// Reads a secret: first the systemd credential `name` (`$CREDENTIALS_DIRECTORY/<name>`), then `path`.
/// One trailing newline is dropped. `Ok(None)` when neither exists and no path was given.
///
/// # Errors
/// A [`Problem`] naming the file that could not be read or that is empty.
pub fn read_secret(name: &str, path: Option<&Path>) -> Result<Option<Secret<String>>, Problem> {
    let Some(file) = credential(name).or_else(|| path.map(Path::to_path_buf)) else { return Ok(None) };
    let origin = file.display().to_string();
    let mut text = fs::read_to_string(&file)
        .map_err(|e| Problem::new(&origin, name, format!("cannot read the secret: {e}")))?;
    while text.ends_with('\n') || text.ends_with('\r') {
        text.pop();
    }
    if text.is_empty() {
        return Err(Problem::new(origin, name, "the secret file is empty"));
    }
    Ok(Some(Secret::new(text)))
}

fn credential(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    file.is_file().then_some(file)
}
