//! Values that must not be seen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use crate::error::Problem;
use crate::spec::Kind;
use crate::value::ConfigValue;

/// A value that cannot be printed, logged or serialised by accident: it has no `Debug`, `Display` or `Serialize`.
/// Its memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value that must not be shown.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place to look at in a review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ConfigValue for Secret<String> {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
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
    Ok(Some(Secret(text)))
}

fn credential(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    file.is_file().then_some(file)
}
