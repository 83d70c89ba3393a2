//! Types a key may have, each with one canonical text.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use uuid::Uuid;

use crate::spec::Kind;

/// A type that a configuration key may have.
pub trait ConfigValue: Sized {
    /// How YAML must spell it.
    const KIND: Kind;
    /// Whether the empty text means "unset" rather than "missing".
    const OPTIONAL: bool = false;

    /// Reads the canonical text.
    ///
    /// # Errors
    /// A sentence saying what is accepted.
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes the canonical text; `parse` of it gives an equal value.
    fn render(&self) -> String;

    /// The value as a number, for range checks.
    fn number(&self) -> Option<f64> {
        None
    }
}

/// How long events of a kind are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Never pruned; written `-1`.
    Forever,
    /// Pruned when older than this many seconds; always above zero.
    Seconds(u64),
}

/// A range of ports, both ends included; written `30000-60000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

macro_rules! from_str_value {
    ($($ty:ty, $kind:ident, $accepted:literal $(, $number:expr)?;)*) => {$(
        impl ConfigValue for $ty {
            const KIND: Kind = Kind::$kind;
            fn parse(text: &str) -> Result<Self, String> {
                <$ty>::from_str(text.trim()).map_err(|_| format!("must be {}", $accepted))
            }
            fn render(&self) -> String {
                self.to_string()
            }
            $(fn number(&self) -> Option<f64> {
                let convert: fn($ty) -> f64 = $number;
                Some(convert(*self))
            })?
        }
    )*};
}

from_str_value! {
    bool, Boolean, "true or false";
    u8, Integer, "a whole number from 0 to 255", f64::from;
    u16, Integer, "a whole number from 0 to 65535", f64::from;
    u32, Integer, "a whole number from 0 to 4294967295", f64::from;
    u64, Integer, "a whole number, not negative", |n| n as f64;
    IpAddr, Text, "an IP address";
    Ipv4Addr, Text, "an IPv4 address";
    Ipv4Net, Text, "an IPv4 network such as 192.168.20.0/24";
    IpNet, Text, "a network such as 10.0.0.0/8";
    Uuid, Text, "a UUID";
}

impl ConfigValue for f64 {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "must be a number".to_owned())
    }

    fn render(&self) -> String {
        self.to_string()
    }

    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl ConfigValue for Duration {
    const KIND: Kind = Kind::Integer;

    fn parse(text: &str) -> Result<Self, String> {
        let seconds = text.trim().parse().map_err(|_| "must be a whole number of seconds".to_owned())?;
        Ok(Duration::from_secs(seconds))
    }

    fn render(&self) -> String {
        self.as_secs().to_string()
    }

    fn number(&self) -> Option<f64> {
        Some(self.as_secs_f64())
    }
}

impl ConfigValue for Retention {
    const KIND: Kind = Kind::Integer;

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().parse::<i64>() {
            Ok(-1) => Ok(Retention::Forever),
            Ok(n) if n > 0 => Ok(Retention::Seconds(n.unsigned_abs())),
            _ => Err("must be a number of seconds above 0, or -1 to keep for ever".to_owned()),
        }
    }

    fn render(&self) -> String {
        match self {
            Retention::Forever => "-1".to_owned(),
            Retention::Seconds(n) => n.to_string(),
        }
    }
}

impl ConfigValue for PortRange {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        let ends =
            text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        match ends {
            Some((low, high)) if 0 < low && low <= high => Ok(PortRange(low..=high)),
            _ => Err("must be two ports joined by a dash, such as 30000-60000".to_owned()),
        }
    }

    fn render(&self) -> String {
        format!("{}-{}", self.0.start(), self.0.end())
    }
}

impl ConfigValue for String {
    const KIND: Kind = Kind::Text;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['\n', '\0']) { Err("must be one line".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn render(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for PathBuf {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            Ok(PathBuf::from(text))
        } else {
            Err("must be an absolute path".to_owned())
        }
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn render(&self) -> String {
        self.as_ref().map(T::render).unwrap_or_default()
    }

    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(T::number)
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    const KIND: Kind = Kind::List;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| T::parse(part).map_err(|why| format!("{part:?} {why}")))
            .collect()
    }

    fn render(&self) -> String {
        self.iter().map(T::render).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_refuses_zero_and_other_negatives() {
        assert_eq!(Retention::parse("-1"), Ok(Retention::Forever));
        assert_eq!(Retention::parse("86400"), Ok(Retention::Seconds(86_400)));
        for bad in ["0", "-2", "", "1d"] {
            assert!(Retention::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_say_which_item_is_wrong() {
        let why = Vec::<IpAddr>::parse("10.0.0.1, nonsense").unwrap_err();
        assert!(why.contains("nonsense"), "{why}");
        assert_eq!(Vec::<u16>::parse("80, 443,").unwrap(), vec![80, 443]);
    }

    #[test]
    fn a_port_range_is_in_order() {
        assert!(PortRange::parse("5-4").is_err());
        assert_eq!(PortRange::parse("4-5").unwrap().render(), "4-5");
    }

    proptest::proptest! {
        #[test]
        fn numbers_round_trip(n in proptest::num::u64::ANY, f in -1.0e12_f64..1.0e12) {
            assert_eq!(u64::parse(&n.render()), Ok(n));
            assert_eq!(f64::parse(&f.render()), Ok(f));
        }
    }
}
