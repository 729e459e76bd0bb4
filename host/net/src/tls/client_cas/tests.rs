//! Handshakes of real clients: accepted, unknown, without a certificate, and after the CAs were
//! replaced.
//!
//! The server's own certificate is self-signed; each client trusts it.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{ClientConfig, SupportedProtocolVersion, sign::CertifiedKey, version};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::{ServingCert, server_config_for_clients};

/// A CA that issues client certificates.
struct TestCa(CertifiedIssuer<'static, KeyPair>);

/// A client's certificate and key.
type TestClient = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A server that requires client certificates.
struct TestServer {
    cas: Arc<ClientCas>,
    acceptor: TlsAcceptor,
    root: CertificateDer<'static>,
    rejected: Counter,
}

impl TestCa {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> TestClient {
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    fn client(&self) -> TestClient {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth)
    }
}

impl TestServer {
    fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (root, rejected) = (issued.cert.der().clone(), Counter::default());
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let cert = Arc::new(ServingCert::default());
        cert.install(CertifiedKey::from_der(vec![root.clone()], key, &provider()).unwrap());
        let cas = Arc::new(ClientCas::new(rejected.clone()));
        let acceptor = TlsAcceptor::from(Arc::new(server_config_for_clients(cert, Arc::clone(&cas))));
        Self { cas, acceptor, root, rejected }
    }

    /// Sends a byte from the client to the server and back. Returns the server's error, and whether
    /// it received the client's certificate.
    async fn meets(&self, client: Option<&TestClient>, version: &'static SupportedProtocolVersion) -> io::Result<bool> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match client {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        self.connect(Arc::new(config)).await
    }

    async fn connect(&self, config: Arc<ClientConfig>) -> io::Result<bool> {
        let (near, far) = duplex(1 << 16);
        let connector = TlsConnector::from(config);
        let client = tokio::spawn(async move {
            let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), near).await?;
            stream.write_all(b"x").await?;
            stream.read_u8().await
        });
        let served = async {
            let mut stream = self.acceptor.accept(far).await?;
            let byte = stream.read_u8().await?;
            stream.write_all(&[byte]).await?;
            stream.flush().await?;
            io::Result::Ok(stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty()))
        };
        let served = served.await;
        assert_eq!(client.await.unwrap().is_ok(), served.is_ok(), "both sides see the same result");
        served
    }
}

/// What connects, with which certificate, the result, and the number of rejected clients so far.
type ClientCase<'a> = (&'a str, Option<&'a TestClient>, Result<bool, &'a str>, u64);

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[tokio::test]
async fn only_a_client_certificate_of_the_installed_ca_completes_a_handshake() {
    let (known, unknown) = (TestCa::new(), TestCa::new());
    let server_certificate = known.issue(ExtendedKeyUsagePurpose::ServerAuth);
    for version in VERSIONS {
        let server = TestServer::new();
        server.cas.install(known.pem().as_bytes()).unwrap();
        let (accepted, foreign) = (known.client(), unknown.client());
        let cases: [ClientCase<'_>; 4] = [
            ("a client of the CA", Some(&accepted), Ok(true), 0),
            ("no certificate", None, Err("peer sent no certificates"), 0),
            ("an unknown CA", Some(&foreign), Err("invalid peer certificate"), 1),
            ("a server's certificate", Some(&server_certificate), Err("invalid peer certificate"), 2),
        ];
        for (what, client, expected, rejected) in cases {
            let met = server.meets(client, version).await.map_err(|error| error.to_string());
            match expected {
                Ok(has_certificate) => assert_eq!(met, Ok(has_certificate), "{what}"),
                Err(reason) => {
                    let error = met.unwrap_err();
                    assert!(error.starts_with(reason), "{what}, {:?}: {error}", version.version);
                }
            }
            assert_eq!(server.rejected.get(), rejected, "{what}");
        }
    }
}

#[tokio::test]
async fn a_replaced_ca_is_effective_at_once_also_for_a_client_that_would_resume() {
    let (old, new) = (TestCa::new(), TestCa::new());
    for version in VERSIONS {
        let server = TestServer::new();
        assert!(server.meets(Some(&old.client()), version).await.is_err(), "no CA is installed yet");
        assert_eq!(server.rejected.get(), 1, "it is counted");
        server.cas.install(old.pem().as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(server.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let (certificate, key) = old.client();
        let builder = builder.with_root_certificates(roots);
        // One configuration, so that the client keeps its sessions.
        let config = Arc::new(builder.with_client_auth_cert(vec![certificate], key).unwrap());
        for _ in 0..2 {
            assert!(server.connect(Arc::clone(&config)).await.is_ok());
        }
        server.cas.install(new.pem().as_bytes()).unwrap();
        assert!(server.connect(config).await.is_err(), "{version:?}");
        assert!(server.meets(Some(&new.client()), version).await.is_ok());
        server.cas.install([old.pem(), new.pem()].concat().as_bytes()).unwrap();
        assert!(server.meets(Some(&old.client()), version).await.is_ok());
    }
}

#[test]
fn an_unusable_bundle_is_refused_and_the_previous_cas_stay() {
    let cas = ClientCas::new(Counter::default());
    cas.install(TestCa::new().pem().as_bytes()).unwrap();
    let before = cas.verifier.load_full().unwrap();
    for (pem, expected) in [
        ("", "contains no certificate in PEM form"),
        ("hello", "contains no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 cannot be used as a CA: "),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is not PEM: "),
    ] {
        let error = cas.install(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{pem:?}: {error}");
    }
    assert!(Arc::ptr_eq(&before, &cas.verifier.load_full().unwrap()));
}
