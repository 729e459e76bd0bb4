//! [`prohibited_address`]: the addresses that plugins may not call, under any name.
//!
//! They are the addresses of the webhook's own machine, link-local addresses (such as a cloud's
//! metadata service), and addresses that do not identify a single machine. Private addresses are
//! allowed, because secret stores within a cluster have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses at which clouds serve a machine's own credentials. 169.254.169.254 is not in this
/// list, because all link-local addresses are prohibited.
const METADATA: [IpAddr; 5] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host agent.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // EC2 metadata, and credentials of EKS pods.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Returns the kind of an address that plugins may not call, and `None` for any other address.
pub fn prohibited_address(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V6(outer) if let Some(inner) = embedded_v4(outer) => prohibited_address(inner.into()),
        metadata if METADATA.contains(&metadata) => Some("a metadata service's address"),
        IpAddr::V4(address) => prohibited_v4(address),
        IpAddr::V6(address) => prohibited_v6(address),
    }
}

fn prohibited_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        // Linux treats all of 0/8 as the machine itself.
        [0, ..] => Some("an unspecified address"),
        [127, ..] => Some("a loopback address"),
        [169, 254, ..] => Some("a link-local address"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn prohibited_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    // The position of the IPv4 address in 64:ff9b:1::/48 is specific to each translator, so all of
    // it is prohibited.
    if let [0x64, 0xff9b, 1, ..] = address.segments() {
        return Some("a translated address");
    }
    address.is_unicast_link_local().then_some("a link-local address")
}

/// The IPv4 address that an IPv6 address contains: mapped (`::ffff:0:0/96`), compatible (`::/96`),
/// translated (`64:ff9b::/96`, and `::ffff:0:0:0/96` of SIIT) or tunnelled (`2002::/16`).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join_segments(high, low)),
        [0x2002, high, low, ..] => Some(join_segments(high, low)),
        _ => None,
    }
}

fn join_segments(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prohibits_the_machine_and_its_link_in_every_notation() {
        for (address, expected) in [
            ("0.0.0.0", "an unspecified address"),
            ("0.1.2.3", "an unspecified address"),
            ("127.0.0.1", "a loopback address"),
            ("127.255.0.3", "a loopback address"),
            ("169.254.169.254", "a link-local address"),
            ("224.0.0.1", "a multicast address"),
            ("255.255.255.255", "a reserved address"),
            ("::", "an unspecified address"),
            ("::1", "a loopback address"),
            ("fe80::1", "a link-local address"),
            ("fd00:ec2::254", "a metadata service's address"),
            ("ff02::1", "a multicast address"),
            ("::ffff:127.0.0.1", "a loopback address"),
            ("::ffff:169.254.169.254", "a link-local address"),
            ("::127.0.0.1", "a loopback address"),
            ("64:ff9b::169.254.169.254", "a link-local address"),
            ("::ffff:0:127.0.0.1", "a loopback address"),
            ("::ffff:0:169.254.169.254", "a link-local address"),
            ("2002:7f00:1::", "a loopback address"),
            ("64:ff9b:1::", "a translated address"),
            ("64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "a translated address"),
            ("100.100.100.200", "a metadata service's address"),
            ("168.63.129.16", "a metadata service's address"),
            ("::ffff:168.63.129.16", "a metadata service's address"),
            ("fd00:ec2::23", "a metadata service's address"),
            ("fd20:ce::254", "a metadata service's address"),
        ] {
            assert_eq!(prohibited_address(address.parse().unwrap()), Some(expected), "{address}");
        }
    }

    #[test]
    fn allows_public_and_private_addresses() {
        for address in [
            "192.0.2.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "8.8.8.8",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:2::1",
            "100.100.100.201",
            "168.63.129.17",
            "fd00:ec2::24",
        ] {
            assert_eq!(prohibited_address(address.parse().unwrap()), None, "{address}");
        }
    }
}
