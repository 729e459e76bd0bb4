//! [`TlsFront`]: TLS in front of a server that speaks plain HTTP. Plugins and logins call only
//! hosts with a certificate.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::network::ADDRESS;

/// TLS at [`ADDRESS`] in front of a server.
pub struct TlsFront {
    /// The CA of its certificate, in PEM form.
    pub ca: String,
}

// === impl TlsFront ===

impl TlsFront {
    /// Listens on `port`, and passes the plain text to `upstream`.
    ///
    /// # Panics
    ///
    /// If the port is in use, for instance outside a network of its own.
    pub async fn start(port: u16, upstream: SocketAddr) -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("an empty list has no invalid name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a root");
        let leaf_key = key();
        let names = CertificateParams::new(vec![ADDRESS.to_string()]).expect("good names");
        let leaf = names.signed_by(&leaf_key, &ca).expect("a certificate");
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports every version")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], leaf_key.serialize_der().try_into().expect("a key"))
            .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((ADDRESS, port)).await.expect("the port is free");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let mut server = TcpStream::connect(upstream).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { ca: ca.pem() }
    }
}
