//! The check of a request's client: each rule, before the body is read, and the routes of an
//! aggregated API.
//!
//! The webhook behind the check answers with the path and the query that it receives.

use ampoule_config::{AGGREGATED_PATH, WEBHOOK_PATH};
use ampoule_net::listener::{ClientCertificate, Peer};
use axum::{body::Body, http::Method, routing::post};
use http_body_util::BodyExt as _;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

const REFUSED: &str = "ampoule_refused_clients_total";

/// A certificate with a common name, a DNS name and a URI.
fn certificate(common_name: &str) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://cluster/api-server".try_into().unwrap()));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

/// A webhook that reads the body only if it is called.
fn webhook() -> Router {
    Router::new().route(WEBHOOK_PATH, post(async |uri: axum::http::Uri, _body: String| uri.to_string()))
}

fn certificate_rule(names: &[&str]) -> ClientRule {
    ClientRule::Certificate { allowed_names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn header_rule(allowed_names: &[&str], username_headers: &[&str]) -> ClientRule {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let proxy = Arc::new(FrontProxy::default());
    let rules = FrontProxyRules { allowed_names: list(allowed_names), username_headers: list(username_headers) };
    proxy.install(rules);
    ClientRule::RequestHeader { proxy, allowed_users: vec!["system:apiserver".to_owned()] }
}

/// A request whose body never arrives.
fn request(method: Method, path: &str, peer: Option<CertificateDer<'static>>, headers: &[(&str, &str)]) -> Request {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let body = Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let mut request = builder.body(body).unwrap();
    let address = "192.0.2.1".parse().unwrap();
    let certificate = peer.map(|peer| ClientCertificate::read(&peer)).unwrap_or_default();
    request.extensions_mut().insert(Peer { address, certificate });
    request
}

async fn answer(router: Router, request: Request) -> (u16, String) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Sends a request and compares the status; 200 means that the client passed the check.
async fn check_status(rule: &ClientRule, mut request: Request, expected: u16, counted: Option<&str>) {
    let metrics = Metrics::new();
    if expected == 200 {
        *request.body_mut() = Body::empty();
    }
    let (status, text) = answer(protect(webhook(), rule.clone(), metrics.clone()), request).await;
    assert_eq!(status, expected, "{text}");
    let counts = metrics.text();
    let refused: Vec<_> = counts.lines().filter(|line| line.starts_with(REFUSED) && !line.ends_with(" 0")).collect();
    let expected: Vec<_> = counted.iter().map(|reason| format!("{REFUSED}{{reason=\"{reason}\"}} 1")).collect();
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn without_a_rule_every_client_is_accepted() {
    let open = ClientRule::Open;
    check_status(&open, request(Method::POST, WEBHOOK_PATH, None, &[]), 200, None).await;
}

#[tokio::test]
async fn a_client_certificate_needs_one_of_the_allowed_names() {
    let cases: [(&[&str], bool, u16, Option<&str>); 7] = [
        (&["api-server"], true, 200, None),
        (&["other", "client.example"], true, 200, None),
        (&["spiffe://cluster/api-server"], true, 200, None),
        (&["api-server.example", "API-SERVER", "api"], true, 403, Some("name")),
        (&["*"], true, 403, Some("name")),
        (&["spiffe://cluster"], true, 403, Some("name")),
        (&["api-server"], false, 401, Some("no-certificate")),
    ];
    for (names, has_certificate, status, counted) in cases {
        let peer = has_certificate.then(|| certificate("api-server"));
        let request = request(Method::POST, WEBHOOK_PATH, peer, &[]);
        check_status(&certificate_rule(names), request, status, counted).await;
    }
    let elsewhere = request(Method::GET, "/elsewhere", None, &[]);
    check_status(&certificate_rule(&["x"]), elsewhere, 401, Some("no-certificate")).await;
}

/// The name of the certificate, headers, and the expected status and reason.
type ForwardedCase<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, Option<&'a str>);

#[tokio::test]
async fn a_forwarded_review_needs_the_front_proxy_and_an_allowed_user() {
    let user = |name| ("x-remote-user", name);
    let rule = header_rule(&["front-proxy"], &["X-Remote-User", "X-Other-User"]);
    let cases: [ForwardedCase<'_>; 8] = [
        ("front-proxy", &[user("system:apiserver")], 200, None),
        ("client.example", &[user("system:apiserver")], 403, Some("name")),
        ("front-proxy", &[], 403, Some("user")),
        ("front-proxy", &[user("")], 403, Some("user")),
        ("front-proxy", &[user("mallory")], 403, Some("user")),
        ("front-proxy", &[user("system:apiserver"), user("mallory")], 403, Some("user")),
        ("front-proxy", &[user("mallory"), ("x-other-user", "system:apiserver")], 403, Some("user")),
        ("front-proxy", &[("x-remote-group", "system:masters")], 403, Some("user")),
    ];
    for (name, headers, status, counted) in cases {
        let request = request(Method::POST, AGGREGATED_PATH, Some(certificate(name)), headers);
        check_status(&rule, request, status, counted).await;
    }
    let without = request(Method::POST, AGGREGATED_PATH, None, &[user("system:apiserver")]);
    check_status(&rule, without, 401, Some("no-certificate")).await;
    let any_name = header_rule(&[], &["X-Remote-User"]);
    let request_of_any = request(Method::POST, AGGREGATED_PATH, Some(certificate("x")), &[user("system:apiserver")]);
    check_status(&any_name, request_of_any, 200, None).await;
    let unknown =
        ClientRule::RequestHeader { proxy: Arc::default(), allowed_users: vec!["system:apiserver".to_owned()] };
    let early = request(Method::POST, AGGREGATED_PATH, Some(certificate("front-proxy")), &[user("system:apiserver")]);
    check_status(&unknown, early, 403, Some("name")).await;
}

#[tokio::test]
async fn a_forwarded_review_reaches_the_webhook_with_its_query() {
    let router = || protect(webhook(), header_rule(&[], &["X-Remote-User"]), Metrics::new());
    let users = [("x-remote-user", "system:apiserver")];
    let send = async |path: &str| {
        let mut request = request(Method::POST, path, Some(certificate("p")), &users);
        *request.body_mut() = Body::empty();
        answer(router(), request).await
    };
    let forwarded = send(&format!("{AGGREGATED_PATH}?timeout=10s")).await;
    assert_eq!(forwarded, (200, format!("{WEBHOOK_PATH}?timeout=10s")));
    assert_eq!(send(AGGREGATED_PATH).await, (200, WEBHOOK_PATH.to_owned()));
    assert_eq!(send(WEBHOOK_PATH).await.0, 404, "only the API server's path is served");
}

#[tokio::test]
async fn discovery_names_one_resource_for_every_user_of_the_front_proxy() {
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let beta = "application/json; g=apidiscovery.k8s.io; v=v2beta1; as=APIGroupDiscoveryList";
    let cases = [
        ("/apis", "application/json", "application/json", "APIGroupList", "v1"),
        (
            "/apis",
            aggregated,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            "APIGroupDiscoveryList",
            "apidiscovery.k8s.io/v2",
        ),
        (
            "/apis",
            beta,
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            "APIGroupDiscoveryList",
            "apidiscovery.k8s.io/v2beta1",
        ),
        ("/apis/admission.ampoule.dev", "*/*", "application/json", "APIGroup", "v1"),
        ("/apis/admission.ampoule.dev/v1", "*/*", "application/json", "APIResourceList", "v1"),
    ];
    for (path, accept, content_type, kind, version) in cases {
        let router = protect(webhook(), header_rule(&[], &["X-Remote-User"]), Metrics::new());
        let headers = [("accept", accept), ("x-remote-user", "system:kube-aggregator")];
        let response = router.oneshot(request(Method::GET, path, Some(certificate("p")), &headers)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["content-type"] == content_type), (200, true));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let document: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&document["kind"], &document["apiVersion"]), (&kind.into(), &version.into()), "{path}");
        let text = document.to_string();
        assert!(text.contains("admission.ampoule.dev"), "{text}");
        assert_eq!(text.contains("\"create\""), kind != "APIGroup" && kind != "APIGroupList", "{text}");
    }
    let rule = header_rule(&["front-proxy"], &["X-Remote-User"]);
    check_status(&rule, request(Method::GET, "/apis", None, &[]), 401, Some("no-certificate")).await;
    let method = request(Method::GET, AGGREGATED_PATH, Some(certificate("front-proxy")), &[]);
    check_status(&rule, method, 403, Some("user")).await;
    check_status(&rule, request(Method::GET, "/openapi/v2", Some(certificate("front-proxy")), &[]), 404, None).await;
}
