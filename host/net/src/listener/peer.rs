//! [`Peer`]: who sent a request, as far as the connection knows.
//!
//! Every request that a connection serves carries it as an extension.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rustls_pki_types::CertificateDer;

use super::client_certificate::ClientCertificate;

/// The bits of an IPv6 address that a host chooses itself (RFC 4291).
const HOST_BITS: u32 = 64;

/// The address and the client certificate of a connection. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the client, or of a proxy before it. An IPv4 client of an IPv6 socket has its
    /// IPv4 address. Of an IPv6 address, only the network (/64) counts: a host chooses the rest.
    pub address: IpAddr,
    /// The certificate of the client, as this handshake verified it.
    pub certificate: ClientCertificate,
}

// === impl Peer ===

impl Peer {
    /// A client that has presented no certificate yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address: network(address.ip().to_canonical()), certificate: ClientCertificate::None }
    }

    /// The same client after its TLS handshake.
    pub(super) fn with_certificate(self, verified: Option<&CertificateDer<'_>>) -> Self {
        Self { certificate: verified.map(ClientCertificate::read).unwrap_or_default(), ..self }
    }
}

/// Returns an IPv4 address, or the network of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_address_on_every_socket() {
        for (address, expected) in [
            ("127.0.0.2:80", "127.0.0.2"),
            ("[::ffff:127.0.0.2]:80", "127.0.0.2"),
            ("[2001:db8::1:2:3:4]:80", "2001:db8::"),
        ] {
            assert_eq!(Peer::new(address.parse().unwrap()).address.to_string(), expected, "{address}");
        }
    }
}
