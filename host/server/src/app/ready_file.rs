//! The file with the addresses of a ready process (`--ready-file`), for callers that start it on
//! port 0 or with a self-signed certificate.
//!
//! The file is written atomically.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;

/// The file's content.
#[derive(Debug, Serialize)]
pub(super) struct ReadyFile {
    webhook: SocketAddr,
    admin: SocketAddr,
    /// The CA of a self-signed certificate, in PEM format.
    ca: Option<String>,
    /// The console, if its port is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<SocketAddr>,
}

// === impl ReadyFile ===

impl ReadyFile {
    pub(super) fn new(webhook: SocketAddr, admin: SocketAddr, ca: Option<String>) -> Self {
        Self { webhook: reachable(webhook), admin: reachable(admin), ca, console: None }
    }

    pub(super) fn with_console(self, console: Option<SocketAddr>) -> Self {
        Self { console: console.map(reachable), ..self }
    }

    /// Writes a temporary file in the same directory and renames it, which is atomic.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let content = serde_json::to_vec(self).expect("addresses and strings serialise");
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.tmp", std::process::id()));
        let written = fs::write(&draft, content).and_then(|()| fs::rename(&draft, path));
        written.with_context(|| format!("cannot write {} (--ready-file)", path.display()))
    }
}

/// Replaces an unspecified address by the loopback address, which local clients can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_addresses_that_clients_can_connect_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready.json");
        let (webhook, admin) = ("0.0.0.0:9443".parse().unwrap(), "[::]:10254".parse().unwrap());
        ReadyFile::new(webhook, admin, None).write(&path).unwrap();
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(content, r#"{"webhook":"127.0.0.1:9443","admin":"[::1]:10254","ca":null}"#);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file remains");
        let console = Some("[::]:9445".parse().unwrap());
        ReadyFile::new(webhook, admin, None).with_console(console).write(&path).unwrap();
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(content, r#"{"webhook":"127.0.0.1:9443","admin":"[::1]:10254","ca":null,"console":"[::1]:9445"}"#);
    }
}
