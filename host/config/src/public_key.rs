//! [`PublicKey`]: a key of cosign, openssl or minisign that signs components.
//!
//! The module verifies signatures of bytes; the caller selects the bytes.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use x509_parser::{oid_registry, prelude::FromDer as _, x509::SubjectPublicKeyInfo};

/// The supported keys.
const KNOWN: &str = "use an ECDSA P-256 key in PEM form (cosign.pub) or a minisign key (minisign.pub)";
/// Length of an uncompressed point of P-256 in bytes (SEC 1, section 2.3.3).
const POINT: usize = 65;
/// Position of the id in a minisign key: after the algorithm, before the key itself.
const MINISIGN_ID: std::ops::Range<usize> = 2..10;

/// A public key. Keys are equal if their texts are equal.
#[derive(Clone, Debug)]
pub struct PublicKey {
    text: String,
    id: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The uncompressed point.
    P256(Vec<u8>),
    Minisign(minisign_verify::PublicKey),
}

/// The reason why a signature is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The signature cannot be read.
    #[error("is not in the format of {0}")]
    Unreadable(&'static str),
    /// The signature is by another key, or of other bytes.
    #[error("is not by this key, or not for this component")]
    Wrong,
}

// === impl PublicKey ===

impl PublicKey {
    /// An identifier: for minisign the id in the key, otherwise the first 16 digits of the SHA-256
    /// of its DER form.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the file extension that cosign or minisign gives to a signature.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match self.kind {
            Kind::P256(_) => "sig",
            Kind::Minisign(_) => "minisig",
        }
    }

    /// Whether this is an ECDSA P-256 key, as cosign uses.
    #[must_use]
    pub fn is_p256(&self) -> bool {
        matches!(self.kind, Kind::P256(_))
    }

    /// Verifies a signature: ECDSA over SHA-256 in base64 (cosign) or DER (openssl), or the four
    /// lines of minisign.
    ///
    /// # Errors
    ///
    /// If the signature is not by this key and of these bytes.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.kind {
            Kind::P256(point) => {
                const SEQUENCE: u8 = 0x30;
                let text = signature.trim_ascii();
                let signature = match signature.first() {
                    Some(&SEQUENCE) => signature.to_vec(),
                    _ => BASE64.decode(text).map_err(|_| BadSignature::Unreadable("cosign or openssl"))?,
                };
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                key.verify(message, &signature).map_err(|_| BadSignature::Wrong)
            }
            Kind::Minisign(key) => {
                let text = std::str::from_utf8(signature).ok();
                let signature = text.and_then(|text| minisign_verify::Signature::decode(text).ok());
                let signature = signature.ok_or(BadSignature::Unreadable("minisign"))?;
                // `true` allows signatures of the message itself instead of its hash: minisign
                // wrote these before 2021.
                key.verify(message, &signature, true).map_err(|_| BadSignature::Wrong)
            }
        }
    }
}

impl PublicKey {
    /// Returns the name that a detached signature states for its component: `file:NAME` in
    /// minisign's trusted comment, which the key has signed as well. `None` for signatures of
    /// cosign and openssl, and without a name. Does not verify the signature.
    #[must_use]
    pub fn stated_name(&self, signature: &[u8]) -> Option<String> {
        let Kind::Minisign(_) = &self.kind else { return None };
        let text = std::str::from_utf8(signature).ok()?;
        let signature = minisign_verify::Signature::decode(text).ok()?;
        // minisign separates the fields by tabs.
        let mut fields = signature.trusted_comment().split('\t');
        fields.find_map(|field| field.strip_prefix("file:")).map(str::to_owned)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("is missing; {KNOWN}"));
        }
        let (kind, id) = if text.starts_with("-----") { p256(text) } else { minisign(text) }?;
        Ok(Self { text: text.to_owned(), id, kind })
    }
}

impl fmt::Display for PublicKey {
    /// Writes the original text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn p256(text: &str) -> Result<(Kind, String), String> {
    let pem = pem::parse(text).map_err(|_| format!("is not readable PEM; {KNOWN}"))?;
    if pem.tag() != "PUBLIC KEY" {
        return Err(format!("is a PEM block {:?}, not a PUBLIC KEY; {KNOWN}", pem.tag()));
    }
    let key = SubjectPublicKeyInfo::from_der(pem.contents()).ok().filter(|(rest, _)| rest.is_empty());
    let (_, key) = key.ok_or_else(|| format!("is not a readable public key; {KNOWN}"))?;
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let is_p256 =
        key.algorithm.algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(oid_registry::OID_EC_P256);
    // ring requires the uncompressed form, which all tools write: a 4 and both coordinates.
    let point = key.subject_public_key.data.to_vec();
    if !is_p256 || point.len() != POINT || point[0] != 4 {
        return Err(format!("is not a key on the curve P-256; {KNOWN}"));
    }
    let fingerprint = HEXLOWER.encode(&Sha256::digest(pem.contents()));
    Ok((Kind::P256(point), fingerprint[..16].to_owned()))
}

/// Parses the key, with or without the line of comment before it.
fn minisign(text: &str) -> Result<(Kind, String), String> {
    let wrong = || format!("is neither a minisign key nor PEM; {KNOWN}");
    let line = text.lines().last().map(str::trim).ok_or_else(wrong)?;
    let key = minisign_verify::PublicKey::from_base64(line).map_err(|_| wrong())?;
    let bytes = BASE64.decode(line.as_bytes()).map_err(|_| wrong())?;
    // Minisign displays the id as a number; the key has its lowest byte first.
    let id: Vec<u8> = bytes[MINISIGN_ID].iter().rev().copied().collect();
    Ok((Kind::Minisign(key), HEXUPPER.encode(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = b"a component";

    /// Recorded output of `minisign` 0.11.
    const MINISIGN: &str = "untrusted comment: minisign public key F76C7BE8E6E18448
RWRIhOHm6Hts9y6nrX07KM3RWg3ZMABnB7RLBmBYn2wUM+aMzUe4DUWt
";
    const MINISIGN_SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RURIhOHm6Hts97VtlmL/33c6vlkWuQCOAcwMpI4Ygq//e5/M4wYTWXylc2AvGAPKSoAmP8Rb6KUhjXHCXUym1BR4zYA8NtwRXwE=
trusted comment: file:c
IP+i0UwO+cbW+04v8RC69mKeq7kOwaKBQP5j1rL6u4amkTXabKxVgB9NhruwWSbziEJd1u72u4Sj48f3mCefDw==
";
    /// The same with the flag `-l`.
    const MINISIGN_LEGACY: &str = "untrusted comment: signature from minisign secret key
RWRIhOHm6Hts9+ECwgjPPRiS1Qo2GxpN4yLGnjOM9Ws2vaR4cX7sNEoGzt7RIuIkCcp/l9f0yGhSJvMTgwtdUyA5mV0H6eu2BQ4=
trusted comment: file:c
zdTq7xY1TsRbNU/9RAA+spnawGGFt4UsvvJxpuCoyKcVFEObqNR1khVrrztOe1VaLf3QnIsKvgmo6SUQ0xy3BA==
";
    /// Recorded output of `openssl ec -pubout` and `openssl dgst -sha256 -sign`; the signature is
    /// in base64, as `cosign sign-blob` writes it.
    const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFSOEcsINpkeY4BRIbq+jzj/NqHOG
E0dQjTNDq81nJ9w+mfUYe7Fo3twBgOxX3MJtV7IfwFj0qknFmC6sgG/slQ==
-----END PUBLIC KEY-----
";
    const P256_SIGNATURE: &str =
        "MEUCIDyELtNrWRvOobyA6VByNJ2cA8bXMIK0oK2J9varmIdKAiEApkxGLc8FGirptG3U+TfM3wBnW3No7+lt7hGn39YMa30=";

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    fn der(base64: &str) -> Vec<u8> {
        BASE64.decode(base64.as_bytes()).unwrap()
    }

    #[test]
    fn accepts_only_the_signatures_of_the_tools() {
        for (text, id, signatures) in [
            (MINISIGN, "F76C7BE8E6E18448", vec![MINISIGN_SIGNATURE.into(), MINISIGN_LEGACY.into()]),
            (
                P256,
                "eab744d3468178d2",
                vec![P256_SIGNATURE.into(), format!("{P256_SIGNATURE}\n").into(), der(P256_SIGNATURE)],
            ),
        ] {
            let key = key(text);
            assert_eq!(key.id(), id);
            for signature in signatures {
                assert_eq!(key.verify(COMPONENT, &signature), Ok(()));
                assert_eq!(key.verify(b"another component", &signature), Err(BadSignature::Wrong));
            }
        }
    }

    #[test]
    fn refuses_other_signatures_and_other_bytes() {
        let other = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(key(other).verify(COMPONENT, MINISIGN_SIGNATURE.as_bytes()), Err(BadSignature::Wrong));
        let changed = MINISIGN_SIGNATURE.replace("file:c", "file:d");
        assert_eq!(
            key(MINISIGN).verify(COMPONENT, changed.as_bytes()),
            Err(BadSignature::Wrong),
            "the signature covers the comment"
        );
        for garbage in [&b""[..], b"garbage", b"\xff\xfe", P256_SIGNATURE.as_bytes()] {
            assert_eq!(key(MINISIGN).verify(COMPONENT, garbage), Err(BadSignature::Unreadable("minisign")));
        }
        for garbage in [&b"not base64!"[..], b"\xff\xfe", MINISIGN_SIGNATURE.as_bytes()] {
            assert_eq!(key(P256).verify(COMPONENT, garbage), Err(BadSignature::Unreadable("cosign or openssl")));
        }
        for garbage in [&b""[..], b"0", b"AAAA"] {
            assert_eq!(key(P256).verify(COMPONENT, garbage), Err(BadSignature::Wrong));
        }
    }

    #[test]
    fn refuses_an_invalid_key_with_the_supported_ones() {
        let p384 = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEw8ssEhPmsUQn0ya0pOJaqR14X0xg+Qor
pqeC3qwZiBWjeRDnXJWgmh0U9z7oP3UuIQHKZKTyIb8F+w164Oh42y8ybbVjosqQ
cFVdhmtCJmDYskr6ufsni5WENxdXaBWI
-----END PUBLIC KEY-----";
        let compressed = "-----BEGIN PUBLIC KEY-----
MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADFSOEcsINpkeY4BRIbq+jzj/NqHOG
E0dQjTNDq81nJ9w=
-----END PUBLIC KEY-----";
        let private = P256.replace("PUBLIC", "EC PRIVATE");
        for (text, reason) in [
            ("", "is missing"),
            ("RWQ", "is neither a minisign key nor PEM"),
            (MINISIGN_SIGNATURE, "is neither a minisign key nor PEM"),
            (private.as_str(), "is a PEM block \"EC PRIVATE KEY\", not a PUBLIC KEY"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is not a readable public key"),
            ("-----BEGIN PUBLIC KEY-----", "is not readable PEM"),
            (p384, "is not a key on the curve P-256"),
            (compressed, "is not a key on the curve P-256"),
        ] {
            assert_eq!(text.parse::<PublicKey>().unwrap_err(), format!("{reason}; {KNOWN}"), "{text}");
        }
    }
}
