//! The three tables of keys, and the macro that turns a table into a typed struct.

mod cluster;
mod database;
mod node;

pub use cluster::ClusterConfig;
pub use database::DatabaseConfig;
pub use node::NodeConfig;

/// `key: Type = "default as text", bound, flags;` under a doc comment that is also the help text.
macro_rules! config_table {
    ($(#[$meta:meta])* $scope:ident $name:ident {
        $($(#[doc = $help:literal])+ $field:ident : $ty:ty = $default:literal, $bound:expr, $flags:expr;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $ty,)* }

        impl $name {
            /// The declaration of every key, in the order of the fields.
            pub const KEYS: &'static [crate::spec::KeySpec] = &[$(crate::spec::KeySpec {
                name: stringify!($field),
                scope: crate::spec::Scope::$scope,
                kind: <$ty as crate::value::ConfigValue>::KIND,
                default: $default,
                bound: $bound,
                flags: $flags,
                help: concat!($($help),+),
                canonical: crate::spec::canonical::<$ty>,
            },)*];

            /// Builds the struct from given texts and defaults, or says everything that is wrong.
            pub(crate) fn build(
                given: &crate::builder::GivenMap,
                preset: &[(&'static str, String)],
            ) -> Result<Self, Vec<crate::error::Problem>> {
                let mut builder = crate::builder::Builder::new(Self::KEYS, given, preset);
                $(let $field = builder.take::<$ty>(stringify!($field));)*
                let problems = builder.finish();
                if !problems.is_empty() {
                    return Err(problems);
                }
                Ok(Self { $($field: match $field { Some(value) => value, None => return Err(problems) },)* })
            }

            /// The canonical text of every key, in the order of declaration. Secrets are in clear: see [`crate::show`].
            pub(crate) fn texts(&self) -> Vec<(&'static crate::spec::KeySpec, String)> {
                let texts = [$(crate::value::ConfigValue::render(&self.$field),)*];
                Self::KEYS.iter().zip(texts).collect()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use config_table;
