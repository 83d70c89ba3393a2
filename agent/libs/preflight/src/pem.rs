//! Certificates and keys as they are written in PEM files.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a text, in its order.
///
/// # Errors
/// There is none, or the text is damaged, as a sentence that does not quote it.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, Error>>()
        .map_err(|error| format!("is not PEM: {error}"))?;
    if found.is_empty() { Err("holds no CERTIFICATE".to_owned()) } else { Ok(found) }
}

/// The key of a text: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// There is none, or the text is damaged, as a sentence that does not quote it.
pub(crate) fn key(text: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        Error::NoItemsFound if text.contains("ENCRYPTED PRIVATE KEY") => {
            "holds a key that a passphrase protects: daemons start without anybody who could type it"
                .to_owned()
        }
        Error::NoItemsFound => "holds no PRIVATE KEY".to_owned(),
        other => format!("is not PEM: {other}"),
    })
}
