//! The file that says where a ready process serves: for whoever started it on port 0 with a certificate issued on the spot.
//!
//! It appears whole or not at all.

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
    /// The CA in PEM form, if the certificate was made on the spot.
    ca: Option<String>,
}

// === impl ReadyFile ===

impl ReadyFile {
    pub(super) fn new(webhook: SocketAddr, admin: SocketAddr, ca: Option<String>) -> Self {
        Self { webhook: reachable(webhook), admin: reachable(admin), ca }
    }

    /// Writes beside the path and renames, which is atomic within a folder.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let content = serde_json::to_vec(self).expect("addresses and text always serialise");
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.tmp", std::process::id()));
        let written = fs::write(&draft, content).and_then(|()| fs::rename(&draft, path));
        written.with_context(|| format!("cannot write {} (--ready-file)", path.display()))
    }
}

/// An address that a client on this machine can connect to.
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
    fn names_addresses_that_can_be_connected_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready.json");
        let (webhook, admin) = ("0.0.0.0:9443".parse().unwrap(), "[::]:10254".parse().unwrap());
        ReadyFile::new(webhook, admin, None).write(&path).unwrap();
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(content, r#"{"webhook":"127.0.0.1:9443","admin":"[::1]:10254","ca":null}"#);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }
}
