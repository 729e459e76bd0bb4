//! [`KeyFile`]: a service account with a private key, which signs a token request (RFC 7523).
//!
//! Prefer workload identity federation: such a key does not expire.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use http::Request;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{FILE, require_tls};
use crate::{
    LoginError, Surroundings,
    exchange::{server_name, token_for_form},
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The lifetime of a token request in seconds, the maximum of Google.
const LIFETIME: u64 = 3600;

/// A service account with a private key.
#[derive(Deserialize)]
pub(super) struct KeyFile {
    client_email: String,
    private_key_id: String,
    #[serde(deserialize_with = "secret")]
    private_key: SecretString,
    token_uri: String,
}

// === impl KeyFile ===

impl KeyFile {
    pub(super) async fn token(
        &self,
        surroundings: &Surroundings,
        scopes: &[String],
    ) -> Result<(SecretString, u64), LoginError> {
        require_tls(&self.token_uri, "token_uri")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let assertion = self.assertion(scopes, now)?;
        let form = [("grant_type", GRANT), ("assertion", assertion.expose_secret())];
        let request = Request::post(self.token_uri.as_str());
        token_for_form(surroundings, &server_name(&self.token_uri), request, &form).await
    }

    fn assertion(&self, scopes: &[String], now: u64) -> Result<SecretString, LoginError> {
        let wrong = || LoginError::misconfigured(format!("{FILE} private_key is not an RSA key in PKCS #8 form"));
        let key = pem::parse(self.private_key.expose_secret()).map_err(|_| wrong())?;
        let key = RsaKeyPair::from_pkcs8(key.contents()).map_err(|_| wrong())?;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.private_key_id });
        let claims = json!({
            "iss": self.client_email,
            "scope": scopes.join(" "),
            "aud": self.token_uri,
            "iat": now,
            "exp": now + LIFETIME,
        });
        let encoded = |part: serde_json::Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| wrong())?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)).into())
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}
