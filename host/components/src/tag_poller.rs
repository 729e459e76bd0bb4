//! Tags of registries that the configuration names, followed by asking for each every so often: [`Tags`].
//!
//! A reference with a digest always names the same component, and is not asked for. A registry that has had enough of it is left alone for
//! as long as it says.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use ampoule_config::{OciReference, RegistriesConfig};
use ampoule_net::watch::Looks;
use ampoule_oci::{OciError, Registry};

/// A registry that wants more than that is asked again all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Tags, and the manifests that they were seen to name.
#[derive(Default)]
pub(super) struct Tags {
    registries: RegistriesConfig,
    known: BTreeMap<String, Tag>,
    looks: Looks,
}

/// A tag, and what came of asking for it.
struct Tag {
    reference: OciReference,
    /// The manifest's; none where there never was an answer.
    digest: Option<String>,
    /// Whether there was none the last time.
    silent: bool,
    not_before: Instant,
}

// === impl Tags ===

impl Tags {
    /// Follows these and no others, before they are pulled: those that are new are asked for now.
    pub(super) async fn follow(&mut self, registries: &RegistriesConfig, references: Vec<OciReference>) {
        let mut before = std::mem::take(&mut self.known);
        if self.registries != *registries {
            before.clear();
            self.registries = registries.clone();
            self.looks = Looks::default();
        }
        let tags = references.into_iter().map(|reference| {
            let known = before.remove(&reference.to_string());
            async move {
                match known {
                    Some(tag) => tag,
                    None => {
                        let answer = resolve(registries, &reference).await;
                        let mut tag = Tag { reference, digest: None, silent: false, not_before: Instant::now() };
                        // Why there is no answer, whoever pulls it is about to be told.
                        tag.hear(answer);
                        tag
                    }
                }
            }
        });
        self.known = join_all(tags).await.into_iter().map(|tag| (tag.reference.to_string(), tag)).collect();
    }

    /// Waits until one names another manifest than it was seen to. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let Self { registries, known, looks } = self;
        if known.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            looks.due(registries.refresh).await;
            let due = known.iter().filter(|(_, tag)| tag.not_before <= Instant::now());
            let answers = due.map(async |(name, tag)| (name.clone(), resolve(registries, &tag.reference).await));
            // Nothing is remembered before all have answered, so whoever gives up waiting loses nothing.
            let answers = join_all(answers).await;
            looks.done(registries.refresh);
            let mut changed = false;
            for (name, answer) in answers {
                let Some(tag) = known.get_mut(&name) else { continue };
                if let (Err(error), false) = (&answer, tag.silent) {
                    warn!(reference = name, %error, "the registry does not say what a tag names, and what was pulled of it serves on");
                }
                changed |= tag.hear(answer);
            }
            if changed {
                return;
            }
        }
    }
}

// === impl Tag ===

impl Tag {
    /// Whether it names another manifest now. Without an answer, it names what it did.
    fn hear(&mut self, answer: Result<String, OciError>) -> bool {
        match answer {
            Ok(digest) => {
                if std::mem::take(&mut self.silent) {
                    info!(reference = %self.reference, "the registry says again what a tag names");
                }
                let changed = self.digest.as_ref() != Some(&digest);
                self.digest = Some(digest);
                changed
            }
            Err(error) => {
                self.silent = true;
                if let OciError::Busy { wait, .. } = error {
                    self.not_before = Instant::now() + wait.min(LONGEST_WAIT);
                }
                false
            }
        }
    }
}

/// The digest of the manifest that a tag names.
async fn resolve(registries: &RegistriesConfig, reference: &OciReference) -> Result<String, OciError> {
    Registry::open(registries, None)?.resolve(reference).await
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

    /// As short as a test may wait.
    const REFRESH: Duration = Duration::from_millis(20);

    /// What the registry of a test says, by methods and the number of questions before.
    type Answers = fn(&Method, usize) -> Response;

    async fn follow(answers: Answers) -> (Tags, Arc<Mutex<Vec<Method>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let app = Router::new().fallback(async move |method: Method| {
            let mut asked = kept.lock().unwrap();
            let answer = answers(&method, asked.len());
            asked.push(method);
            answer
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async { axum::serve(listener, app).await });
        let registries =
            RegistriesConfig { insecure: vec![host.clone()], refresh: REFRESH, ..RegistriesConfig::default() };
        let mut tags = Tags::default();
        tags.follow(&registries, vec![format!("{host}/p:1").parse().unwrap()]).await;
        (tags, asked)
    }

    fn digest(n: u8) -> (&'static str, String) {
        ("docker-content-digest", format!("sha256:{}", format!("{n:02x}").repeat(32)))
    }

    #[tokio::test]
    async fn a_registry_that_names_the_digest_is_asked_for_nothing_more() {
        let (mut tags, asked) = follow(|_, before| [digest(u8::from(before >= 3))].into_response()).await;
        timeout(100 * REFRESH, tags.changed()).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [Method::HEAD, Method::HEAD, Method::HEAD, Method::HEAD]);
        assert!(timeout(5 * REFRESH, tags.changed()).await.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn one_that_does_not_is_asked_for_the_manifest() {
        let answers: Answers = |method, before| match *method {
            Method::HEAD => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            _ => {
                let config = json!({ "mediaType": "", "digest": digest(0).1, "size": before });
                json!({ "schemaVersion": 2, "config": config }).to_string().into_response()
            }
        };
        let (mut tags, asked) = follow(answers).await;
        timeout(100 * REFRESH, tags.changed()).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [Method::HEAD, Method::GET, Method::HEAD, Method::GET]);
    }

    #[tokio::test]
    async fn one_that_has_had_enough_is_left_alone_for_as_long_as_it_says() {
        let answers: Answers = |_, before| match before {
            0 => [digest(0)].into_response(),
            1 => (StatusCode::TOO_MANY_REQUESTS, HeaderMap::from_iter([(hyper::header::RETRY_AFTER, 1.into())]))
                .into_response(),
            _ => [digest(1)].into_response(),
        };
        let (mut tags, asked) = follow(answers).await;
        assert!(timeout(20 * REFRESH, tags.changed()).await.is_err(), "it is not asked");
        assert_eq!(asked.lock().unwrap().len(), 2);
        timeout(Duration::from_secs(10), tags.changed()).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 3);
    }
}
