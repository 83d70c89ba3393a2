//! Every configuration key, declared once, and the loader that turns files, environment and command line into typed values.
//!
//! A key lives in exactly one of three tables:
//!
//! * [`NodeConfig`]: what differs from node to node; `/etc/sf/config.yaml` and its drop-ins.
//! * [`DatabaseConfig`]: how to reach MariaDB; `/etc/sf/database.yaml`, on the database tier only.
//! * [`ClusterConfig`]: what is the same everywhere; rows of the database, read through the gateway.
//!
//! From the tables ([`KeySpec`]) come the typed structs, the command line options, the checks, `sf-ctl config show`
//! and the reference page. A setting has one home: a cluster key in a file, or the reverse, is refused.

mod builder;
mod choices;
mod derived;
mod error;
mod fingerprint;
mod load;
mod rules;
mod secret;
mod show;
mod spec;
mod tables;
mod value;
mod window;
mod yaml;

pub use choices::{
    AdvertiseMode, ClaimEnforcement, DiskBus, DiskCacheMode, EgressMode, HypervisorDriver, LogLevel,
    MariadbTlsMode, MeshTls, PortSecurity, VirtType,
};
pub use derived::{hostname, split_endpoint};
pub use error::{ConfigError, EXIT_CONFIG, Problem};
pub use fingerprint::{Fingerprint, effective, fingerprint};
pub use load::{Loaded, Sources, check_file, load_database, load_database_if_present, load_node};
pub use secret::{WRAPPED, is_wrapped, read_secret};
pub use sf_model::Secret;
pub use show::{Shown, show};
pub use spec::{Bound, Flags, KeySpec, Kind, Scope, all_keys, cluster_key, find_key};
pub use tables::{ClusterConfig, DatabaseConfig, NodeConfig};
pub use value::{ConfigValue, PortRange, Retention};
pub use window::SecretWindow;
