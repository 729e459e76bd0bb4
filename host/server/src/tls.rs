//! TLS for the webhook: the configuration, and a certificate that can be swapped while connections are served.
//!
//! The certificate is read once and held in memory; nothing is read from disk while a client waits.

mod self_signed;

use std::{
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::certs::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

pub use self::self_signed::self_signed;

/// The certificate that new connections get. Until one is installed, every handshake fails.
#[derive(Default)]
pub struct ServingCert(ArcSwapOption<CertifiedKey>);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// Neither file is there.
    #[error(
        "{} has neither tls.crt nor tls.key; put a certificate there, name another folder with server.certDir or \
         --cert-dir, or pass --self-signed for development", .dir.display()
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no certificate or key.
    #[error("{} holds no {expected} in PEM form", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The two files do not belong together, or the key is of a kind that is not supported.
    #[error("{} and {KEY_FILE} beside it cannot be used together", .path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A development pair could not be made.
    #[error("cannot make a self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
}

/// How the webhook speaks TLS: 1.2 and 1.3, HTTP/2 preferred, with whatever certificate is installed.
#[must_use]
pub fn server_config(cert: Arc<ServingCert>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the ring provider supports the default versions");
    let mut config = builder.with_no_client_auth().with_cert_resolver(cert);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Reads `tls.crt` and `tls.key` of a folder.
///
/// # Errors
///
/// If they are not there, not readable, not PEM, or do not belong together. [`CertError::Missing`] only if neither is there.
pub fn load(dir: &Path) -> Result<CertifiedKey, CertError> {
    let (certificate_path, key_path) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
    let (certificates, key) = match (read(&certificate_path)?, read(&key_path)?) {
        (Some(certificates), Some(key)) => (certificates, key),
        (None, None) => return Err(CertError::Missing { dir: dir.to_owned() }),
        (None, _) => return Err(not_found(certificate_path)),
        (_, None) => return Err(not_found(key_path)),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificates).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(CertError::Pem { path: certificate_path, expected: "certificate" });
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(&key) else {
        return Err(CertError::Pem { path: key_path, expected: "private key" });
    };
    CertifiedKey::from_der(chain, key, &provider()).map_err(|source| CertError::Pair { path: certificate_path, source })
}

/// Reads `ca.crt` of a folder: what a client has to trust, in PEM form. None if the file is not there.
///
/// # Errors
///
/// If it is not readable, or holds no certificate.
pub fn load_ca(dir: &Path) -> Result<Option<String>, CertError> {
    let path = dir.join(CA_FILE);
    let Some(content) = read(&path)? else { return Ok(None) };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match (found, String::from_utf8(content)) {
        (Ok(certificates), Ok(pem)) if !certificates.is_empty() => Ok(Some(pem)),
        _ => Err(CertError::Pem { path, expected: "certificate" }),
    }
}

// === impl ServingCert ===

impl ServingCert {
    /// Serves this certificate to every handshake from now on.
    pub fn install(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }
}

impl ResolvesServerCert for ServingCert {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl fmt::Debug for ServingCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCert").field("installed", &self.0.load().is_some()).finish()
    }
}

/// The one crypto provider of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, CertError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertError::Read { path: path.to_owned(), source }),
    }
}

fn not_found(path: PathBuf) -> CertError {
    CertError::Read { path, source: ErrorKind::NotFound.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        // With its causes, as the command line prints it.
        let error = format!("{:#}", anyhow::Error::from(load(dir.path()).unwrap_err()));
        assert_eq!(error.replace(&dir.path().display().to_string(), "DIR"), expected);
    }

    #[test]
    fn says_what_is_wrong_with_the_files() {
        let (one, other) = (self_signed(&[]).unwrap(), self_signed(&[]).unwrap());
        let (crt, key) = (one.certificate_pem.as_str(), one.key_pem.as_str());
        check(
            &[],
            "DIR has neither tls.crt nor tls.key; put a certificate there, name another folder with server.certDir or \
             --cert-dir, or pass --self-signed for development",
        );
        check(&[("tls.crt", crt)], "cannot read DIR/tls.key: entity not found");
        check(&[("tls.key", key)], "cannot read DIR/tls.crt: entity not found");
        check(&[("tls.crt", "hello"), ("tls.key", key)], "DIR/tls.crt holds no certificate in PEM form");
        check(&[("tls.crt", crt), ("tls.key", crt)], "DIR/tls.key holds no private key in PEM form");
        check(
            &[("tls.crt", crt), ("tls.key", &other.key_pem)],
            "DIR/tls.crt and tls.key beside it cannot be used together: keys may not be consistent: KeyMismatch",
        );
    }

    #[test]
    fn a_folder_may_have_no_ca_but_not_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let pair = self_signed(&[]).unwrap();
        assert_eq!(load_ca(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(CA_FILE), "hello").unwrap();
        let error = load_ca(dir.path()).unwrap_err().to_string();
        assert_eq!(
            error.replace(&dir.path().display().to_string(), "DIR"),
            "DIR/ca.crt holds no certificate in PEM form"
        );
        std::fs::write(dir.path().join(CA_FILE), &pair.ca_pem).unwrap();
        assert_eq!(load_ca(dir.path()).unwrap(), Some(pair.ca_pem));
    }

    #[test]
    fn loads_a_pair_with_its_chain() {
        let dir = tempfile::tempdir().unwrap();
        let pair = self_signed(&[]).unwrap();
        std::fs::write(dir.path().join("tls.crt"), format!("{}{}", pair.certificate_pem, pair.ca_pem)).unwrap();
        std::fs::write(dir.path().join("tls.key"), &pair.key_pem).unwrap();
        assert_eq!(load(dir.path()).unwrap().cert.len(), 2);
    }
}
