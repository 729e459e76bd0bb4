//! The routes of an aggregated API: the path to which the API server forwards reviews, and
//! discovery.
//!
//! Without discovery, `kubectl api-resources` reports an error, and the deletion of namespaces
//! waits for the group. The group has one resource, which can only be created: a review. It is not
//! namespaced, so the deletion of a namespace does not concern it.

use ampoule_config::{AGGREGATED_PATH, API_GROUP, API_RESOURCE, API_VERSION, WEBHOOK_PATH};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The versions of aggregated discovery, best first. Their documents differ only in this name.
const DISCOVERY_VERSIONS: [&str; 2] = ["v2", "v2beta1"];

/// Returns the routes. `webhook` answers the forwarded reviews.
pub(super) fn router(webhook: Router) -> Router {
    let group = format!("/apis/{API_GROUP}");
    Router::new()
        .route(AGGREGATED_PATH, post(forward))
        .route("/apis", get(async |headers: HeaderMap| groups(&headers)))
        .route(&group, get(async || document(&api_group())))
        .route(&format!("{group}/{API_VERSION}"), get(async || document(&resources())))
        // An empty list: without it, the API server would ask for a document of version 2.
        .route("/openapi/v3", get(async || document(&json!({ "paths": {} }))))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .with_state(webhook)
}

/// Whether a request reads discovery documents.
pub(super) fn is_discovery(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path() != AGGREGATED_PATH
}

/// Passes a review to the webhook under its own path.
async fn forward(State(webhook): State<Router>, mut request: Request) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path: PathAndQuery =
        format!("{WEBHOOK_PATH}{query}").parse().expect("a constant path and the query of a URI are a URI");
    *request.uri_mut() = Uri::from(path);
    let Ok(response) = webhook.oneshot(request).await;
    response
}

/// `/apis`: aggregated discovery if the client accepts it, otherwise the list of groups.
fn groups(headers: &HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(version) = DISCOVERY_VERSIONS.into_iter().find(|version| accepts_aggregated(accepted, version)) else {
        return document(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group()] }));
    };
    let mut response = document(&aggregated_discovery(version));
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let content_type = HeaderValue::from_str(&content_type).expect("a media type is a header value");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn accepts_aggregated(accepted: &str, version: &str) -> bool {
    accepted.split(',').any(|media_type| {
        let has = |parameter: &str| media_type.split(';').any(|part| part.trim() == parameter);
        has("application/json")
            && has("g=apidiscovery.k8s.io")
            && has(&format!("v={version}"))
            && has("as=APIGroupDiscoveryList")
    })
}

fn aggregated_discovery(version: &str) -> Value {
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": [{
            "metadata": { "name": API_GROUP },
            "versions": [{
                "version": API_VERSION,
                "freshness": "Current",
                "resources": [{
                    "resource": API_RESOURCE,
                    "singularResource": "mutation",
                    "scope": "Cluster",
                    "responseKind": { "group": "admission.k8s.io", "version": "v1", "kind": "AdmissionReview" },
                    "verbs": ["create"],
                }],
            }],
        }],
    })
}

fn api_group() -> Value {
    let version = json!({ "groupVersion": format!("{API_GROUP}/{API_VERSION}"), "version": API_VERSION });
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": API_GROUP,
        "versions": [version.clone()],
        "preferredVersion": version,
    })
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{API_GROUP}/{API_VERSION}"),
        "resources": [{
            "name": API_RESOURCE,
            "singularName": "mutation",
            "namespaced": false,
            "group": "admission.k8s.io",
            "version": "v1",
            "kind": "AdmissionReview",
            "verbs": ["create"],
        }],
    })
}

fn document(document: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
