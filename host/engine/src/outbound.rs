//! Outbound HTTP of a plugin: to hosts that were granted, over TLS, to addresses that may be.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`gate`] | judges each request of a guest before anything is done for it |
//! | [`resolve`] | finds the addresses of a host |
//! | [`address`] | says which of them no plugin reaches |
//! | [`exchange`] | connects to the very address that was judged, and asks |
//! | [`answers`] | has a test's answers in the place of hosts |
//! | [`budget`] | counts what one admission has asked and moved |
//!
//! A redirect is an answer like any other: nothing is followed, and if the guest asks again, that is judged as well. Each request
//! has a connection of its own, so that nothing of one pod is left in it for the next.

pub(crate) mod address;
mod answers;
mod budget;
mod exchange;
mod gate;
mod resolve;

use std::{collections::HashSet, fmt, net::IpAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::sync::Semaphore;

pub use self::{answers::HttpAnswers, resolve::Resolver, resolve::SystemResolver};
pub(crate) use self::{budget::OutboundBudget, gate::HttpGate};

/// The port of a destination that names none.
const HTTPS: u16 = 443;

/// Look-ups of names that one plugin may have under way: the system's resolver cannot be broken off, and each holds a thread.
const LOOKUPS: usize = 4;

/// Hosts that a plugin may call by HTTP over TLS, and whose certificates it trusts.
#[derive(Clone)]
pub struct HttpGrant {
    destinations: HashSet<Destination>,
    tls: Arc<ClientConfig>,
    lookups: Arc<Semaphore>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    host: ServerName<'static>,
    port: u16,
}

/// Why an authority that is no certificate cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {number} cannot be a root of trust: {reason}")]
pub struct RootError {
    /// Which of them, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub reason: String,
}

// === impl HttpGrant ===

impl HttpGrant {
    /// Trusts Mozilla's roots, as this program was built with them, and `roots` beside them.
    ///
    /// # Errors
    ///
    /// If one of `roots` is no certificate.
    pub fn new(
        destinations: impl IntoIterator<Item = Destination>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, RootError> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (i, root) in roots.into_iter().enumerate() {
            store.add(root).map_err(|error| RootError { number: i + 1, reason: error.to_string() })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has a cipher suite for every version of TLS that rustls has")
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            destinations: destinations.into_iter().collect(),
            tls: Arc::new(tls),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        })
    }

    fn covers(&self, destination: &Destination) -> bool {
        self.destinations.contains(destination)
    }
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGrant").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}

// === impl Destination ===

impl Destination {
    /// Reads `host`, `host:port` or `[address]:port`. Letters' case does not matter; without a port it is 443.
    ///
    /// # Errors
    ///
    /// What it is, if it is none; and why no plugin reaches it, if it is an address that none does.
    pub fn parse(text: &str) -> Result<Self, String> {
        let none =
            || format!("{text:?} is no host: write host, host:port or [IPv6 address]:port, without a scheme or a path");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.then(|| port.parse().ok()).flatten().filter(|port| *port != 0);
                (host, port.ok_or_else(|| format!("{text:?} has no port between 1 and 65535 after its last colon"))?)
            }
            _ => (text, HTTPS),
        };
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(inside) => {
                let address = inside.and_then(|address| address.parse().ok()).ok_or_else(none)?;
                ServerName::from(IpAddr::V6(address))
            }
            None if host.contains(':') || host.ends_with('.') => return Err(none()),
            None => ServerName::try_from(host.to_ascii_lowercase()).map_err(|_| none())?,
        };
        let destination = Self { host, port };
        match destination.address().and_then(address::prohibited) {
            Some(why) => Err(format!("{text:?} is {why}, which no plugin may call")),
            None => Ok(destination),
        }
    }

    /// Its address, where it is named by one.
    fn address(&self) -> Option<IpAddr> {
        match &self.host {
            ServerName::IpAddress(address) => Some((*address).into()),
            _ => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host.to_str(), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_host_and_a_port() {
        for (text, expected) in [
            ("secrets.example.com", "secrets.example.com:443"),
            ("Vault.Vault.SVC:8200", "vault.vault.svc:8200"),
            ("192.0.2.1", "192.0.2.1:443"),
            ("10.0.0.7:65535", "10.0.0.7:65535"),
            ("[2001:DB8::1]", "[2001:db8::1]:443"),
            ("[fd00::1]:8443", "[fd00::1]:8443"),
        ] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(Destination::parse("Example.COM"), Destination::parse("example.com:443"));
    }

    #[test]
    fn refuses_what_is_no_host() {
        let form = "is no host: write host, host:port or [IPv6 address]:port, without a scheme or a path";
        let port = "has no port between 1 and 65535 after its last colon";
        for (text, expected) in [
            ("", form),
            ("https://example.com", port),
            ("example.com/v1", form),
            ("user@example.com", form),
            ("*.example.com", form),
            ("example.com.", form),
            ("2130706433", form),
            ("bücher.example", form),
            ("fd00::1", form),
            ("[fd00::1", form),
            ("[example.com]:443", form),
            ("example.com:", port),
            ("example.com:0", port),
            ("example.com:+443", port),
            ("example.com:65536", port),
        ] {
            assert_eq!(Destination::parse(text).unwrap_err(), format!("{text:?} {expected}"));
        }
    }

    #[test]
    fn refuses_an_address_that_no_plugin_reaches() {
        assert_eq!(
            Destination::parse("169.254.169.254").unwrap_err(),
            "\"169.254.169.254\" is a link-local address, which no plugin may call"
        );
        assert_eq!(
            Destination::parse("[::1]:443").unwrap_err(),
            "\"[::1]:443\" is a loopback address, which no plugin may call"
        );
    }
}
