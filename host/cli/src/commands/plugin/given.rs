//! The values of a case's section `given`: variables, Secrets and HTTP answers ([`GivenValues`]),
//! and the services that serve them to the plugin ([`GivenServices`]).
//!
//! The grants of a plugin under test give access to these values only, never to this machine, its
//! network or a cluster.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ampoule_engine::{
    ClusterSecrets, ClusterSecretsError, Destination, Grants, HttpAnswers, HttpGrant, LabelledSecrets, SecretName,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, uri::Scheme},
};
use serde::Deserialize;

use ampoule_config::{ConfigError, GrantsConfig};

/// The values that a plugin's grants give access to.
#[derive(Default)]
pub(super) struct GivenValues {
    environment: BTreeMap<String, String>,
    secrets: BTreeMap<SecretName, GivenSecret>,
    answers: HashMap<HttpRequestKey, Response<Bytes>>,
}

/// A Secret of a case.
struct GivenSecret {
    labels: BTreeMap<String, String>,
    data: BTreeMap<String, String>,
}

/// Serves the values of the current case in place of a cluster and HTTP hosts.
#[derive(Default)]
pub(super) struct GivenServices(ArcSwap<GivenValues>);

/// The key of an HTTP answer: method, host, and path with query.
type HttpRequestKey = (Method, Destination, String);

/// Section `given` of a case.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct GivenFile {
    /// Environment variables by name.
    environment: BTreeMap<String, String>,
    kubernetes_secrets: Vec<GivenSecretFile>,
    http: Vec<GivenAnswerFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSecretFile {
    namespace: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Plain-text values by key.
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GivenAnswerFile {
    method: String,
    url: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

// === impl GivenValues ===

impl GivenValues {
    /// Resolves grants with these values only.
    pub(super) fn grants(&self, config: GrantsConfig) -> Result<Grants, ConfigError> {
        let variables = config.environment.into_iter().enumerate();
        let environment = variables.map(|(i, name)| match self.environment.get(&name) {
            Some(value) => Ok((name, value.as_str().into())),
            None => {
                let reason = format!("{name} has no value in given.environment");
                Err(ConfigError::at(format!("grants.environment[{i}]"), reason))
            }
        });
        let environment = environment.collect::<Result<_, _>>()?;
        let http = config
            .http
            .map(|http| HttpGrant::new(http.hosts, Vec::new()).expect("an empty list of root certificates is valid"));
        Ok(Grants {
            http,
            kubernetes_secrets: config.kubernetes_secrets,
            labelled_secrets: config.labelled_secrets,
            cache: config.cache,
            environment,
            clock: config.clock,
            randomness: config.randomness,
        })
    }
}

impl fmt::Debug for GivenValues {
    /// Omits the values because they represent secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenValues").finish_non_exhaustive()
    }
}

// === impl GivenFile, GivenAnswerFile ===

impl GivenFile {
    pub(super) fn check(self) -> Result<GivenValues, ConfigError> {
        let mut secrets = BTreeMap::new();
        for secret in self.kubernetes_secrets {
            let name = SecretName { namespace: secret.namespace, name: secret.name };
            secrets.insert(name, GivenSecret { labels: secret.labels, data: secret.data });
        }
        let mut answers = HashMap::new();
        for (i, answer) in self.http.into_iter().enumerate() {
            let key = format!("given.http[{i}]");
            let (request, answer) = answer.check(&key)?;
            if answers.insert(request, answer).is_some() {
                return Err(ConfigError::at(key, "duplicate method and URL"));
            }
        }
        Ok(GivenValues { environment: self.environment, secrets, answers })
    }
}

impl GivenAnswerFile {
    fn check(self, key: &str) -> Result<(HttpRequestKey, Response<Bytes>), ConfigError> {
        let error = |name: &str, reason: String| ConfigError::at(format!("{key}.{name}"), reason);
        let method = self.method.parse::<Method>();
        let method = method.map_err(|_| error("method", format!("{:?} is not an HTTP method", self.method)))?;
        let request = self.url.parse().ok().and_then(|uri| request_key(&method, &uri));
        let request = request.ok_or_else(|| error("url", "must be https://HOST[:PORT]/PATH".to_owned()))?;
        let mut answer = Response::new(Bytes::from(self.body));
        *answer.status_mut() = StatusCode::from_u16(self.status)
            .map_err(|_| error("status", format!("{} is not an HTTP status", self.status)))?;
        for (name, value) in self.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::try_from(value).ok());
            let (header, value) =
                header.ok_or_else(|| error("headers", format!("{name:?} has an invalid name or value")))?;
            answer.headers_mut().insert(header, value);
        }
        Ok((request, answer))
    }
}

impl Default for GivenAnswerFile {
    /// An empty answer to a GET request.
    fn default() -> Self {
        let (url, headers, body) = (String::new(), BTreeMap::new(), String::new());
        Self { method: "GET".to_owned(), url, status: 200, headers, body }
    }
}

// === impl GivenServices ===

impl GivenServices {
    /// Replaces the values.
    pub(super) fn set(&self, given: Arc<GivenValues>) {
        self.0.store(given);
    }
}

#[async_trait]
impl ClusterSecrets for GivenServices {
    async fn read(
        &self,
        secret: &SecretName,
        key: &str,
        selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let given = self.0.load();
        let is_selected = |secret: &&GivenSecret| {
            selectors.is_empty() || selectors.iter().any(|selector| selector.match_labels(&secret.labels))
        };
        let secret = given.secrets.get(secret).filter(is_selected);
        Ok(secret.and_then(|secret| secret.data.get(key)).map(|value| value.clone().into_bytes()))
    }
}

impl HttpAnswers for GivenServices {
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        self.0.load().answers.get(&request_key(method, uri)?).cloned()
    }
}

/// Returns `None` for a request that no plugin can send.
fn request_key(method: &Method, uri: &Uri) -> Option<HttpRequestKey> {
    let host = Destination::parse(uri.authority()?.as_str()).ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    (uri.scheme() == Some(&Scheme::HTTPS)).then(|| (method.clone(), host, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn given(file: Value) -> Result<GivenValues, String> {
        let file: GivenFile = serde_json::from_value(file).unwrap();
        file.check().map_err(|error| error.to_string())
    }

    fn services(file: Value) -> GivenServices {
        let services = GivenServices::default();
        services.set(Arc::new(given(file).unwrap()));
        services
    }

    #[test]
    fn answers_a_request_by_method_host_path_and_query() {
        let answer = |method: &str, url: &str, body: &str| json!({ "method": method, "url": url, "body": body });
        let services = services(json!({ "http": [
            { "url": "https://a.example", "status": 404, "headers": { "X-Kind": "none" } },
            answer("GET", "https://A.example:443/x?y", "with"),
            answer("GET", "https://a.example/x", "without"),
            answer("POST", "https://a.example/x", "posted"),
            answer("GET", "https://a.example:8443/x", "port"),
        ] }));
        let ask = |method: Method, uri: &str| {
            let answer = services.answer(&method, &uri.parse().unwrap())?;
            Some(format!("{} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body())))
        };
        for (method, uri, expected) in [
            (Method::GET, "https://a.example/", Some("404 ")),
            (Method::GET, "https://a.example/x?y", Some("200 with")),
            (Method::GET, "https://a.example/x", Some("200 without")),
            (Method::GET, "https://a.example:443/x", Some("200 without")),
            (Method::POST, "https://a.example/x", Some("200 posted")),
            (Method::GET, "https://a.example:8443/x", Some("200 port")),
            (Method::PUT, "https://a.example/x", None),
            (Method::GET, "https://a.example/X", None),
            (Method::GET, "https://b.example/x", None),
            (Method::GET, "http://a.example/x", None),
        ] {
            assert_eq!(ask(method.clone(), uri).as_deref(), expected, "{method} {uri}");
        }
        let answer = services.answer(&Method::GET, &Uri::from_static("https://a.example/")).unwrap();
        assert_eq!(answer.headers()["x-kind"], "none");
    }

    #[test]
    fn rejects_an_invalid_answer() {
        let url = "https://a.example/x";
        for (answer, expected) in [
            (json!({}), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": "http://a.example/" }), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": "https://127.0.0.1/" }), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": url, "method": "G T" }), "given.http[0].method: \"G T\" is not an HTTP method"),
            (json!({ "url": url, "status": 42 }), "given.http[0].status: 42 is not an HTTP status"),
            (
                json!({ "url": url, "headers": { "a b": "c" } }),
                "given.http[0].headers: \"a b\" has an invalid name or value",
            ),
        ] {
            let error = given(json!({ "http": [answer] })).unwrap_err();
            assert_eq!(error, format!("configuration: {expected}"));
        }
        let error = given(json!({ "http": [{ "url": url }, { "url": url, "status": 404 }] })).unwrap_err();
        assert_eq!(error, "configuration: given.http[1]: duplicate method and URL");
    }

    #[tokio::test]
    async fn serves_secrets_by_namespace_name_and_key() {
        let secret = json!({ "namespace": "store", "name": "token", "data": { "value": "hush" } });
        let services = services(json!({ "kubernetesSecrets": [secret] }));
        for (namespace, name, key, expected) in [
            ("store", "token", "value", Some("hush")),
            ("store", "token", "other", None),
            ("store", "other", "value", None),
            ("other", "token", "value", None),
        ] {
            let secret = SecretName { namespace: namespace.to_owned(), name: name.to_owned() };
            let expected = expected.map(|value| value.as_bytes().to_vec());
            assert_eq!(services.read(&secret, key, &[]).await, Ok(expected), "{secret} {key}");
        }
    }

    #[test]
    fn a_granted_variable_never_has_the_value_of_this_machine() {
        let environment = ["PATH".to_owned()].into();
        let config = GrantsConfig { environment, ..GrantsConfig::default() };
        let error = GivenValues::default().grants(config.clone()).unwrap_err();
        let expected = "configuration: grants.environment[0]: PATH has no value in given.environment";
        assert_eq!(error.to_string(), expected);
        let given = given(json!({ "environment": { "PATH": "mine", "HOME": "not granted" } })).unwrap();
        let names: Vec<_> = given.grants(config).unwrap().environment.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH"]);
    }
}
