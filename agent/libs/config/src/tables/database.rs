//! Keys of `/etc/sf/database.yaml`: read by the database tier and by the commands that open MariaDB directly.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::choices::MariadbTlsMode;
use crate::spec::Bound::{Any, Range};
use crate::spec::FIXED;

super::config_table! {
    /// How the database tier reaches the operator's MariaDB. The password is not here: [`DatabaseConfig::password`].
    Database DatabaseConfig {
        /// Host name or address of MariaDB; empty when a socket is used.
        mariadb_host: Option<String> = "", Any, FIXED;
        /// Unix socket of MariaDB, instead of a host.
        mariadb_socket: Option<PathBuf> = "", Any, FIXED;
        /// TCP port of MariaDB.
        mariadb_port: u16 = "3306", Range(1.0, 65535.0), FIXED;
        /// User that runs transactions.
        mariadb_user: String = "shakenfist", Any, FIXED;
        /// Name of the schema.
        mariadb_database: String = "shakenfist", Any, FIXED;
        /// File with the password of the user; the systemd credential `mariadb_password` comes first.
        mariadb_password_file: Option<PathBuf> = "", Any, FIXED;
        /// User for schema work, when it differs from the runtime user.
        mariadb_schema_user: Option<String> = "", Any, FIXED;
        /// File with the password of the schema user.
        mariadb_schema_password_file: Option<PathBuf> = "", Any, FIXED;
        /// TLS to MariaDB; `disabled` on loopback and on a socket, `verify-identity` where a CA is given, else `required`, when unset.
        mariadb_tls_mode: Option<MariadbTlsMode> = "", Any, FIXED;
        /// File with the CA certificates of MariaDB; those of the public authorities when unset.
        mariadb_tls_ca: Option<PathBuf> = "", Any, FIXED;
        /// File with the certificate shown to MariaDB.
        mariadb_tls_cert: Option<PathBuf> = "", Any, FIXED;
        /// File with the key of that certificate, RSA in PKCS#1 (`BEGIN RSA PRIVATE KEY`).
        mariadb_tls_key: Option<PathBuf> = "", Any, FIXED;
        /// Connections of one gateway.
        database_pool_size: u32 = "16", Range(4.0, 1024.0), FIXED;
        /// Address the gateway listens on; the node's mesh address when unset.
        database_bind_address: Option<IpAddr> = "", Any, FIXED;
        /// Allow the gateway to listen on every address.
        database_allow_wildcard_bind: bool = "false", Any, FIXED;
        /// Seconds that calls in flight may take to end when the gateway stops.
        database_drain_grace: Duration = "10", Range(0.0, 300.0), FIXED;
    }
}
