//! The certificate that a node shows to the others, judged as they will judge it.

use std::sync::Arc;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

/// What a node shows, and whom it believes.
pub(super) struct Identity {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Arc<RootCertStore>,
    provider: CryptoProvider,
}

impl Identity {
    /// Of the certificates of the authorities, the chain with the node's own first, and its key.
    ///
    /// # Errors
    /// The first authority's or the node's own certificate that is none.
    pub(super) fn new(
        authorities: Vec<CertificateDer<'static>>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        authorities.into_iter().try_for_each(|authority| store.add(authority))?;
        let mut chain = chain.into_iter();
        let leaf = chain.next().ok_or(Error::NoCertificatesPresented)?;
        ParsedCertificate::try_from(&leaf)?;
        Ok(Self {
            leaf,
            intermediates: chain.collect(),
            key,
            authorities: Arc::new(store),
            provider: aws_lc_rs::default_provider(),
        })
    }

    /// Whether the key belongs to the certificate.
    pub(super) fn key_fits(&self) -> Result<(), Error> {
        let chain = vec![self.leaf.clone()];
        CertifiedKey::from_der(chain, self.key.clone_key(), &self.provider).map(drop)
    }

    /// Whether the node is believed at a time, as the one who calls and as the one who is called.
    pub(super) fn is_believed(&self, at: UnixTime) -> Result<(), Error> {
        let provider = Arc::new(self.provider.clone());
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(&self.leaf)?,
            &self.authorities,
            &self.intermediates,
            at,
            self.provider.signature_verification_algorithms.all,
        )?;
        WebPkiClientVerifier::builder_with_provider(self.authorities.clone(), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_client_cert(&self.leaf, &self.intermediates, at)
            .map(drop)
    }

    /// Whether the certificate is for a name.
    pub(super) fn is_for(&self, name: &str) -> Result<(), Error> {
        let name = ServerName::try_from(name)
            .map_err(|_| Error::General(format!("{name} is no name that a certificate can have")))?;
        verify_server_name(&ParsedCertificate::try_from(&self.leaf)?, &name)
    }
}

/// When something of the chain ends, if that is what is wrong.
pub(super) fn expiry(error: &Error) -> Option<UnixTime> {
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => Some(*not_after),
        _ => None,
    }
}
