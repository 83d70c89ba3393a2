//! TLS to MariaDB. A server without it is refused, never spoken to in clear instead.

use std::path::PathBuf;

use mysql_async::{ClientIdentity, SslOpts};
use sf_config::{DatabaseConfig, MariadbTlsMode};

/// Whom a session believes, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// What is asked of the server's certificate.
    pub verify: Verify,
    /// File with the certificates of the only authorities that count; the public ones without it.
    pub ca: Option<PathBuf>,
    /// Files with certificate and key of the client.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is asked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: an observer is kept out, an impostor is not.
    Nothing,
    /// Who signed it, whatever it is for.
    Authority,
    /// Who signed it, and that it is for the name or address that was called.
    Identity,
}

/// The name that is expected when every name will do. The driver forgives an error about names by finding the word
/// `NotValidForName` in its text. rustls has reworded that error since, and quotes in it the name that was expected. So
/// a name of this spelling is forgiven, after the signatures and dates were verified; should the wording change again,
/// connections are refused.
const ANY_NAME: &str = "NotValidForName";

impl Tls {
    /// As configured; `None` where the connection is not encrypted.
    pub(crate) fn of(config: &DatabaseConfig) -> Option<Self> {
        let verify = match config.tls_mode() {
            MariadbTlsMode::Disabled => return None,
            MariadbTlsMode::Required => Verify::Nothing,
            MariadbTlsMode::VerifyCa => Verify::Authority,
            MariadbTlsMode::VerifyIdentity => Verify::Identity,
        };
        let identity = config.mariadb_tls_cert.clone().zip(config.mariadb_tls_key.clone());
        Some(Self { verify, ca: config.mariadb_tls_ca.clone(), identity })
    }

    pub(crate) fn driver_options(&self) -> SslOpts {
        let identity = self.identity.clone().map(|(cert, key)| ClientIdentity::new(cert.into(), key.into()));
        SslOpts::default()
            .with_root_certs(self.ca.clone().map(Into::into).into_iter().collect())
            .with_disable_built_in_roots(self.ca.is_some())
            .with_danger_accept_invalid_certs(self.verify == Verify::Nothing)
            .with_danger_skip_domain_validation(self.verify == Verify::Authority)
            .with_danger_tls_hostname_override((self.verify == Verify::Authority).then_some(ANY_NAME))
            .with_client_identity(identity)
    }
}
