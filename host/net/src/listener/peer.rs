//! [`Peer`]: who sent a request, as far as the connection knows.
//!
//! Every request that a connection serves carries it as an extension.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls_pki_types::CertificateDer;

/// The address and the client certificate of a connection. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the client, or of a proxy before it. An IPv4 client of an IPv6 socket has its
    /// IPv4 address.
    pub address: IpAddr,
    /// The certificate chain of the client, its own certificate first, as this handshake verified
    /// it. Empty without TLS and for a client without a certificate.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

// === impl Peer ===

impl Peer {
    /// A client that has presented no certificate yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address: address.ip().to_canonical(), certificates: Arc::default() }
    }

    /// The same client after its TLS handshake.
    pub(super) fn with_certificates(self, verified: Option<&[CertificateDer<'static>]>) -> Self {
        Self { certificates: verified.unwrap_or_default().into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_has_one_address_on_every_socket() {
        for (address, expected) in
            [("127.0.0.2:80", "127.0.0.2"), ("[::ffff:127.0.0.2]:80", "127.0.0.2"), ("[2001:db8::1]:80", "2001:db8::1")]
        {
            assert_eq!(Peer::new(address.parse().unwrap()).address.to_string(), expected, "{address}");
        }
    }
}
