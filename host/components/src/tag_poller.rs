//! Tags of registries, resolved at an interval: [`TagPoller`].
//!
//! A reference with a digest always names the same component, so it is not polled. A registry that
//! limits requests gets none for the time it asks for.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use tokio::{task::spawn_blocking, time::Instant};
use tracing::{info, warn};

use crate::{injector_fetcher::TagResult, registry_access::RegistryAccess};
use ampoule_config::{OciReference, RegistriesConfig};
use ampoule_net::watch::PollTimer;
use ampoule_oci::{OciError, Registry};

/// Limit for the time that a registry can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Tags, and the manifests that they named at the last poll.
#[derive(Default)]
pub(crate) struct TagPoller {
    registries: RegistriesConfig,
    known: BTreeMap<String, PolledTag>,
    timer: PollTimer,
}

/// A tag and the result of the last poll.
struct PolledTag {
    reference: OciReference,
    access: RegistryAccess,
    /// The digest of the manifest; `None` if the registry never reported one.
    digest: Option<String>,
    /// Whether the last poll failed.
    has_failed: bool,
    /// The time before which the registry gets no request.
    not_before: Instant,
}

// === impl TagPoller ===

impl TagPoller {
    /// Follows exactly these references. It sends no request: the pull of a new one reports its
    /// manifest by [`TagPoller::record`].
    pub(crate) fn follow(&mut self, registries: &RegistriesConfig, references: Vec<(OciReference, RegistryAccess)>) {
        let mut before = std::mem::take(&mut self.known);
        if self.registries != *registries {
            before.clear();
            self.registries = registries.clone();
            self.timer = PollTimer::default();
        }
        for (reference, access) in references {
            let name = reference.to_string();
            let tag = before.remove(&name).unwrap_or_else(|| PolledTag::new(reference));
            // Injectors of the configuration may name the same reference without a check.
            self.known.entry(name).or_insert(PolledTag { access, ..tag });
        }
    }

    /// Keeps the result of a pull.
    pub(crate) fn record(&mut self, reference: &OciReference, result: TagResult) {
        if let Some(tag) = self.known.get_mut(&reference.to_string()) {
            tag.record(result);
        }
    }

    /// Returns the digest of the manifest that the tag named last, if it is known.
    pub(crate) fn digest(&self, reference: &OciReference) -> Option<&str> {
        self.known.get(&reference.to_string())?.digest.as_deref()
    }

    /// Waits until a tag names another manifest than at the last poll. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.known.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            self.timer.due(self.registries.refresh).await;
            // Results are stored only after all requests, so a cancelled wait loses none.
            let results = self.poll().await;
            self.timer.done(self.registries.refresh);
            let mut has_changed = false;
            for (name, result) in results {
                if let Some(tag) = self.known.get_mut(&name) {
                    tag.warn_at_first_failure(&result);
                    has_changed |= tag.update(result);
                }
            }
            if has_changed {
                return;
            }
        }
    }

    async fn poll(&self) -> Vec<(String, Result<String, OciError>)> {
        let now = Instant::now();
        let due = self.known.iter().filter(|(_, tag)| tag.not_before <= now);
        let requests =
            due.map(async |(name, tag)| (name.clone(), resolve(&self.registries, &tag.reference, tag.access).await));
        join_all(requests).await
    }
}

// === impl PolledTag ===

impl PolledTag {
    fn new(reference: OciReference) -> Self {
        let access = RegistryAccess::FromConfigMap;
        Self { reference, access, digest: None, has_failed: false, not_before: Instant::now() }
    }

    /// Stores the result of a pull. The pull reports its failure, so that the poller does not.
    fn record(&mut self, result: TagResult) {
        match result {
            TagResult::Pulled(digest) => {
                self.has_failed = false;
                self.digest = Some(digest);
            }
            TagResult::Failed => self.has_failed = true,
            TagResult::Busy(wait) => {
                self.has_failed = true;
                self.not_before = Instant::now() + wait.min(LONGEST_WAIT);
            }
        }
    }

    fn warn_at_first_failure(&self, result: &Result<String, OciError>) {
        if let (Err(error), false) = (result, self.has_failed) {
            let reference = self.reference.to_string();
            warn!(reference, %error, "cannot resolve a tag; the pulled component stays in effect");
        }
    }

    /// Stores a result, and returns whether the tag names another manifest now. A failure changes
    /// nothing.
    fn update(&mut self, result: Result<String, OciError>) -> bool {
        match result {
            Ok(digest) => {
                if std::mem::take(&mut self.has_failed) {
                    info!(reference = %self.reference, "the registry resolves a tag again");
                }
                let has_changed = self.digest.as_ref() != Some(&digest);
                self.digest = Some(digest);
                has_changed
            }
            Err(error) => {
                self.has_failed = true;
                if let OciError::Busy { wait, .. } = error {
                    self.not_before = Instant::now() + wait.min(LONGEST_WAIT);
                }
                false
            }
        }
    }
}

/// Returns the digest of the manifest that a tag names.
async fn resolve(
    registries: &RegistriesConfig,
    reference: &OciReference,
    access: RegistryAccess,
) -> Result<String, OciError> {
    let registries = registries.clone();
    let opened = spawn_blocking(move || Registry::open(&registries, None)).await;
    let registry = opened.expect("reading credentials does not panic")?.checking(access.check());
    registry.resolve(reference).await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Router,
        http::{HeaderMap, Method, StatusCode},
        response::{IntoResponse as _, Response},
    };
    use serde_json::json;
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    /// Short interval for tests.
    const REFRESH: Duration = Duration::from_millis(20);

    /// Responds to a request, given the number of requests before it.
    type TagResponse = fn(&Method, usize) -> Response;

    async fn follow(respond: TagResponse) -> (TagPoller, Arc<Mutex<Vec<Method>>>) {
        let requested = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requested);
        let app = Router::new().fallback(async move |method: Method| {
            let mut requested = kept.lock().unwrap();
            let response = respond(&method, requested.len());
            requested.push(method);
            response
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async { axum::serve(listener, app).await });
        let registries =
            RegistriesConfig { insecure: vec![host.clone()], refresh: REFRESH, ..RegistriesConfig::default() };
        let mut tags = TagPoller::default();
        let reference: OciReference = format!("{host}/p:1").parse().unwrap();
        tags.follow(&registries, vec![(reference.clone(), RegistryAccess::FromConfigMap)]);
        let pulled = resolve(&registries, &reference, RegistryAccess::FromConfigMap).await.unwrap();
        tags.record(&reference, TagResult::Pulled(pulled));
        (tags, requested)
    }

    fn digest(n: u8) -> (&'static str, String) {
        ("docker-content-digest", format!("sha256:{}", format!("{n:02x}").repeat(32)))
    }

    #[tokio::test]
    async fn a_registry_that_reports_digests_gets_only_head_requests() {
        let (mut tags, requested) = follow(|_, before| [digest(u8::from(before >= 3))].into_response()).await;
        timeout(100 * REFRESH, tags.changed()).await.unwrap();
        assert_eq!(*requested.lock().unwrap(), [Method::HEAD, Method::HEAD, Method::HEAD, Method::HEAD]);
        assert!(timeout(5 * REFRESH, tags.changed()).await.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn a_registry_without_head_gets_requests_for_the_manifest() {
        let respond: TagResponse = |method, before| match *method {
            Method::HEAD => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            _ => {
                let config = json!({ "mediaType": "", "digest": digest(0).1, "size": before });
                json!({ "schemaVersion": 2, "config": config }).to_string().into_response()
            }
        };
        let (mut tags, requested) = follow(respond).await;
        timeout(100 * REFRESH, tags.changed()).await.unwrap();
        assert_eq!(*requested.lock().unwrap(), [Method::HEAD, Method::GET, Method::HEAD, Method::GET]);
    }

    #[tokio::test]
    async fn a_busy_registry_gets_no_request_for_the_time_it_asks_for() {
        let respond: TagResponse = |_, before| match before {
            0 => [digest(0)].into_response(),
            1 => (StatusCode::TOO_MANY_REQUESTS, HeaderMap::from_iter([(hyper::header::RETRY_AFTER, 1.into())]))
                .into_response(),
            _ => [digest(1)].into_response(),
        };
        let (mut tags, requested) = follow(respond).await;
        let begun = std::time::Instant::now();
        timeout(Duration::from_secs(10), tags.changed()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1), "the registry asked to wait one second");
        assert_eq!(requested.lock().unwrap().len(), 3);
    }
}
