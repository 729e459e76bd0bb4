//! What the API server, written in Go, demands of a leaf beyond its dates and its issuer:
//! [`check_leaf`]. [`describe_key`] names a key that cannot be served.
//!
//! A process with a leaf that the API server refuses must not be ready.

use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer as _,
    public_key::{PublicKey, RSAPublicKey},
};

use super::names::{CERTIFICATE_FILE, KEY_FILE};

/// Bits of an RSA key that the TLS layer can serve.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The keys that work.
const USABLE: &str = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
/// The curves of ECDSA, and whether the TLS layer can serve a key of it.
const CURVES: [(&str, &str, bool); 5] = [
    ("1.2.840.10045.3.1.7", "P-256", true),
    ("1.3.132.0.34", "P-384", true),
    ("1.3.132.0.35", "P-521", false),
    ("1.3.132.0.33", "P-224", false),
    ("1.3.132.0.10", "secp256k1", false),
];
const ED25519: &str = "1.3.101.112";
/// RSA with MD5, RSA with SHA-1, and ECDSA with SHA-1.
const WEAK: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];

/// Checks a leaf as Go does when it calls a server.
pub(super) fn check_leaf(leaf: &CertificateDer<'_>) -> Result<(), String> {
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return Err(format!("{CERTIFICATE_FILE} contains a certificate that cannot be parsed"));
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let is_name = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    if !names.is_some_and(|names| names.value.general_names.iter().any(is_name)) {
        return Err(format!(
            "{CERTIFICATE_FILE} has no subject alternative name; API servers since 1.19 ignore the common name"
        ));
    }
    if let Some(usage) = parsed.extended_key_usage().ok().flatten()
        && !usage.value.any
        && !usage.value.server_auth
    {
        return Err(format!("{CERTIFICATE_FILE} is not for servers: its extended key usage has no serverAuth"));
    }
    // The signature of a certificate that is its own root is not verified.
    let is_signed_by_other = parsed.issuer() != parsed.subject();
    if is_signed_by_other && WEAK.contains(&parsed.signature_algorithm.algorithm.to_id_string().as_str()) {
        return Err(format!("{CERTIFICATE_FILE} is signed with SHA-1 or MD5, which API servers since 1.24 refuse"));
    }
    Ok(())
}

/// Describes why the key of a leaf cannot be served, as a clause.
pub(super) fn describe_key(leaf: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(leaf).ok();
    let key = parsed.as_ref().and_then(|(_, parsed)| key_kind(parsed));
    match key {
        Some(KeyKind { name, is_usable: false }) => {
            format!("{KEY_FILE} cannot be served: {CERTIFICATE_FILE} has a key of the kind {name}; {USABLE}")
        }
        Some(KeyKind { name, is_usable: true }) => format!(
            "{KEY_FILE} is not a private key in the format of its first line (PKCS#8, PKCS#1 for RSA, SEC1 for EC); \
             {CERTIFICATE_FILE} has a key of the kind {name}"
        ),
        None => format!("{KEY_FILE} cannot be served; {USABLE}"),
    }
}

/// The kind of a public key.
struct KeyKind {
    name: String,
    is_usable: bool,
}

fn key_kind(certificate: &X509Certificate<'_>) -> Option<KeyKind> {
    let key = certificate.public_key();
    let kind = |name: String, is_usable| Some(KeyKind { name, is_usable });
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = bits(&rsa);
            kind(format!("RSA of {bits} bits"), RSA_BITS.contains(&bits))
        }
        Ok(PublicKey::EC(_)) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let curve = curve.map_or_else(|| "without a name".to_owned(), |curve| curve.to_id_string());
            let known = CURVES.iter().find(|(id, ..)| *id == curve);
            match known {
                Some((_, name, is_usable)) => kind(format!("ECDSA {name}"), *is_usable),
                None => kind(format!("ECDSA with the curve {curve}"), false),
            }
        }
        Ok(_) | Err(_) => match key.algorithm.algorithm.to_id_string() {
            id if id == ED25519 => kind("Ed25519".to_owned(), true),
            id => kind(id, false),
        },
    }
}

/// The length of an RSA key.
fn bits(key: &RSAPublicKey<'_>) -> usize {
    let first = key.modulus.iter().position(|byte| *byte != 0).unwrap_or(key.modulus.len());
    let modulus = &key.modulus[first..];
    modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
}
