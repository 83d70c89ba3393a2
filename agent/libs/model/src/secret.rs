//! A value that must never be printed.

use std::fmt;

/// Wraps a secret. It has no `Display` and no `Serialize`, its `Debug` is constant, and it is cleared when dropped.
/// Cloning is explicit through [`Secret::duplicate`].
pub struct Secret<T: Wipe>(T);

/// How the memory of a secret is cleared.
pub trait Wipe {
    /// Overwrites the value in place.
    fn wipe(&mut self);
}

impl Wipe for String {
    fn wipe(&mut self) {
        let mut bytes = std::mem::take(self).into_bytes();
        bytes.wipe();
    }
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        for byte in self.iter_mut() {
            *byte = 0;
        }
        // The compiler must not treat the stores above as dead.
        std::hint::black_box(self.as_ptr());
        self.clear();
    }
}

impl<T: Wipe> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each call site is a place to review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe + Clone> Secret<T> {
    /// A second, separately cleared copy.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Wipe> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "<redacted>");
        assert_eq!(secret.expose(), "hunter2");
    }
}
