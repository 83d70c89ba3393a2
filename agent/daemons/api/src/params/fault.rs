//! One refused parameter.

use std::fmt;

/// Longest part of a name of the client's that is repeated to it, in characters.
const MAX_NAME: usize = 64;

/// Where in the request something is wrong, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    path: String,
    expectation: String,
}

impl Fault {
    /// A value that is not what was expected. The path is added by whoever knows it.
    pub fn new(expectation: impl Into<String>) -> Self {
        Self { path: String::new(), expectation: expectation.into() }
    }

    /// The same problem, inside the value of `key`.
    #[must_use]
    pub fn at(self, key: &str) -> Self {
        let key = printable(key);
        let path = match self.path.as_str() {
            "" => key,
            inner if inner.starts_with('[') => format!("{key}{inner}"),
            inner => format!("{key}.{inner}"),
        };
        Self { path, ..self }
    }

    /// The same problem, inside the element `index` of a list.
    #[must_use]
    pub fn at_index(self, index: usize) -> Self {
        let path = match self.path.as_str() {
            "" => format!("[{index}]"),
            inner if inner.starts_with('[') => format!("[{index}]{inner}"),
            inner => format!("[{index}].{inner}"),
        };
        Self { path, ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.expectation)
        } else {
            write!(f, "{}: {}", self.path, self.expectation)
        }
    }
}

/// A client's name as it may be shown and logged.
pub(super) fn printable(name: &str) -> String {
    name.chars().take(MAX_NAME).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_outwards() {
        let fault = Fault::new("must be an integer").at("size").at_index(0).at("disk");
        assert_eq!(fault.to_string(), "disk[0].size: must be an integer");
        assert_eq!(Fault::new("x").at_index(2).at("a").at("b").to_string(), "b.a[2]: x");
        assert_eq!(Fault::new("whole body").to_string(), "whole body");
    }

    #[test]
    fn names_of_clients_are_cut_and_cleaned() {
        let shown = Fault::new("x").at(&format!("a\n{}", "b".repeat(100))).to_string();
        assert_eq!(shown, format!("a?{}: x", "b".repeat(62)));
    }
}
