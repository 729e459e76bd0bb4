//! Tests of every problem of a pair, with the complete message. The current time is an argument.
//!
//! [`CertificatePair::issue`] creates the valid pairs; the tests create the others.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOST: &str = "hook.flyte.svc";

/// 2024-10-04, at midnight.
fn start() -> SystemTime {
    UNIX_EPOCH + 20_000 * DAY
}

fn issue(now: SystemTime) -> CertificatePair {
    CertificatePair::issue(CertificateSubject::service("hook", "flyte", 90 * DAY), now).unwrap()
}

/// A CA in PEM format; each call creates another one.
pub(crate) fn ca() -> String {
    issue(SystemTime::now()).ca_pem
}

fn unusable(reason: &str) -> Condition {
    Condition::Unusable(reason.to_owned())
}

/// Checks a pair with and without its CA.
fn check_at(at: SystemTime, expected: &str) {
    let pair = issue(start());
    for stored in [pair.stored(), StoredPair { ca: None, ..pair.stored() }] {
        assert_eq!(stored.check(Some(HOST), at).err().as_deref(), Some(expected));
    }
}

#[test]
fn a_pair_is_good_then_due_then_expired() {
    let pair = issue(start());
    for (day, expected) in [
        (0, Condition::Good),
        (59, Condition::Good),
        (61, Condition::Due),
        (89, Condition::Due),
        (91, unusable("tls.crt expired at 2025-01-02T00:00:00Z (current time 2025-01-03T00:00:00Z)")),
    ] {
        assert_eq!(pair.stored().condition(HOST, start() + day * DAY, 30 * DAY), expected, "{day}");
    }
}

#[test]
fn messages_contain_the_dates_and_the_current_time() {
    check_at(start() + 90 * DAY + HOUR, "tls.crt expired at 2025-01-02T00:00:00Z (current time 2025-01-02T01:00:00Z)");
    check_at(
        start() - 30 * DAY,
        "tls.crt is not valid before 2024-10-03T23:00:00Z (current time 2024-09-04T00:00:00Z)",
    );
}

#[test]
fn a_clock_two_hours_slow_is_refused_and_one_half_an_hour_slow_is_accepted() {
    check_at(
        start() - 2 * HOUR,
        "tls.crt is not valid before 2024-10-03T23:00:00Z (current time 2024-10-03T22:00:00Z)",
    );
    // A clock two hours fast shortens the end of the validity, long after the renewal.
    let pair = issue(start());
    for at in [start() - HOUR / 2, start() + 2 * HOUR] {
        assert_eq!(pair.stored().condition(HOST, at, 30 * DAY), Condition::Good);
    }
}

#[test]
fn a_pair_is_valid_for_every_name_of_the_service() {
    let pair = issue(start());
    for host in ["hook", "hook.flyte", HOST] {
        assert_eq!(pair.stored().condition(host, start(), DAY), Condition::Good, "{host}");
    }
    let others = "tls.crt is not valid for hook.other.svc; its names are hook, hook.flyte, hook.flyte.svc";
    assert_eq!(pair.stored().condition("hook.other.svc", start(), DAY), unusable(others));
    let without_ca = StoredPair { ca: None, ..pair.stored() };
    assert_eq!(without_ca.check(Some("hook.other.svc"), start()).err().as_deref(), Some(others));
    assert!(without_ca.check(None, start()).is_ok(), "without a host, every name is accepted");
}

#[test]
fn a_certificate_without_names_is_refused() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    let stored = StoredPair { ca: None, certificate: Some(certificate.as_bytes()), key: Some(key.as_bytes()) };
    assert_eq!(
        stored.check(Some(HOST), start()).err().as_deref(),
        Some("tls.crt has no subject alternative name; API servers since 1.19 ignore the common name")
    );
    assert!(stored.check(None, start()).is_err(), "also without a host: the API server refuses it");
}

/// A leaf with a key that the TLS layer cannot serve, made by OpenSSL.
#[test]
fn a_key_that_cannot_be_served_is_named_with_its_curve_or_length() {
    // The certificates end in 2126.
    let at = UNIX_EPOCH + 48_000 * DAY;
    let usable = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
    for (certificate, key, kind) in [
        (include_str!("testdata/p521.crt"), include_str!("testdata/p521.key"), "ECDSA P-521"),
        (include_str!("testdata/rsa4104.crt"), include_str!("testdata/rsa4104.key"), "RSA of 4104 bits"),
    ] {
        let stored = StoredPair { ca: None, certificate: Some(certificate.as_bytes()), key: Some(key.as_bytes()) };
        assert_eq!(
            stored.check(None, at).err(),
            Some(format!("tls.key cannot be served: tls.crt has a key of the kind {kind}; {usable}"))
        );
    }
    let pair = issue(start());
    let mislabelled =
        pair.key_pem.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE").replace("END PRIVATE", "END EC PRIVATE");
    let stored = StoredPair { key: Some(mislabelled.as_bytes()), ..pair.stored() };
    assert_eq!(
        stored.check(None, start()).err().as_deref(),
        Some(
            "tls.key is not a private key in the format of its first line (PKCS#8, PKCS#1 for RSA, SEC1 for EC); \
             tls.crt has a key of the kind ECDSA P-256"
        )
    );
}

#[test]
fn a_leaf_for_clients_is_refused_and_one_without_a_usage_is_accepted() {
    use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let key = KeyPair::generate().unwrap();
    for (usages, is_accepted) in
        [(vec![], true), (vec![ServerAuth], true), (vec![ClientAuth, Any], true), (vec![ClientAuth], false)]
    {
        let mut parameters = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        parameters.extended_key_usages.clone_from(&usages);
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        let stored = StoredPair { ca: None, certificate: Some(certificate.as_bytes()), key: Some(key.as_bytes()) };
        let expected = "tls.crt is not for servers: its extended key usage has no serverAuth";
        assert_eq!(stored.check(None, start()).err().as_deref(), (!is_accepted).then_some(expected), "{usages:?}");
    }
}

#[test]
fn an_unusable_pair_is_refused_with_the_reason() {
    let (pair, other) = (issue(start()), issue(start()));
    let (good, other) = (pair.stored(), other.stored());
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (stored, expected) in [
        (StoredPair::default(), "tls.crt is missing"),
        (StoredPair { key: None, ..good }, "tls.key is missing"),
        (StoredPair { certificate: Some(b""), ..good }, "tls.crt contains no PEM certificate"),
        (StoredPair { certificate: Some(b"\x00\xff"), ..good }, "tls.crt contains no PEM certificate"),
        (
            StoredPair { certificate: Some(garbage.as_bytes()), ..good },
            "tls.crt and tls.key cannot be used together: invalid peer certificate: BadEncoding",
        ),
        (StoredPair { key: Some(b"x"), ..good }, "tls.key contains no PEM private key"),
        (StoredPair { key: good.certificate, ..good }, "tls.key contains no PEM private key"),
        (StoredPair { ca: Some(b"x"), ..good }, "ca.crt contains no PEM certificate"),
        (StoredPair { ca: Some(garbage.as_bytes()), ..good }, "ca.crt contains a certificate that cannot be parsed"),
        (StoredPair { ca: other.ca, ..good }, "tls.crt was not signed by ca.crt"),
        (
            StoredPair { key: other.key, ..good },
            "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch",
        ),
    ] {
        assert_eq!(stored.condition(HOST, start(), DAY), unusable(expected));
    }
    assert_eq!(StoredPair { ca: None, ..good }.condition(HOST, start(), DAY), Condition::Good);
}

#[test]
fn a_bundle_trusts_every_ca_in_it() {
    let (old, new) = (issue(start()), issue(start()));
    let bundle = format!("{}{}", new.ca_pem, old.ca_pem);
    for pair in [&old, &new] {
        let stored = StoredPair { ca: Some(bundle.as_bytes()), ..pair.stored() };
        assert_eq!(stored.condition(HOST, start(), DAY), Condition::Good);
    }
}

#[test]
fn a_full_chain_is_accepted() {
    let (pair, other) = (issue(start()), issue(start() - 100 * DAY));
    // Clients ignore certificates of the chain that do not help, expired or not.
    let chain = [pair.certificate_pem.as_str(), &pair.ca_pem, &other.ca_pem].concat();
    let stored = StoredPair { certificate: Some(chain.as_bytes()), ..pair.stored() };
    let checked = stored.check(Some(HOST), start()).unwrap();
    assert_eq!((checked.key.cert.len(), checked.ends), (3, start() + 90 * DAY));
    assert_eq!(checked.ca.as_deref(), Some(pair.ca_pem.as_str()));
}

#[test]
fn an_issuer_that_expires_before_its_leaf_is_named() {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_after = date_time_ymd(2024, 10, 5);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &ca).unwrap().pem();
    let (ca, key) = (ca.pem(), key.serialize_pem());
    let stored = StoredPair { ca: Some(ca.as_bytes()), certificate: Some(leaf.as_bytes()), key: Some(key.as_bytes()) };
    assert_eq!(stored.condition(HOST, start(), HOUR), Condition::Good);
    let expected = unusable("ca.crt contains no certificate that is valid now (current time 2024-10-06T00:00:00Z)");
    assert_eq!(stored.condition(HOST, start() + 2 * DAY, HOUR), expected);
}
