//! [`Destination`]: a host and a port that configuration may allow a plugin or a registry to reach.
//!
//! [`prohibited_address`] rejects addresses of this machine, of its link, and of cloud metadata.

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
    /// Reads `host`, `host:port` or `[address]:port`. Letters' case does not matter; without a port
    /// it is 443.
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
        match destination.address().and_then(prohibited_address) {
            Some(why) => Err(format!("{text:?} is {why}, which no plugin may call")),
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

    /// The address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
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
