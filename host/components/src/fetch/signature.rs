//! Signatures of components: [`SignatureRequirement`] verifies them, [`Signer`] identifies the
//! public key.
//!
//! A signature has one of two forms: a detached signature of the component, in a file or ConfigMap
//! key beside the component, or a cosign signature of the manifest's digest.

use std::fmt;

use super::error::FetchErrorKind;
use ampoule_config::{TrustConfig, TrustedKey, public_key::BadSignature};
use ampoule_core::text::quote;
use ampoule_oci::CosignSignature;

/// The key whose signature of a component was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The name of the key in the configuration.
    pub name: String,
    /// The id of the key itself.
    pub key_id: String,
}

/// The keys of which one must have signed a component.
#[derive(Clone)]
pub(super) struct SignatureRequirement {
    keys: Vec<TrustedKey>,
    /// The name that the signature must state; `None` accepts any.
    name: Option<String>,
    /// For messages: the required keys.
    by: &'static str,
    /// For messages: what requires the signature.
    demanded: String,
}

// === impl Signer ===

impl From<&TrustedKey> for Signer {
    fn from(key: &TrustedKey) -> Self {
        Self { name: key.name.clone(), key_id: key.key.id().to_owned() }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.key_id)
    }
}

// === impl SignatureRequirement ===

impl SignatureRequirement {
    /// `None` if no signature is required. `signed_by` is the name of a key in the configuration.
    pub(super) fn new(trust: &TrustConfig, signed_by: Option<&str>) -> Option<Self> {
        match signed_by {
            Some(name) => Some(Self {
                keys: trust.key(name).cloned().into_iter().collect(),
                name: None,
                by: "the key",
                demanded: format!("{name}, injectors[].signedBy"),
            }),
            None if trust.require_signature => Some(Self {
                keys: trust.keys.clone(),
                name: None,
                by: "a key of trust.keys",
                demanded: "trust.requireSignature".to_owned(),
            }),
            None => None,
        }
    }

    /// The same requirement, for signatures that state this name.
    pub(super) fn for_name(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// Verifies a detached signature. `find` returns the name and the content of the signature with
    /// an extension.
    pub(super) fn verify_detached(
        &self,
        component: &[u8],
        find: impl Fn(&str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind>,
    ) -> Result<Signer, FetchErrorKind> {
        self.first_signer(|key| {
            let (name, signature) = find(key.key.extension())?;
            let Some(signature) = signature else { return Ok(Err(format!("{name} does not exist"))) };
            let verified = key.key.verify(component, &signature).map_err(|reason| reason.to_string());
            let named = verified.and_then(|()| self.check_detached_name(key, &signature));
            Ok(named.map_err(|reason| format!("{name} {reason}")))
        })
    }

    /// Verifies that one of cosign's signatures is valid for the manifest with this digest.
    pub(super) fn verify_cosign(&self, digest: &str, signatures: &[CosignSignature]) -> Result<Signer, FetchErrorKind> {
        self.first_signer(|key| {
            if !key.key.is_p256() {
                return Ok(Err("a minisign key, but registries have only signatures of cosign".to_owned()));
            }
            let verified = signatures.iter().map(|signature| self.verify_document(signature, key, digest));
            let missing = || Err("the registry has no cosign signature".to_owned());
            Ok(verified.reduce(Result::or).unwrap_or_else(missing))
        })
    }

    /// Verifies that `key` signed the manifest with this digest, for the required repository.
    fn verify_document(&self, cosign: &CosignSignature, key: &TrustedKey, digest: &str) -> Result<(), String> {
        key.key.verify(&cosign.payload, cosign.signature.as_bytes()).map_err(|reason| match reason {
            BadSignature::Wrong => "the cosign signature is not by this key".to_owned(),
            unreadable @ BadSignature::Unreadable(_) => format!("the cosign signature {unreadable}"),
        })?;
        // The document is parsed only now: until here, any client could have written it.
        let signed = cosign.signed_image().map_err(|error| error.to_string())?;
        if signed.digest != digest {
            return Err(format!("the cosign signature is for {}, not for {digest}", signed.digest));
        }
        match &self.name {
            Some(name) if *name != signed.reference => Err(format!(
                "the cosign signature is for {}, not for {} (injectors[].signedName)",
                quote(signed.reference.as_bytes()),
                quote(name.as_bytes())
            )),
            _ => Ok(()),
        }
    }

    /// Checks the name that a verified detached signature states.
    fn check_detached_name(&self, key: &TrustedKey, signature: &[u8]) -> Result<(), String> {
        let Some(name) = &self.name else { return Ok(()) };
        match key.key.stated_name(signature) {
            Some(stated) if stated == *name => Ok(()),
            Some(stated) => Err(format!(
                "is for {}, not for {} (injectors[].signedName)",
                quote(stated.as_bytes()),
                quote(name.as_bytes())
            )),
            None => Err("states no name, which injectors[].signedName requires; sign with minisign".to_owned()),
        }
    }

    /// Returns the first key for which `verify` finds a signature, or the reason for each key.
    fn first_signer(
        &self,
        verify: impl Fn(&TrustedKey) -> Result<Result<(), String>, FetchErrorKind>,
    ) -> Result<Signer, FetchErrorKind> {
        let mut reasons = Vec::new();
        for key in &self.keys {
            match verify(key)? {
                Ok(()) => return Ok(Signer::from(key)),
                Err(reason) => reasons.push(format!("{}: {reason}", key.name)),
            }
        }
        let reason = if reasons.is_empty() { "there is no key".to_owned() } else { reasons.join("; ") };
        Err(FetchErrorKind::Unsigned { by: self.by, demanded: self.demanded.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded: a document signed by cosign and its key, from the tests of the crate `sigstore`
    /// (`cosign/signature_layers.rs`).
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----";
    const SIGNATURE: &str =
        "MEUCIQD6q/COgzOyW0YH1Dk+CCYSt4uAhm3FDHUwvPI55zwnlwIgE0ZK58ZOWpZw8YVmBapJhBqCfdPekIknimuO0xH8Jh8=";
    const PAYLOAD: &str = r#"{"critical":{"identity":{"docker-reference":"registry-testing.svc.lan/busybox"},"image":{"docker-manifest-digest":"sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b"},"type":"cosign container image signature"},"optional":null}"#;
    const DIGEST: &str = "sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b";

    const OTHER: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETJP9cqpUQsn2ggmJniWGjHdlsHzD
JsB89BPhZYch0U0hKANx5TY+ncrm0s8bfJxxHoenAEFhwhuXeb4PqIrtoQ==
-----END PUBLIC KEY-----";

    fn trust(keys: &[(&str, &str)]) -> TrustConfig {
        let key = |(name, key): &(&str, &str)| TrustedKey { name: (*name).to_owned(), key: key.parse().unwrap() };
        TrustConfig { require_signature: true, keys: keys.iter().map(key).collect() }
    }

    fn recorded() -> CosignSignature {
        CosignSignature { payload: PAYLOAD.into(), signature: SIGNATURE.to_owned() }
    }

    fn cosign(trust: &TrustConfig, digest: &str, signatures: &[CosignSignature]) -> Result<String, String> {
        let required = SignatureRequirement::new(trust, None).unwrap();
        let signer = required.verify_cosign(digest, signatures);
        signer.map(|signer| signer.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn accepts_a_signature_of_cosign() {
        let trust = trust(&[("other", OTHER), ("release", KEY)]);
        let wrong = CosignSignature { signature: "AAAA".to_owned(), ..recorded() };
        for signatures in [vec![recorded()], vec![wrong.clone(), recorded()], vec![recorded(), wrong]] {
            assert_eq!(cosign(&trust, DIGEST, &signatures).unwrap(), "release (622601a9e498c090)");
        }
    }

    #[test]
    fn refuses_another_digest_and_a_missing_signature() {
        let trust = trust(&[("release", KEY), ("other", OTHER)]);
        let elsewhere = DIGEST.replace("f3c", "000");
        let required = "the component must be signed by a key of trust.keys (trust.requireSignature): release:";
        for (digest, signatures, expected) in [
            (
                DIGEST,
                vec![],
                "the registry has no cosign signature; other: the registry has no cosign signature".to_owned(),
            ),
            (
                &elsewhere,
                vec![recorded()],
                format!(
                    "the cosign signature is for {DIGEST}, not for {elsewhere}; other: the cosign signature is not by this key"
                ),
            ),
        ] {
            assert_eq!(cosign(&trust, digest, &signatures).unwrap_err(), format!("{required} {expected}"));
        }
    }

    #[test]
    fn a_requirement_of_one_key_accepts_no_other() {
        let trust = trust(&[("release", KEY), ("other", OTHER)]);
        let required = SignatureRequirement::new(&trust, Some("other")).unwrap();
        assert_eq!(
            required.verify_cosign(DIGEST, &[recorded()]).unwrap_err().to_string(),
            "the component must be signed by the key (other, injectors[].signedBy): other: the cosign signature is not by this key"
        );
    }

    #[test]
    fn a_signature_for_another_repository_does_not_suffice() {
        let trust = trust(&[("release", KEY)]);
        let verify = |name: &str| {
            let required = SignatureRequirement::new(&trust, None).unwrap().for_name(Some(name.to_owned()));
            required.verify_cosign(DIGEST, &[recorded()]).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(verify("registry-testing.svc.lan/busybox"), Ok(()));
        let expected = "the component must be signed by a key of trust.keys (trust.requireSignature): release: the \
                        cosign signature is for \"registry-testing.svc.lan/busybox\", not for \"ghcr.io/a\" \
                        (injectors[].signedName)";
        assert_eq!(verify("ghcr.io/a"), Err(expected.to_owned()));
    }

    #[test]
    fn without_keys_every_component_is_refused() {
        assert_eq!(
            cosign(&trust(&[]), DIGEST, &[recorded()]).unwrap_err(),
            "the component must be signed by a key of trust.keys (trust.requireSignature): there is no key"
        );
        assert!(SignatureRequirement::new(&TrustConfig::default(), None).is_none());
    }

    #[test]
    fn finds_the_signature_file_of_each_key() {
        let minisign = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        // Recorded: minisign's own documentation.
        let signature = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
        let trust = trust(&[("release", KEY), ("team", minisign)]);
        let find = |there: &'static str| {
            move |kind: &str| Ok((format!("x.{kind}"), (kind == there).then(|| signature.as_bytes().to_vec())))
        };
        let required = SignatureRequirement::new(&trust, None).unwrap();
        assert_eq!(required.verify_detached(b"test", find("minisig")).unwrap().to_string(), "team (E7620F1842B4E81F)");
        let named = |name: &str| required.clone().for_name(Some(name.to_owned()));
        assert!(named("test").verify_detached(b"test", find("minisig")).is_ok());
        assert_eq!(
            named("vault").verify_detached(b"test", find("minisig")).unwrap_err().to_string(),
            "the component must be signed by a key of trust.keys (trust.requireSignature): release: x.sig does not \
             exist; team: x.minisig is for \"test\", not for \"vault\" (injectors[].signedName)"
        );
        assert_eq!(
            required.verify_detached(b"test", find("sig")).unwrap_err().to_string(),
            format!(
                "the component must be signed by a key of trust.keys (trust.requireSignature): \
                 release: x.sig {}; team: x.minisig does not exist",
                BadSignature::Unreadable("cosign or openssl")
            )
        );
        assert_eq!(
            required.verify_detached(b"other", find("minisig")).unwrap_err().to_string(),
            format!(
                "the component must be signed by a key of trust.keys (trust.requireSignature): \
                 release: x.sig does not exist; team: x.minisig {}",
                BadSignature::Wrong
            )
        );
    }

    #[test]
    fn a_signer_keeps_its_name_even_if_it_looks_like_an_id() {
        let signer = Signer { name: "release (ci)".to_owned(), key_id: "0123".to_owned() };
        assert_eq!(signer.to_string(), "release (ci) (0123)");
        assert_ne!(signer, Signer { name: "release".to_owned(), key_id: "ci) (0123".to_owned() });
    }
}
