//! A token server, as the large registries have one: [`Tokens`].
//!
//! Implements <https://distribution.github.io/distribution/spec/auth/token/>; the registry itself
//! verifies the signed tokens.

use std::{collections::HashMap, fs, net::Ipv4Addr, path::Path, sync::Arc, time::SystemTime};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::get,
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{CertificateParams, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::USER;

const SERVICE: &str = "the tests' own registry";
const ISSUER: &str = "the tests";
/// Prefix of the repositories that anonymous clients may pull from.
const PUBLIC: &str = "public/";

/// A running server on plain HTTP. It ends when this value is dropped.
pub(super) struct Tokens {
    task: JoinHandle<()>,
    configuration: Value,
}

struct Key {
    pair: EcdsaKeyPair,
    certificate: String,
}

// === impl Tokens ===

impl Tokens {
    pub(super) async fn serve(folder: &Path) -> Result<Self> {
        let pair = KeyPair::generate()?;
        let certificate = CertificateParams::new(Vec::new())?.self_signed(&pair)?;
        let bundle = folder.join("tokens.crt");
        fs::write(&bundle, certificate.pem())?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der(), &random);
        let key = Key { pair: key.ok().context("a key")?, certificate: BASE64.encode(certificate.der()) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let realm = format!("http://{}/token", listener.local_addr()?);
        let configuration = json!({ "realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle });
        let router = Router::new().route("/token", get(token)).with_state(Arc::new(key));
        let task = tokio::spawn(async move {
            // The server ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { task, configuration })
    }

    /// The configuration for the registry.
    pub(super) fn configuration(&self) -> &Value {
        &self.configuration
    }

    /// Host and port of the server.
    pub(super) fn host(&self) -> Option<&str> {
        self.configuration["realm"].as_str()?.strip_prefix("http://")?.strip_suffix("/token")
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn token(
    State(key): State<Arc<Key>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let query: HashMap<_, _> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let (user, password) = USER;
    let known = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
    let is_user = match headers.get(AUTHORIZATION) {
        Some(value) if *value == known => true,
        Some(_) => return Err(StatusCode::UNAUTHORIZED),
        None => false,
    };
    if query.get("service").map(String::as_str) != Some(SERVICE) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let scope: Vec<_> = query.get("scope").map(|scope| scope.split(':').collect()).unwrap_or_default();
    let [kind, name, actions] = scope[..] else { return Err(StatusCode::BAD_REQUEST) };
    let may = |action: &&str| is_user || (*action == "pull" && name.starts_with(PUBLIC));
    let actions: Vec<_> = actions.split(',').filter(may).collect();
    let access = json!([{ "type": kind, "name": name, "actions": actions }]);
    let token = key.sign(&access).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "token": token })))
}

// === impl Key ===

impl Key {
    fn sign(&self, access: &Value) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": ISSUER, "sub": "somebody", "aud": SERVICE, "jti": "1", "access": access,
            "iat": now - 10, "nbf": now - 10, "exp": now + 300,
        });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok().context("signing failed")?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref())))
    }
}
