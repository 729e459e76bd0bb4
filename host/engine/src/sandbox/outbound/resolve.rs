//! [`Resolver`]: resolves a host name to addresses. [`SystemResolver`] is the default.
//!
//! [`exchange`](crate::sandbox::guest_http::exchange) checks the addresses.

use std::{io, net::IpAddr};

use async_trait::async_trait;

/// Resolves host names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Returns the addresses of a host, the preferred one first.
    ///
    /// # Errors
    ///
    /// If the host has no address, or no name server answers.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, with its files, search domains and name servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

// === impl SystemResolver ===

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}
