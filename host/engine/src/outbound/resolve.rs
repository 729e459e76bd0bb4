//! From a host's name to its addresses: [`Resolver`], which is the system's unless somebody gives another one.
//!
//! What an answer may be used for is not decided here.

use std::{io, net::IpAddr};

use async_trait::async_trait;

/// Finds the addresses of a host by its name.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Its addresses, the best first.
    ///
    /// # Errors
    ///
    /// If there are none, or nobody could be asked.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's: files, search domains and name servers as they are set up there.
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
