//! The values of a case's section `given`: variables, Secrets and HTTP answers ([`GivenValues`]),
//! and the services that serve them to the plugin ([`GivenServices`]).
//!
//! The grants of a plugin under test give access to these values only, never to this machine, its
//! network or a cluster.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ampoule_engine::{
    ClusterSecrets, ClusterSecretsError, Destination, Grants, HttpAnswers, HttpGrant, LabelledSecrets, LocalHttpError,
    SecretName,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, uri::Scheme},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{given_credential::given_credential, sent::SentRequest};
use ampoule_config::{ConfigError, GrantsConfig};

/// The values that a plugin's grants give access to.
#[derive(Default)]
pub(super) struct GivenValues {
    environment: BTreeMap<String, String>,
    secrets: BTreeMap<SecretName, GivenSecret>,
    answers: HashMap<HttpRequestKey, GivenAnswer>,
}

/// The answer to an HTTP request.
#[derive(Clone, Debug)]
struct GivenAnswer {
    delay: Duration,
    result: Result<Response<Bytes>, LocalHttpError>,
}

/// A Secret of a case.
struct GivenSecret {
    labels: BTreeMap<String, String>,
    data: BTreeMap<String, String>,
}

/// Serves the values of the current case in place of a cluster and HTTP hosts, and records the HTTP
/// requests.
#[derive(Default)]
pub(super) struct GivenServices {
    given: ArcSwap<GivenValues>,
    sent: Mutex<Vec<SentRequest>>,
}

/// Bytes of a value that is hidden in a diff. A shorter one is part of many words.
const SHORTEST_SECRET: usize = 4;

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
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct GivenAnswerFile {
    method: String,
    url: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    /// Time before the answer.
    delay_millis: u64,
    /// The error that the plugin gets instead of a response.
    error: Option<GivenHttpError>,
}

/// A network error of a case.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum GivenHttpError {
    ConnectionRefused,
    Timeout,
    Tls,
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
        let http = config.http.map(|http| {
            let hosts = http.hosts.into_iter().map(given_credential);
            HttpGrant::with_credentials(hosts, Vec::new()).expect("an empty list of root certificates is valid")
        });
        Ok(Grants {
            http,
            kubernetes_secrets: config.kubernetes_secrets,
            labelled_secrets: config.labelled_secrets.into_iter().collect(),
            cache: config.cache,
            environment,
            clock: config.clock,
            randomness: config.randomness,
        })
    }

    /// Replaces the given values in a text by their keys, since they represent secrets: variables,
    /// values of Secrets, and texts in the bodies of HTTP answers.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        for (name, value) in &self.environment {
            secrets.push((value.clone(), format!("<given.environment.{name}>")));
        }
        for (name, key, value) in self
            .secrets
            .iter()
            .flat_map(|(name, secret)| secret.data.iter().map(move |(key, value)| (name, key, value)))
        {
            secrets.push((value.clone(), format!("<key {key} of Secret {name}>")));
        }
        for answer in self.answers.values().filter_map(|answer| answer.result.as_ref().ok()) {
            push_texts(answer.body(), &mut secrets);
        }
        // The longest first, so that no rest of a value remains.
        secrets.sort_by_key(|(value, _)| usize::MAX - value.len());
        let known = secrets.into_iter().filter(|(value, _)| value.len() >= SHORTEST_SECRET);
        known.fold(text.to_owned(), |text, (value, shown)| text.replace(&value, &shown))
    }
}

/// Adds the texts of a body, which may be JSON.
fn push_texts(body: &Bytes, secrets: &mut Vec<(String, String)>) {
    let mut push = |text: &str| secrets.push((text.to_owned(), "<text of a body in given.http>".to_owned()));
    let mut values = vec![serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())];
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) => push(&text),
            Value::Array(items) => values.extend(items),
            Value::Object(entries) => values.extend(entries.into_iter().map(|(_, value)| value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
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
    fn check(self, key: &str) -> Result<(HttpRequestKey, GivenAnswer), ConfigError> {
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
        let result = match self.error {
            None => Ok(answer),
            Some(GivenHttpError::ConnectionRefused) => Err(LocalHttpError::ConnectionRefused),
            Some(GivenHttpError::Timeout) => Err(LocalHttpError::Timeout),
            Some(GivenHttpError::Tls) => Err(LocalHttpError::Tls),
        };
        Ok((request, GivenAnswer { delay: Duration::from_millis(self.delay_millis), result }))
    }
}

impl Default for GivenAnswerFile {
    /// An empty answer to a GET request.
    fn default() -> Self {
        let (url, headers, body) = (String::new(), BTreeMap::new(), String::new());
        Self { method: "GET".to_owned(), url, status: 200, headers, body, delay_millis: 0, error: None }
    }
}

// === impl GivenServices ===

impl GivenServices {
    /// Replaces the values, and forgets the requests.
    pub(super) fn set(&self, given: Arc<GivenValues>) {
        self.given.store(given);
        self.lock().clear();
    }

    /// Takes the HTTP requests since the last call.
    pub(super) fn take_sent(&self) -> Vec<SentRequest> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SentRequest>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, method: &Method, uri: &Uri) -> Option<GivenAnswer> {
        self.given.load().answers.get(&request_key(method, uri)?).cloned()
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
        let given = self.given.load();
        let secret = given.secrets.get(secret).filter(|secret| LabelledSecrets::cover(selectors, &secret.labels));
        Ok(secret.and_then(|secret| secret.data.get(key)).map(|value| value.clone().into_bytes()))
    }
}

#[async_trait]
impl HttpAnswers for GivenServices {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, LocalHttpError> {
        let given = self.find(request.method(), request.uri());
        self.lock().push(SentRequest { request, is_answered: given.is_some() });
        let GivenAnswer { delay, result } = given.ok_or(LocalHttpError::Undefined)?;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        result
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
            let answer = services.find(&method, &uri.parse().unwrap())?.result.unwrap();
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
        let answer = services.find(&Method::GET, &Uri::from_static("https://a.example/")).unwrap().result.unwrap();
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

    #[test]
    fn hides_given_values_in_texts() {
        let given = given(json!({
            "environment": { "TOKEN": "t0ken", "SHORT": "abc" },
            "kubernetesSecrets": [{ "namespace": "store", "name": "login", "data": { "password": "t0ken-longer" } }],
            "http": [{ "url": "https://a.example/", "body": "{ \"auth\": [{ \"session\": \"5e55\" }] }" }],
        }));
        let hidden = given.unwrap().hide("Bearer t0ken, t0ken-longer, 5e55, abc");
        let expected = "Bearer <given.environment.TOKEN>, <key password of Secret store/login>, \
                        <text of a body in given.http>, abc";
        assert_eq!(hidden, expected);
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
