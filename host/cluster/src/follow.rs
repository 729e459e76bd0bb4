//! Follows the objects of one kind: [`ObjectFollower`] lists them, watches them, and recovers from
//! a broken watch.
//!
//! A watch ends regularly, breaks with its connection, fails, or expires (`410 Gone`) because the
//! API server no longer has the resourceVersion. Decision 0067 explains why this is not
//! `kube-runtime`.

#[cfg(test)]
mod tests;

use std::{convert::Infallible, fmt::Debug, ops::ControlFlow, pin::pin, time::Duration};

use futures_util::TryStreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::client::ClusterError;
use ampoule_net::backoff::Backoff;

/// Seconds after which the API server ends a watch.
const WATCH_SECONDS: u32 = 120;
/// The pause after the first failure, and the longest after failures in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The number of objects in one response to a list. A ConfigMap has at most 1 MiB, so that a page
/// and its parsed objects take about 20 MiB.
const PAGE: u32 = 8;
/// The HTTP status of an expired resourceVersion.
const GONE: u16 = 410;

/// The objects to follow.
#[derive(Clone, Debug)]
pub enum ObjectSelector {
    /// The objects with these labels, as a label selector.
    Labels(String),
    /// The object with this name. The role needs no `list` for [`ObjectFollower::changed`].
    Name(String),
}

/// What a follower reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectChange<K> {
    /// All objects, after a list that replaces everything reported before.
    Listed(Vec<K>),
    /// An object that is new or has changed.
    Applied(K),
    /// An object that was deleted, or that the selector no longer selects.
    Deleted(K),
}

/// Follows the objects that a selector selects.
pub struct ObjectFollower<K> {
    api: Api<K>,
    selector: ObjectSelector,
    /// Reduces the objects of a list after each page.
    trim: fn(&mut Vec<K>),
    backoff: Backoff,
}

/// Why a watch is over.
enum WatchEnd {
    /// The caller has seen enough.
    Stopped,
    /// The API server ended the watch after its time, or its connection broke; it can continue.
    Ended,
    /// The resourceVersion expired; list again.
    Expired,
    /// The API server did not start the watch.
    NotStarted(ClusterError),
    /// The API server reported an error, or sent something unreadable.
    Broken(ClusterError),
}

// === impl ObjectSelector ===

impl ObjectSelector {
    fn list_params(&self) -> ListParams {
        match self {
            Self::Labels(labels) => ListParams::default().labels(labels).limit(PAGE),
            Self::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
        }
    }

    fn watch_params(&self) -> WatchParams {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        match self {
            Self::Labels(labels) => params.labels(labels),
            Self::Name(name) => params.fields(&format!("metadata.name={name}")),
        }
    }
}

// === impl ObjectFollower ===

impl<K> ObjectFollower<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    /// Returns a follower. It sends no request. `api` needs a read timeout that is longer than a
    /// watch.
    #[must_use]
    pub fn new(api: Api<K>, selector: ObjectSelector) -> Self {
        Self { api, selector, trim: |_| {}, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// Sets the function that reduces the listed objects after each page of a list. With it, a list
    /// takes bounded memory.
    #[must_use]
    pub fn with_trim(self, trim: fn(&mut Vec<K>)) -> Self {
        Self { trim, ..self }
    }

    /// Returns all objects, and the resourceVersion from which [`ObjectFollower::run`] continues.
    ///
    /// # Errors
    ///
    /// If the objects cannot be listed.
    pub async fn list(&self) -> Result<(Vec<K>, String), ClusterError> {
        let mut params = self.selector.list_params();
        let mut objects = Vec::new();
        loop {
            let page = self.api.list(&params).await?;
            objects.extend(page.items);
            (self.trim)(&mut objects);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            // Every page has the version of the whole list.
            if params.continue_token.is_none() {
                return Ok((objects, page.metadata.resource_version.unwrap_or_default()));
            }
        }
    }

    /// Reports every change since `version`. Failures are logged and retried with back-off, so it
    /// never returns.
    pub async fn run(self, version: String, mut report: impl FnMut(ObjectChange<K>)) -> Infallible {
        let report = |change| {
            report(change);
            ControlFlow::Continue(())
        };
        self.run_or_list(version, report).await
    }

    /// Like [`ObjectFollower::run`], but lists all objects again, after a pause, when `report`
    /// breaks.
    pub async fn run_or_list(
        mut self,
        mut version: String,
        mut report: impl FnMut(ObjectChange<K>) -> ControlFlow<()>,
    ) -> Infallible {
        loop {
            match self.watch(&mut version, &mut report).await {
                WatchEnd::Ended => {
                    sleep(self.backoff.pause()).await;
                    continue;
                }
                // Not a failure, but an API server that expires every watch must not be kept busy.
                WatchEnd::Stopped | WatchEnd::Expired => sleep(self.backoff.pause()).await,
                WatchEnd::NotStarted(error) | WatchEnd::Broken(error) => {
                    self.rest(&error, "watch failed; the objects are listed instead").await;
                }
            }
            let (objects, listed_at) = self.list_until_success().await;
            version = listed_at;
            // A list is complete, so there is nothing to list again.
            let _ = report(ObjectChange::Listed(objects));
        }
    }

    /// Returns once the object may have another resourceVersion than `version`. Cancel safe.
    ///
    /// It also returns, after a pause, when the watch ends, expires or breaks: read the object
    /// again.
    ///
    /// # Errors
    ///
    /// If the API server does not start the watch.
    pub async fn changed(&mut self, version: &str) -> Result<(), ClusterError> {
        let end = self
            .watch(&mut version.to_owned(), |change| match change {
                ObjectChange::Applied(object) if object.resource_version().as_deref() == Some(version) => {
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(()),
            })
            .await;
        match end {
            WatchEnd::Stopped => {}
            WatchEnd::Ended | WatchEnd::Expired | WatchEnd::Broken(_) => {
                sleep(self.backoff.pause()).await;
            }
            WatchEnd::NotStarted(error) => return Err(error),
        }
        Ok(())
    }

    async fn list_until_success(&mut self) -> (Vec<K>, String) {
        loop {
            match self.list().await {
                Ok(listed) => return listed,
                Err(error) => {
                    self.rest(&error, "cannot list objects; the objects seen last stay in effect").await;
                }
            }
        }
    }

    async fn rest(&mut self, error: &ClusterError, message: &str) {
        let pause = self.backoff.pause();
        let seconds = pause.as_secs_f32();
        warn!(kind = %K::kind(&()), %error, retry_after_seconds = seconds, "{message}");
        sleep(pause).await;
    }

    /// Reports changes until the watch is over, and keeps `version` up to date. An event shows that
    /// the watch works, so the next failure counts as the first one.
    async fn watch(
        &mut self,
        version: &mut String,
        mut report: impl FnMut(ObjectChange<K>) -> ControlFlow<()>,
    ) -> WatchEnd {
        let events = match self.api.watch(&self.selector.watch_params(), version).await {
            Ok(events) => events,
            Err(kube::Error::Api(status)) if status.code == GONE => return WatchEnd::Expired,
            Err(error) => return WatchEnd::NotStarted(error.into()),
        };
        let (mut events, started) = (pin!(events), Instant::now());
        loop {
            let change = match events.try_next().await {
                Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    *version = object.resource_version().unwrap_or_default();
                    ObjectChange::Applied(object)
                }
                Ok(Some(WatchEvent::Deleted(object))) => {
                    *version = object.resource_version().unwrap_or_default();
                    ObjectChange::Deleted(object)
                }
                Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                    *version = bookmark.metadata.resource_version;
                    self.backoff.reset();
                    continue;
                }
                Ok(Some(WatchEvent::Error(status))) if status.code == GONE => return WatchEnd::Expired,
                Ok(Some(WatchEvent::Error(status))) => {
                    return WatchEnd::Broken(kube::Error::Api(status).into());
                }
                Ok(None) => {
                    // The API server ends a watch after its time, but a lost connection may look
                    // the same.
                    if started.elapsed() >= LONGEST_PAUSE {
                        self.backoff.reset();
                    }
                    return WatchEnd::Ended;
                }
                Err(error) => return WatchEnd::Broken(error.into()),
            };
            self.backoff.reset();
            if report(change).is_break() {
                return WatchEnd::Stopped;
            }
        }
    }
}
