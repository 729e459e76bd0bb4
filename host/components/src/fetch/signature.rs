//! Whether a component is signed as the configuration demands: [`Demand`].
//!
//! Two forms: a signature of the component itself, in a file or key beside it, and cosign's, which is of the manifest's digest.

use serde::Deserialize;

use super::error::FetchErrorKind;
use ampoule_config::{TrustConfig, TrustedKey, public_key::BadSignature};
use ampoule_oci::CosignSignature;

/// What cosign says that it signs.
const COSIGN_TYPE: &str = "cosign container image signature";

/// Whose signature a component must have.
pub(super) struct Demand<'a> {
    keys: Vec<&'a TrustedKey>,
    /// For messages: whose, and why.
    by: &'static str,
    demanded: String,
}

/// What cosign signs: <https://github.com/containers/image/blob/main/docs/containers-signature.5.md>.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

// === impl Demand ===

impl<'a> Demand<'a> {
    /// None if nobody has to have signed it. `signed_by` is a key of the configuration.
    pub(super) fn of(trust: &'a TrustConfig, signed_by: Option<&str>) -> Option<Self> {
        match signed_by {
            Some(name) => Some(Self {
                keys: trust.key(name).into_iter().collect(),
                by: "the key",
                demanded: format!("{name}, injectors[].signedBy"),
            }),
            None if trust.require_signature => Some(Self {
                keys: trust.keys.iter().collect(),
                by: "a key of trust.keys",
                demanded: "trust.requireSignature".to_owned(),
            }),
            None => None,
        }
    }

    /// Looks for a signature of the component: `find` gives the name for a kind of signature, and what is there.
    pub(super) fn detached(
        &self,
        component: &[u8],
        find: impl Fn(&str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind>,
    ) -> Result<String, FetchErrorKind> {
        self.first(|key| {
            let (name, signature) = find(key.key.extension())?;
            let Some(signature) = signature else { return Ok(Err(format!("there is no {name}"))) };
            Ok(key.key.verify(component, &signature).map_err(|reason| format!("{name} {reason}")))
        })
    }

    /// Looks for one of cosign's that is of this manifest.
    pub(super) fn cosign(&self, digest: &str, signatures: &[CosignSignature]) -> Result<String, FetchErrorKind> {
        self.first(|key| {
            if !key.key.is_p256() {
                return Ok(Err("it is a key of minisign, and in a registry signatures are cosign's".to_owned()));
            }
            let verified = signatures.iter().map(|signature| verify_cosign(signature, key, digest)).reduce(Result::or);
            Ok(verified.unwrap_or_else(|| Err("cosign has put no signature beside it".to_owned())))
        })
    }

    /// The first key for which `verify` finds a signature, or why none.
    fn first(
        &self,
        verify: impl Fn(&TrustedKey) -> Result<Result<(), String>, FetchErrorKind>,
    ) -> Result<String, FetchErrorKind> {
        let mut reasons = Vec::new();
        for key in &self.keys {
            match verify(key)? {
                Ok(()) => return Ok(format!("{} ({})", key.name, key.key.id())),
                Err(reason) => reasons.push(format!("{}: {reason}", key.name)),
            }
        }
        let reason = if reasons.is_empty() { "there is no key".to_owned() } else { reasons.join("; ") };
        Err(FetchErrorKind::Unsigned { by: self.by, demanded: self.demanded.clone(), reason })
    }
}

/// Verifies that `key` signed this very manifest as a component.
fn verify_cosign(cosign: &CosignSignature, key: &TrustedKey, digest: &str) -> Result<(), String> {
    let CosignSignature { payload, signature } = cosign;
    key.key.verify(payload, signature.as_bytes()).map_err(|reason| match reason {
        BadSignature::Wrong => "the signature beside it is not by this key".to_owned(),
        unreadable @ BadSignature::Unreadable(_) => format!("what stands beside it {unreadable}"),
    })?;
    // From here on, the key's owner has said it.
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|error| format!("what is signed is not readable: {error}"))?;
    let Critical { image, kind } = payload.critical;
    if kind != COSIGN_TYPE {
        return Err(format!("what is signed is no component but {kind:?}"));
    }
    if image.digest != digest {
        return Err(format!("the signature is of {}, and this is {digest}", image.digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded: what cosign signed, and the key, from the tests of the crate `sigstore` (`cosign/signature_layers.rs`).
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
        Demand::of(trust, None).unwrap().cosign(digest, signatures).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_what_cosign_has_signed() {
        let trust = trust(&[("other", OTHER), ("release", KEY)]);
        let wrong = CosignSignature { signature: "AAAA".to_owned(), ..recorded() };
        for signatures in [vec![recorded()], vec![wrong.clone(), recorded()], vec![recorded(), wrong]] {
            assert_eq!(cosign(&trust, DIGEST, &signatures).unwrap(), "release (622601a9e498c090)");
        }
    }

    #[test]
    fn refuses_another_digest_another_key_and_none() {
        let trust = trust(&[("release", KEY), ("other", OTHER)]);
        let elsewhere = DIGEST.replace("f3c", "000");
        let demanded = "it must be signed by a key of trust.keys (trust.requireSignature): release:";
        for (digest, signatures, expected) in [
            (
                DIGEST,
                vec![],
                "cosign has put no signature beside it; other: cosign has put no signature beside it".to_owned(),
            ),
            (
                &elsewhere,
                vec![recorded()],
                format!(
                    "the signature is of {DIGEST}, and this is {elsewhere}; other: the signature beside it is not by this key"
                ),
            ),
        ] {
            assert_eq!(cosign(&trust, digest, &signatures).unwrap_err(), format!("{demanded} {expected}"));
        }
    }

    #[test]
    fn a_demand_for_one_key_takes_no_other() {
        let trust = trust(&[("release", KEY), ("other", OTHER)]);
        let demand = Demand::of(&trust, Some("other")).unwrap();
        assert_eq!(
            demand.cosign(DIGEST, &[recorded()]).unwrap_err().to_string(),
            "it must be signed by the key (other, injectors[].signedBy): other: the signature beside it is not by this key"
        );
    }

    #[test]
    fn nothing_is_good_enough_where_there_are_no_keys() {
        assert_eq!(
            cosign(&trust(&[]), DIGEST, &[recorded()]).unwrap_err(),
            "it must be signed by a key of trust.keys (trust.requireSignature): there is no key"
        );
        assert!(Demand::of(&TrustConfig::default(), None).is_none());
    }

    #[test]
    fn finds_the_file_of_the_key() {
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
        let demand = Demand::of(&trust, None).unwrap();
        assert_eq!(demand.detached(b"test", find("minisig")).unwrap(), "team (E7620F1842B4E81F)");
        assert_eq!(
            demand.detached(b"test", find("sig")).unwrap_err().to_string(),
            "it must be signed by a key of trust.keys (trust.requireSignature): release: x.sig is no signature as cosign \
             or openssl writes it; team: there is no x.minisig"
        );
        assert_eq!(
            demand.detached(b"other", find("minisig")).unwrap_err().to_string(),
            "it must be signed by a key of trust.keys (trust.requireSignature): release: there is no x.sig; \
             team: x.minisig is not by this key, or not of this component"
        );
    }
}
