//! The routes of the port, and what each request must pass: a token, the limits, and the
//! permission of the API server.
//!
//! Only the description of the API and the files of the console need no token. Their paths are
//! compared as a whole.

use std::{sync::Arc, time::Duration};

use ampoule_core::Requester;
use ampoule_telemetry::decisions::{DecisionFilter, DecisionLog};
use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    api_server::{ApiServer, CallerApi},
    body,
    caller::{CallerToken, drop_identity},
    dry_run::{ApiServerView, DryRunView, MAX_POD, PodFormat},
    openapi,
    permission::Permission,
    query::Query,
    refusal::ApiRefusal,
    source::ConsoleSource,
    static_files::FILES,
    views::{CallerView, DecisionsView, DifferencesView},
};

/// Requests at once.
const MAX_REQUESTS: usize = 32;
/// Dry runs at once. They share the instances of the plugins with admissions.
const MAX_DRY_RUNS: usize = 2;
/// Time for a request, including those to the API server.
const REQUEST: Duration = Duration::from_secs(25);
/// Decisions or differences in an answer, and the maximum number.
const USUAL_ENTRIES: u64 = 100;
const MAX_ENTRIES: u64 = 500;

/// Scripts, styles and requests of the same origin only; no frame, no form, no plug-in.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the routes need. Cheap to clone.
#[derive(Clone)]
pub struct ConsoleState(Arc<StateParts>);

struct StateParts {
    source: Arc<dyn ConsoleSource>,
    api_server: Arc<dyn ApiServer>,
    decisions: DecisionLog,
    requests: Semaphore,
    dry_runs: Semaphore,
}

/// The entries of the log that a caller wants and may read.
struct WantedEntries {
    namespace: Option<String>,
    after: u64,
    limit: usize,
}

/// The token of a request, which the API server has not checked yet.
type TokenExtension = Extension<CallerToken>;
/// The state of a handler.
type StateExtractor = State<ConsoleState>;

// === impl ConsoleState ===

impl ConsoleState {
    /// Creates the state of a port.
    #[must_use]
    pub fn new(source: Arc<dyn ConsoleSource>, api_server: Arc<dyn ApiServer>, decisions: DecisionLog) -> Self {
        Self(Arc::new(StateParts {
            source,
            api_server,
            decisions,
            requests: Semaphore::new(MAX_REQUESTS),
            dry_runs: Semaphore::new(MAX_DRY_RUNS),
        }))
    }

    /// Asks the API server whether the caller may do something, and returns it with the rights of
    /// the caller.
    async fn authorize(&self, token: CallerToken, permission: &Permission) -> Result<Box<dyn CallerApi>, ApiRefusal> {
        let api = self.0.api_server.act_as(token)?;
        if api.may(&permission.action()).await? { Ok(api) } else { Err(ApiRefusal::Denied(permission.denied())) }
    }

    /// Asks the API server whether the caller may read about the pods of the query's namespace.
    async fn authorize_entries(&self, token: CallerToken, query: Option<&str>) -> Result<WantedEntries, ApiRefusal> {
        let query = Query::parse(query, &["namespace", "after", "limit"])?;
        let (namespace, after) = (query.namespace()?, query.number("after", 0)?);
        let limit = query.number("limit", USUAL_ENTRIES)?.min(MAX_ENTRIES);
        self.authorize(token, &Permission::Decisions(namespace.clone())).await?;
        Ok(WantedEntries { namespace, after, limit: usize::try_from(limit).unwrap_or(usize::MAX) })
    }
}

// === impl WantedEntries ===

impl WantedEntries {
    fn filter(&self) -> DecisionFilter<'_> {
        DecisionFilter { namespace: self.namespace.as_deref(), after: self.after, limit: self.limit }
    }
}

/// The routes of the port.
pub fn router(state: ConsoleState) -> Router {
    let files = FILES.iter().fold(Router::new(), |router, file| router.route(file.path, get(async move || file)));
    files
        .route(openapi::PATH, get(describe))
        .route("/api/v1/me", get(me))
        .route("/api/v1/overview", process_route(|source| source.overview()))
        .route("/api/v1/plugins", process_route(|source| source.plugins()))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/differences", get(differences))
        .route("/api/v1/configuration", process_route(|source| source.configuration()))
        .route("/api/v1/policy", process_route(|source| source.policy()))
        .route("/api/v1/dry-run", post(dry_run))
        .fallback(async || ApiRefusal::NotFound)
        .method_not_allowed_fallback(async || ApiRefusal::Method)
        .layer(from_fn_with_state(state.clone(), limit))
        .layer(from_fn(authenticate))
        .layer(CatchPanicLayer::custom(|_| ApiRefusal::Internal.into_response()))
        .layer(from_fn(protect))
        .with_state(state)
}

/// Adds the headers that keep an answer out of caches, frames and other interpretations.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// Takes the token from the request, unless its path is public. No handler sees another identity.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let token = CallerToken::from_headers(request.headers());
    drop_identity(request.headers_mut());
    if is_public(request.uri().path()) {
        return next.run(request).await;
    }
    let Some(token) = token else { return ApiRefusal::NoCredentials.into_response() };
    request.extensions_mut().insert(token);
    next.run(request).await
}

/// Whether a path shows nothing of the process, so that it needs no token.
fn is_public(path: &str) -> bool {
    path == openapi::PATH || FILES.iter().any(|file| file.path == path)
}

/// Limits the number of requests at once, and the time of each.
async fn limit(State(state): StateExtractor, request: Request, next: Next) -> Response {
    let Ok(_permit) = state.0.requests.try_acquire() else { return ApiRefusal::Busy.into_response() };
    match timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiRefusal::Slow(REQUEST).into_response(),
    }
}

/// A route that shows a part of the process, and has no parameters.
fn process_route<T: Serialize + 'static>(read: fn(&dyn ConsoleSource) -> T) -> MethodRouter<ConsoleState> {
    let answer = async move |State(state): StateExtractor,
                             Extension(token): TokenExtension,
                             RawQuery(query): RawQuery|
                -> Result<Json<T>, ApiRefusal> {
        Query::parse(query.as_deref(), &[])?;
        state.authorize(token, &Permission::Process).await?;
        Ok(Json(read(&*state.0.source)))
    };
    get(answer)
}

async fn describe() -> Json<Value> {
    Json(openapi::document())
}

async fn me(
    State(state): StateExtractor,
    Extension(token): TokenExtension,
    RawQuery(query): RawQuery,
) -> Result<Json<CallerView>, ApiRefusal> {
    Query::parse(query.as_deref(), &[])?;
    let api = state.0.api_server.act_as(token)?;
    let reads_process = api.may(&Permission::Process.action()).await?;
    let reads_all_decisions = api.may(&Permission::Decisions(None).action()).await?;
    let (username, groups) = api.user().await?.map(|user| (user.username, user.groups)).unzip();
    Ok(Json(CallerView { username, groups: groups.unwrap_or_default(), reads_process, reads_all_decisions }))
}

async fn decisions(
    State(state): StateExtractor,
    Extension(token): TokenExtension,
    RawQuery(query): RawQuery,
) -> Result<Json<DecisionsView>, ApiRefusal> {
    let wanted = state.authorize_entries(token, query.as_deref()).await?;
    let decisions = state.0.decisions.select(&wanted.filter());
    let last = decisions.last().map_or(wanted.after, |newest| newest.number);
    Ok(Json(DecisionsView { decisions, last }))
}

async fn differences(
    State(state): StateExtractor,
    Extension(token): TokenExtension,
    RawQuery(query): RawQuery,
) -> Result<Json<DifferencesView>, ApiRefusal> {
    let wanted = state.authorize_entries(token, query.as_deref()).await?;
    let differences = state.0.decisions.differences(&wanted.filter());
    let last = differences.last().map_or(wanted.after, |newest| newest.number);
    Ok(Json(DifferencesView { differences, last }))
}

async fn dry_run(
    State(state): StateExtractor,
    Extension(token): TokenExtension,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DryRunView>, ApiRefusal> {
    let format = PodFormat::from_headers(&headers)?;
    let query = Query::parse(query.as_deref(), &["namespace", "apiServer"])?;
    let namespace = query.namespace()?;
    let namespace = namespace.ok_or_else(|| ApiRefusal::invalid("parameter namespace: is missing".to_owned()))?;
    let asks_api_server = query.flag("apiServer")?;
    let _permit = state.0.dry_runs.try_acquire().map_err(|_| ApiRefusal::Busy)?;
    let api = state.authorize(token, &Permission::DryRun(namespace.clone())).await?;
    let body = body::read(body, MAX_POD).await?;
    let memory = state.0.source.memory();
    if !memory.grow(format.memory(&body)?.saturating_add(body.len())) {
        return Err(ApiRefusal::Busy);
    }
    let pod = format.parse(&body, &namespace)?;
    drop(body);
    // Rules that read the user fail if the API server does not name it.
    let requester = api.user().await?.map_or(Requester::Unreadable, Requester::User);
    let result = state.0.source.try_pod(pod.clone(), &namespace, requester, memory).await;
    let mut view = DryRunView::new(result);
    if asks_api_server {
        let answer = api.dry_run_pod(&namespace, pod.as_json()).await;
        view.api_server = Some(ApiServerView::new(&pod, answer)?);
    }
    Ok(Json(view))
}
