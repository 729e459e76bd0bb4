//! What a case has in the place of the world: variables, Secrets and answers by HTTP ([`Given`]), and who tells a plugin under test of
//! it ([`Stage`]).
//!
//! Nothing of this machine, its network or a cluster is behind the grants of such a plugin.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ampoule_engine::{ClusterSecrets, ClusterSecretsError, Destination, Grants, HttpAnswers, HttpGrant, SecretName};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, uri::Scheme},
};
use serde::Deserialize;

use ampoule_config::{ConfigError, GrantsConfig};

/// What a plugin finds behind its grants.
#[derive(Default)]
pub(super) struct Given {
    environment: BTreeMap<String, String>,
    secrets: BTreeMap<SecretName, BTreeMap<String, String>>,
    answers: HashMap<Question, Response<Bytes>>,
}

/// Gives what the case has that is under test.
#[derive(Default)]
pub(super) struct Stage(ArcSwap<Given>);

/// What an answer is chosen by: method, host, path and query.
type Question = (Method, Destination, String);

/// Section `given` of a case.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct GivenFile {
    /// Variables and their values.
    environment: BTreeMap<String, String>,
    kubernetes_secrets: Vec<SecretFile>,
    http: Vec<AnswerFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    namespace: String,
    name: String,
    /// Values by their keys, as they are.
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerFile {
    method: String,
    url: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

// === impl Given ===

impl Given {
    /// What these grants stand for, in a world where nothing else is.
    pub(super) fn grants(&self, config: GrantsConfig) -> Result<Grants, ConfigError> {
        let GrantsConfig { http, kubernetes_secrets, environment, clock, randomness } = config;
        let environment = environment.into_iter().enumerate().map(|(i, name)| match self.environment.get(&name) {
            Some(value) => Ok((name, value.as_str().into())),
            None => {
                let reason = format!("{name} has no value in given.environment");
                Err(ConfigError::at(format!("grants.environment[{i}]"), reason))
            }
        });
        let environment = environment.collect::<Result<_, _>>()?;
        let http = http.map(|http| HttpGrant::new(http.hosts, Vec::new()).expect("no root is no bad root"));
        Ok(Grants { http, kubernetes_secrets, environment, clock, randomness })
    }
}

impl fmt::Debug for Given {
    /// Without what stands for secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

// === impl GivenFile, AnswerFile ===

impl GivenFile {
    pub(super) fn check(self) -> Result<Given, ConfigError> {
        let Self { environment, kubernetes_secrets, http } = self;
        let secret = |SecretFile { namespace, name, data }| (SecretName { namespace, name }, data);
        let secrets = kubernetes_secrets.into_iter().map(secret).collect();
        let mut answers = HashMap::new();
        for (i, answer) in http.into_iter().enumerate() {
            let key = format!("given.http[{i}]");
            let (question, answer) = answer.check(&key)?;
            if answers.insert(question, answer).is_some() {
                return Err(ConfigError::at(key, "answers what another one answers"));
            }
        }
        Ok(Given { environment, secrets, answers })
    }
}

impl AnswerFile {
    fn check(self, key: &str) -> Result<(Question, Response<Bytes>), ConfigError> {
        let Self { method, url, status, headers, body } = self;
        let at = |name: &str, reason: String| ConfigError::at(format!("{key}.{name}"), reason);
        let method =
            method.parse().map_err(|_| at("method", format!("{method:?} is no method such as GET or POST")))?;
        let question = url.parse().ok().and_then(|uri| question(&method, &uri));
        let question = question.ok_or_else(|| at("url", "must be https://HOST[:PORT]/PATH".to_owned()))?;
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::from_u16(status)
            .map_err(|_| at("status", format!("{status} is no status such as 200 or 404")))?;
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::try_from(value).ok());
            let (header, value) = header.ok_or_else(|| at("headers", format!("{name:?} is no header with a text")))?;
            answer.headers_mut().insert(header, value);
        }
        Ok((question, answer))
    }
}

impl Default for AnswerFile {
    /// An empty answer to a GET.
    fn default() -> Self {
        let (url, headers, body) = (String::new(), BTreeMap::new(), String::new());
        Self { method: "GET".to_owned(), url, status: 200, headers, body }
    }
}

// === impl Stage ===

impl Stage {
    /// From now on, this is all there is.
    pub(super) fn set(&self, given: Arc<Given>) {
        self.0.store(given);
    }
}

#[async_trait]
impl ClusterSecrets for Stage {
    async fn read(&self, secret: &SecretName, key: &str) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let given = self.0.load();
        Ok(given.secrets.get(secret).and_then(|data| data.get(key)).map(|value| value.clone().into_bytes()))
    }
}

impl HttpAnswers for Stage {
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        self.0.load().answers.get(&question(method, uri)?).cloned()
    }
}

/// None if no plugin could ask it.
fn question(method: &Method, uri: &Uri) -> Option<Question> {
    let host = Destination::parse(uri.authority()?.as_str()).ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    (uri.scheme() == Some(&Scheme::HTTPS)).then(|| (method.clone(), host, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn given(file: Value) -> Result<Given, String> {
        let file: GivenFile = serde_json::from_value(file).unwrap();
        file.check().map_err(|error| error.to_string())
    }

    fn stage(file: Value) -> Stage {
        let stage = Stage::default();
        stage.set(Arc::new(given(file).unwrap()));
        stage
    }

    #[test]
    fn a_request_has_the_answer_of_its_method_host_path_and_query() {
        let answer = |method: &str, url: &str, body: &str| json!({ "method": method, "url": url, "body": body });
        let stage = stage(json!({ "http": [
            { "url": "https://a.example", "status": 404, "headers": { "X-Kind": "none" } },
            answer("GET", "https://A.example:443/x?y", "with"),
            answer("GET", "https://a.example/x", "without"),
            answer("POST", "https://a.example/x", "posted"),
            answer("GET", "https://a.example:8443/x", "port"),
        ] }));
        let ask = |method: Method, uri: &str| {
            let answer = stage.answer(&method, &uri.parse().unwrap())?;
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
        let answer = stage.answer(&Method::GET, &Uri::from_static("https://a.example/")).unwrap();
        assert_eq!(answer.headers()["x-kind"], "none");
    }

    #[test]
    fn says_what_is_wrong_with_an_answer() {
        let url = "https://a.example/x";
        for (answer, expected) in [
            (json!({}), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": "http://a.example/" }), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": "https://127.0.0.1/" }), "given.http[0].url: must be https://HOST[:PORT]/PATH"),
            (json!({ "url": url, "method": "G T" }), "given.http[0].method: \"G T\" is no method such as GET or POST"),
            (json!({ "url": url, "status": 42 }), "given.http[0].status: 42 is no status such as 200 or 404"),
            (
                json!({ "url": url, "headers": { "a b": "c" } }),
                "given.http[0].headers: \"a b\" is no header with a text",
            ),
        ] {
            let error = given(json!({ "http": [answer] })).unwrap_err();
            assert_eq!(error, format!("configuration: {expected}"));
        }
        let error = given(json!({ "http": [{ "url": url }, { "url": url, "status": 404 }] })).unwrap_err();
        assert_eq!(error, "configuration: given.http[1]: answers what another one answers");
    }

    #[tokio::test]
    async fn a_secret_is_there_with_the_keys_that_it_has() {
        let secret = json!({ "namespace": "store", "name": "token", "data": { "value": "hush" } });
        let stage = stage(json!({ "kubernetesSecrets": [secret] }));
        for (namespace, name, key, expected) in [
            ("store", "token", "value", Some("hush")),
            ("store", "token", "other", None),
            ("store", "other", "value", None),
            ("other", "token", "value", None),
        ] {
            let secret = SecretName { namespace: namespace.to_owned(), name: name.to_owned() };
            let expected = expected.map(|value| value.as_bytes().to_vec());
            assert_eq!(stage.read(&secret, key).await, Ok(expected), "{secret} {key}");
        }
    }

    #[test]
    fn a_variable_is_not_that_of_this_machine() {
        let environment = ["PATH".to_owned()].into();
        let config = GrantsConfig { environment, ..GrantsConfig::default() };
        let error = Given::default().grants(config.clone()).unwrap_err();
        let expected = "configuration: grants.environment[0]: PATH has no value in given.environment";
        assert_eq!(error.to_string(), expected);
        let given = given(json!({ "environment": { "PATH": "mine", "HOME": "not granted" } })).unwrap();
        let names: Vec<_> = given.grants(config).unwrap().environment.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH"]);
    }
}
