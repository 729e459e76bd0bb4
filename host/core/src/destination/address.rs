//! Addresses that no plugin reaches, whatever name led to them: [`prohibited_address`].
//!
//! They are the webhook's own machine, its neighbours on the link (a cloud's metadata service is
//! one) and what is no single machine. Private addresses are not among them: stores within a
//! cluster have such.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds answer a machine with its own credentials, beside 169.254.169.254 and the other
/// link-local addresses.
const METADATA: [IpAddr; 5] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host agent.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // EC2, and the credentials of EKS' pods.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What kind of address it is, if no plugin reaches it.
pub fn prohibited_address(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V6(outer) if let Some(within) = embedded(outer) => prohibited_address(within.into()),
        metadata if METADATA.contains(&metadata) => Some("a metadata service's address"),
        IpAddr::V4(address) => prohibited_v4(address),
        IpAddr::V6(address) => prohibited_v6(address),
    }
}

fn prohibited_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        // Linux takes all of 0/8 for itself.
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
    // Where an IPv4 address stands in these is up to whoever runs the translator.
    if let [0x64, 0xff9b, 1, ..] = address.segments() {
        return Some("a translated address");
    }
    address.is_unicast_link_local().then_some("a link-local address")
}

/// The IPv4 address that an IPv6 one stands for: mapped (`::ffff:0:0/96`), compatible (`::/96`),
/// translated (`64:ff9b::/96`, and `::ffff:0:0:0/96` of SIIT) or tunnelled (`2002::/16`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself_and_its_link_are_out_of_reach_in_every_spelling() {
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
    fn public_and_private_addresses_are_within_reach() {
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
