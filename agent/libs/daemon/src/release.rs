//! Releases and which of them may work together.

use std::fmt;
use std::str::FromStr;

use crate::error::DaemonError;

/// A release, `major.minor`; patch levels always fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    major: u32,
    minor: u32,
}

/// Every release with a successor outside its own major number, in order. Grows with each new major release.
const SUCCESSORS: &[(Release, Release)] = &[];

impl Release {
    /// The release of this build.
    pub fn own() -> Self {
        env!("CARGO_PKG_VERSION").parse().unwrap_or(Self { major: 0, minor: 0 })
    }

    /// The release after this one.
    fn next(self) -> Self {
        let crossing = SUCCESSORS.iter().find(|(from, _)| *from == self).map(|(_, to)| *to);
        crossing.unwrap_or(Self { minor: self.minor + 1, ..self })
    }

    /// The oldest release of a cluster that this build may join: the one before it, where there is one.
    pub fn oldest_cluster(self) -> Self {
        let crossing = SUCCESSORS.iter().find(|(_, to)| *to == self).map(|(from, _)| *from);
        crossing.unwrap_or(Self { minor: self.minor.saturating_sub(1), ..self })
    }

    /// Whether this build may join a cluster of the recorded release: the same, or the next one during an upgrade.
    ///
    /// # Errors
    /// It may not.
    pub fn check(self, recorded: &str) -> Result<(), DaemonError> {
        let fits = recorded.parse::<Self>().is_ok_and(|cluster| self == cluster || self == cluster.next());
        if fits {
            Ok(())
        } else {
            Err(DaemonError::Release { own: self.to_string(), cluster: recorded.to_owned() })
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Release {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(['.', '-', '+']).map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_and_the_next_release_join() {
        let at = |text: &str| text.parse::<Release>().unwrap();
        assert!(at("0.4.9").check("0.4").is_ok());
        assert!(at("0.5").check("0.4").is_ok());
        for other in ["0.2", "0.5", "1.4", "nonsense"] {
            assert!(at("0.4").check(other).is_err(), "{other}");
        }
        assert_eq!(at("0.4").oldest_cluster(), at("0.3"));
        assert!(at("0.4").check(&at("0.4").oldest_cluster().to_string()).is_ok());
        assert_eq!(at("1.0").oldest_cluster(), at("1.0"));
    }
}
