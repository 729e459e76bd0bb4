//! [`Destination`]: a host and a port.
//!
//! A host is a DNS name or an IP address. It is compared in lower case.

mod address;

use std::{fmt, net::IpAddr};

use rustls_pki_types::ServerName;

pub use self::address::prohibited_address;

/// The port of a destination without one.
const HTTPS: u16 = 443;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    host: ServerName<'static>,
    port: u16,
}

// === impl Destination ===

impl Destination {
    /// Parses `host`, `host:port` or `[address]:port`. Ignores case; the default port is 443.
    ///
    /// # Errors
    ///
    /// If the text has another form, or names an address that plugins may not call. The message
    /// quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = parse_port(port)
                    .ok_or_else(|| format!("{text:?} must have a port between 1 and 65535 after its last colon"))?;
                (host, port)
            }
            _ => (text, HTTPS),
        };
        let host = parse_host(host).ok_or_else(|| {
            format!("{text:?} is not a host: use host, host:port or [IPv6 address]:port, without a scheme or path")
        })?;
        let destination = Self { host, port };
        match destination.address().and_then(prohibited_address) {
            Some(kind) => Err(format!("{text:?} is {kind}, which plugins may not call")),
            None => Ok(destination),
        }
    }

    /// The host: a DNS name or an address.
    #[must_use]
    pub fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is an address.
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

/// Parses decimal digits only: `u16::from_str` would also accept `+443`.
fn parse_port(digits: &str) -> Option<u16> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port != 0)
}

fn parse_host(host: &str) -> Option<ServerName<'static>> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']')?.parse().ok()?;
        return Some(ServerName::from(IpAddr::V6(address)));
    }
    if host.contains(':') || host.ends_with('.') {
        return None;
    }
    ServerName::try_from(host.to_ascii_lowercase()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_host_and_a_port() {
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
    fn rejects_text_that_is_not_a_host() {
        let form = "is not a host: use host, host:port or [IPv6 address]:port, without a scheme or path";
        let port = "must have a port between 1 and 65535 after its last colon";
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
    fn rejects_an_address_that_plugins_may_not_call() {
        assert_eq!(
            Destination::parse("169.254.169.254").unwrap_err(),
            "\"169.254.169.254\" is a link-local address, which plugins may not call"
        );
        assert_eq!(
            Destination::parse("[::1]:443").unwrap_err(),
            "\"[::1]:443\" is a loopback address, which plugins may not call"
        );
    }
}
