//! HTTP requests of the host itself, to registries and trace collectors: the client and the
//! certificates it trusts.
//!
//! Requests of plugins belong to the engine, which trusts other certificates.

mod proxy;

use std::{
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tower::Service;

pub use self::proxy::{ProxyConnector, uses_proxy};
use crate::{file, tls};

/// Limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The value of the `User-Agent` header.
pub const PROGRAM: &str = concat!("ampoule/", env!("CARGO_PKG_VERSION"));

/// An HTTP/1.1 client, with or without TLS according to the URL. It follows no redirects.
pub type HttpClient = Client<HttpsConnector<ProxyConnector>, Full<Bytes>>;

/// The certificates that a client trusts.
pub type Roots = RootCertStore;

/// Returns whether the host itself may connect to an address.
pub type AddressCheck = fn(IpAddr) -> bool;

/// The system's resolver, without the addresses that a check rejects. It resolves a name once, so
/// that no second look-up can return another address.
#[derive(Clone, Copy, Debug)]
pub struct CheckedResolver(Option<AddressCheck>);

/// A CA file that cannot be used.
#[derive(Debug)]
pub struct CaFileError {
    /// The file.
    pub path: PathBuf,
    /// The reason, to be shown after the path.
    pub reason: String,
}

/// Returns a client that trusts `roots`.
pub fn client(roots: RootCertStore) -> HttpClient {
    client_with(roots, connector(None))
}

/// Returns a client that uses the proxy of the environment, and that connects only to the addresses
/// of host *names* that the check accepts. An address in place of a name is not resolved: check it
/// with the URL. A proxy resolves names itself.
pub fn proxied_client(roots: RootCertStore, check: Option<AddressCheck>) -> HttpClient {
    client_with(roots, connector(check).with_environment())
}

fn connector(check: Option<AddressCheck>) -> ProxyConnector {
    ProxyConnector::direct(tcp_connector(check), tcp_connector(None))
}

fn tcp_connector(check: Option<AddressCheck>) -> HttpConnector<CheckedResolver> {
    let mut connector = HttpConnector::new_with_resolver(CheckedResolver(check));
    connector.set_connect_timeout(Some(CONNECT));
    // A request is a few segments, and the last one must not wait for the acknowledgement of the
    // first, which a server may delay by 40 ms.
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector
}

fn client_with(roots: RootCertStore, connector: ProxyConnector) -> HttpClient {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(roots))
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new()).build(connector)
}

// === impl CheckedResolver ===

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let check = self.0;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = |address: &SocketAddr| check.is_none_or(|check| check(address.ip()));
            let addresses: Vec<_> = found.into_iter().filter(allowed).collect();
            if addresses.is_empty() {
                return Err(io::Error::other("the host has no address that may be called"));
            }
            Ok(addresses.into_iter())
        })
    }
}

/// Returns the system's certificates, or Mozilla's if the system has none, and those of the file.
///
/// # Errors
///
/// If the file cannot be read, or does not consist of valid PEM certificates.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, CaFileError> {
    roots_beside(rustls_native_certs::load_native_certs().certs, ca_file)
}

/// A container image with only this program has no system certificates. It uses Mozilla's, which
/// are built into the program for plugins with the grant `http`.
fn roots_beside(system: Vec<CertificateDer<'static>>, ca_file: Option<&Path>) -> Result<RootCertStore, CaFileError> {
    let mut roots = RootCertStore::empty();
    // Some system certificates may be of a kind that rustls does not support.
    roots.add_parsable_certificates(system);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let Some(path) = ca_file else { return Ok(roots) };
    let wrong = |reason: String| CaFileError { path: path.to_owned(), reason };
    let pem = file::read(path, file::SMALL).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("contains no certificate".to_owned()));
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| wrong(format!("contains an invalid certificate: {error}")))?;
    }
    Ok(roots)
}

/// Returns the text of the innermost error. The outer layers only report that a request failed.
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether a request failed because the client does not trust the server's certificate. A retry
/// does not help.
#[must_use]
pub fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
}

fn tls_config(roots: RootCertStore) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("the ring provider supports the default versions");
    config.with_root_certificates(Arc::new(roots)).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_certificates_uses_mozillas_and_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(["registry.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(&file, own.pem()).unwrap();
        let mozillas = webpki_roots::TLS_SERVER_ROOTS.len();
        for (system, ca_file, expected) in [
            (vec![], None, mozillas),
            (vec![], Some(&*file), mozillas + 1),
            (vec![own.der().clone()], None, 1),
            (vec![CertificateDer::from(vec![0])], None, mozillas),
        ] {
            assert_eq!(roots_beside(system, ca_file).unwrap().len(), expected);
        }
    }

    #[tokio::test]
    async fn no_segment_of_a_request_waits_for_an_acknowledgement() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap()).parse().unwrap();
        let stream = tcp_connector(None).call(url).await.unwrap();
        assert!(stream.inner().nodelay().unwrap());
    }
}
