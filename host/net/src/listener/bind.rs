//! [`bind`]: listening sockets, also on machines with only one of the two IP versions.
//!
//! As in Go, the unspecified address of IPv6 includes IPv4.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tracing::info;

/// Connections that wait to be accepted, as with [`TcpListener::bind`].
const BACKLOG: u32 = 1024;

/// Binds an address. `[::]` includes IPv4, whatever the system's setting (`bindv6only`) is.
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.is_ipv6() || !address.ip().is_unspecified() {
        return TcpListener::bind(address).await;
    }
    match bind_both(address) {
        // The system has no IPv6, or no address of it.
        Err(error) if is_without_ipv6(&error) => {
            info!(%address, %error, "listening on IPv4 alone");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn bind_both(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    SockRef::from(&socket).set_only_v6(false)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    const UNSUPPORTED_FAMILY: i32 = 97;
    error.raw_os_error() == Some(UNSUPPORTED_FAMILY) || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_of_ipv6_accepts_both_versions() {
        let listener = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        // A machine without IPv6 has no such address.
        if listener.local_addr().unwrap().is_ipv6() && TcpListener::bind("[::1]:0").await.is_ok() {
            TcpStream::connect(("::1", port)).await.unwrap();
        }
        assert!(bind(listener.local_addr().unwrap()).await.is_err(), "the port is taken");
    }

    #[test]
    fn only_a_missing_ipv6_leads_to_ipv4_alone() {
        for (error, expected) in [
            (io::Error::from_raw_os_error(97), true),
            (io::ErrorKind::AddrNotAvailable.into(), true),
            (io::ErrorKind::AddrInUse.into(), false),
            (io::ErrorKind::PermissionDenied.into(), false),
        ] {
            assert_eq!(is_without_ipv6(&error), expected, "{error}");
        }
    }
}
