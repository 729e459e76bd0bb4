//! [`ValueCache`]: the fetched values of one plugin, if an admin lets the host keep them.
//!
//! The text of a promise identifies a value: `fetch` gets nothing else, so the value does not
//! depend on the pod. Concurrent fetches of one promise are one. Values are in memory only, and
//! wiped when they are removed. A change of the component, the settings or the grants starts with
//! an empty cache, and so does [`ValueCache::forget`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ampoule_core::{InjectionError, SecretValue, ValueOrigin};
use moka::{Expiry, future::Cache};

use super::failure::Failure;

/// Bytes of the promises and values in each of the two caches of a plugin.
const MAX_BYTES: u64 = 8 << 20;

/// Bytes of memory that an entry takes beside its promise and its value.
const ENTRY: usize = 512;

/// Time for which an outdated value is served before the store is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// How long the host keeps the values that a plugin fetches. The default keeps none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueCachePolicy {
    /// Time for which a value is served without a fetch.
    pub ttl: Duration,
    /// Further time for which a value is served while the store is unavailable.
    pub max_stale: Duration,
}

/// Where the values of a plugin's promises are fetched. Image pull secrets are always fetched here:
/// the kubelet needs them before the pod runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FetchPlace {
    /// Here, for each admission.
    #[default]
    Here,
    /// Not here: the edits contain the promises.
    Elsewhere,
}

/// The values of one plugin.
pub(crate) struct ValueCache {
    policy: ValueCachePolicy,
    fresh: Cache<String, FreshValue>,
    /// The last value of each promise, for the time in which it may be served.
    last: Cache<String, Arc<SecretValue>>,
    /// The number of times that all values were forgotten.
    forgotten: AtomicU64,
}

/// A value, and the time for which it is fresh.
#[derive(Clone)]
struct FreshValue {
    value: Arc<SecretValue>,
    time: Duration,
    origin: ValueOrigin,
}

/// A value of the store.
pub struct FetchedValue {
    /// The value.
    pub value: SecretValue,
    /// The time for which the plugin lets the host keep it.
    pub expires_in: Option<Duration>,
}

/// Why a value could not be fetched.
#[derive(Clone, Debug)]
pub(crate) enum FetchProblem {
    /// The plugin gave a reason.
    Declined(InjectionError),
    /// The plugin failed.
    Failed(Failure),
    /// The store refused the login of the webhook, or the login is not set up. The plugin gave this
    /// reason.
    LoginRefused(InjectionError),
}

// === impl ValueCache ===

impl ValueCache {
    /// `None` if the policy keeps nothing.
    pub(crate) fn new(policy: ValueCachePolicy) -> Option<Self> {
        if policy.ttl.is_zero() {
            return None;
        }
        let fresh = Cache::builder()
            .weigher(|promise: &String, fresh: &FreshValue| weight(promise, &fresh.value))
            .max_capacity(MAX_BYTES)
            .expire_after(ByTime)
            .build();
        let last = Cache::builder()
            .weigher(|promise: &String, value: &Arc<SecretValue>| weight(promise, value))
            .max_capacity(MAX_BYTES)
            .time_to_live(policy.ttl.saturating_add(policy.max_stale))
            .build();
        Some(Self { policy, fresh, last, forgotten: AtomicU64::new(0) })
    }

    /// Forgets all values. A fetch that has begun may have read an outdated value: it serves its
    /// waiters, and is not kept.
    pub(crate) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.fresh.invalidate_all();
        self.last.invalidate_all();
    }

    /// Returns the value of a promise, if it is fresh.
    pub(crate) async fn peek(&self, promise: &str) -> Option<(SecretValue, ValueOrigin)> {
        let found = self.fresh.get(promise).await?;
        Some(((*found.value).clone(), found.origin.again()))
    }

    /// Returns the value of a promise and where it is from. Calls `fetch` unless a value is fresh,
    /// or another admission fetches it already.
    pub(crate) async fn get(
        &self,
        promise: &str,
        fetch: impl Future<Output = Result<FetchedValue, FetchProblem>>,
    ) -> Result<(SecretValue, ValueOrigin), FetchProblem> {
        let entry = self.fresh.entry_by_ref(promise).or_try_insert_with(self.fill(promise, fetch)).await;
        let entry = entry.map_err(|problem| (*problem).clone())?;
        let is_new = entry.is_fresh();
        let found = entry.into_value();
        let origin = if is_new { found.origin } else { found.origin.again() };
        Ok(((*found.value).clone(), origin))
    }

    async fn fill(
        &self,
        promise: &str,
        fetch: impl Future<Output = Result<FetchedValue, FetchProblem>>,
    ) -> Result<FreshValue, FetchProblem> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        match fetch.await {
            Ok(fetched) => {
                let value = Arc::new(fetched.value);
                if forgotten != self.forgotten.load(Ordering::SeqCst) {
                    return Ok(FreshValue { value, time: Duration::ZERO, origin: ValueOrigin::Fetched });
                }
                let time = fetched.expires_in.map_or(self.policy.ttl, |time| time.min(self.policy.ttl));
                if time == self.policy.ttl {
                    self.last.insert(promise.to_owned(), Arc::clone(&value)).await;
                } else {
                    // The plugin does not let the host keep it longer.
                    self.last.invalidate(promise).await;
                }
                Ok(FreshValue { value, time, origin: ValueOrigin::Fetched })
            }
            Err(problem) if problem.is_outage() => match self.last.get(promise).await {
                Some(value) => Ok(FreshValue { value, time: RETRY, origin: ValueOrigin::Stale }),
                None => Err(problem),
            },
            Err(problem) => {
                if problem.is_answer() {
                    self.last.invalidate(promise).await;
                }
                Err(problem)
            }
        }
    }
}

fn weight(promise: &str, value: &SecretValue) -> u32 {
    u32::try_from(promise.len() + value.len() + ENTRY).unwrap_or(u32::MAX)
}

/// Lets an entry expire after its own time.
struct ByTime;

impl Expiry<String, FreshValue> for ByTime {
    fn expire_after_create(&self, _promise: &String, fresh: &FreshValue, _now: Instant) -> Option<Duration> {
        Some(fresh.time)
    }
}

// === impl FetchProblem ===

impl From<Failure> for FetchProblem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl FetchProblem {
    /// The problem of a call during which a login was refused. It is no outage, even if the plugin
    /// waited for the store until its deadline.
    pub(crate) fn of_refused_login(self) -> Self {
        match self {
            Self::Declined(reason @ (InjectionError::Unavailable(_) | InjectionError::Internal(_))) => {
                Self::LoginRefused(reason)
            }
            Self::Failed(Failure::Deadline) => {
                let reason = "the host cannot log in to the store".to_owned();
                Self::LoginRefused(InjectionError::Unavailable(reason.into()))
            }
            other => other,
        }
    }

    /// Whether the store answered: the value does not exist, or is denied. A refused login denies
    /// every value.
    fn is_answer(&self) -> bool {
        use InjectionError::{Denied, InvalidRequest, NotFound, Unsupported};
        if matches!(self, Self::LoginRefused(_)) {
            return true;
        }
        matches!(self, Self::Declined(NotFound(_) | Denied(_) | InvalidRequest(_) | Unsupported(_)))
    }

    /// Whether the store is unavailable. A plugin that waits for its store ends at its deadline.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Declined(InjectionError::Unavailable(_)) | Self::Failed(Failure::Deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    fn policy(ttl: u64, max_stale: u64) -> ValueCachePolicy {
        ValueCachePolicy { ttl: Duration::from_millis(ttl), max_stale: Duration::from_millis(max_stale) }
    }

    fn value(text: &str) -> Result<FetchedValue, FetchProblem> {
        Ok(FetchedValue { value: SecretValue::new(text.as_bytes().to_vec()), expires_in: None })
    }

    fn declined(error: InjectionError) -> Result<FetchedValue, FetchProblem> {
        Err(FetchProblem::Declined(error))
    }

    fn unavailable() -> Result<FetchedValue, FetchProblem> {
        declined(InjectionError::Unavailable("down".to_owned().into()))
    }

    async fn get(cache: &ValueCache, answer: Result<FetchedValue, FetchProblem>) -> String {
        match cache.get("promise", async { answer }).await {
            Ok((value, origin)) => {
                format!("{} {}", String::from_utf8(value.to_vec()).unwrap(), origin.as_str())
            }
            Err(FetchProblem::Declined(error) | FetchProblem::LoginRefused(error)) => error.to_string(),
            Err(FetchProblem::Failed(failure)) => format!("{failure:?}"),
        }
    }

    #[test]
    fn nothing_is_kept_without_a_time() {
        assert!(ValueCache::new(ValueCachePolicy::default()).is_none());
    }

    #[tokio::test]
    async fn a_value_is_fetched_once_while_it_is_fresh() {
        let cache = ValueCache::new(policy(60_000, 0)).unwrap();
        assert_eq!(get(&cache, value("one")).await, "one fetched");
        assert_eq!(get(&cache, value("two")).await, "one cached");
    }

    #[tokio::test]
    async fn a_thousand_waiters_share_one_fetch() {
        let (cache, fetches) = (Arc::new(ValueCache::new(policy(60_000, 0)).unwrap()), Arc::new(AtomicUsize::new(0)));
        let waiters = (0..1000).map(|_| {
            let (cache, fetches) = (Arc::clone(&cache), Arc::clone(&fetches));
            tokio::spawn(async move {
                let fetch = async {
                    fetches.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(20)).await;
                    value("one")
                };
                cache.get("promise", fetch).await.is_ok()
            })
        });
        for waiter in waiters.collect::<Vec<_>>() {
            assert!(waiter.await.unwrap());
        }
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_outdated_value_is_served_only_while_the_store_is_unavailable() {
        let cache = ValueCache::new(policy(1, 60_000)).unwrap();
        assert_eq!(get(&cache, unavailable()).await, "unavailable: down");
        assert_eq!(get(&cache, value("one")).await, "one fetched");
        sleep(Duration::from_millis(5)).await;
        assert_eq!(get(&cache, unavailable()).await, "one stale");
        assert_eq!(get(&cache, value("two")).await, "one stale");
        cache.fresh.invalidate_all();
        assert_eq!(get(&cache, Err(FetchProblem::Failed(Failure::Deadline))).await, "one stale");
        cache.fresh.invalidate_all();
        let gone = || declined(InjectionError::NotFound("gone".to_owned()));
        assert_eq!(get(&cache, gone()).await, "not found: gone");
        assert_eq!(get(&cache, unavailable()).await, "unavailable: down");
    }

    #[tokio::test]
    async fn a_refused_login_is_no_outage() {
        let down = || FetchProblem::Declined(InjectionError::Unavailable("down".to_owned().into()));
        for (problem, expected) in [
            (down(), "unavailable: down"),
            (FetchProblem::Declined(InjectionError::Internal("refused".to_owned())), "internal: refused"),
            (FetchProblem::Failed(Failure::Deadline), "unavailable: the host cannot log in to the store"),
        ] {
            let cache = ValueCache::new(policy(1, 60_000)).unwrap();
            assert_eq!(get(&cache, value("one")).await, "one fetched");
            sleep(Duration::from_millis(5)).await;
            assert_eq!(get(&cache, Err(problem.of_refused_login())).await, expected);
            assert_eq!(get(&cache, unavailable()).await, "unavailable: down", "the last value is forgotten");
        }
        let missing = FetchProblem::Declined(InjectionError::NotFound("gone".to_owned())).of_refused_login();
        assert!(matches!(missing, FetchProblem::Declined(_)), "the plugin found another answer");
    }

    #[tokio::test]
    async fn forgotten_values_are_fetched_again_and_not_served_in_an_outage() {
        let cache = ValueCache::new(policy(60_000, 60_000)).unwrap();
        assert_eq!(get(&cache, value("one")).await, "one fetched");
        cache.forget();
        assert_eq!(get(&cache, unavailable()).await, "unavailable: down");
        assert_eq!(get(&cache, value("two")).await, "two fetched");
        assert_eq!(get(&cache, value("three")).await, "two cached");
    }

    #[tokio::test]
    async fn a_value_that_was_being_fetched_while_values_were_forgotten_is_not_kept() {
        let cache = ValueCache::new(policy(60_000, 60_000)).unwrap();
        let outdated = async {
            cache.forget();
            value("one")
        };
        assert!(cache.get("promise", outdated).await.is_ok());
        assert_eq!(get(&cache, value("two")).await, "two fetched");
        cache.forget();
        assert_eq!(get(&cache, unavailable()).await, "unavailable: down");
    }

    #[tokio::test]
    async fn the_plugin_can_shorten_the_time_of_a_value() {
        let cache = ValueCache::new(policy(60_000, 0)).unwrap();
        let short = Ok(FetchedValue { expires_in: Some(Duration::from_millis(1)), ..value("one").unwrap() });
        assert_eq!(get(&cache, short).await, "one fetched");
        sleep(Duration::from_millis(5)).await;
        assert_eq!(get(&cache, value("two")).await, "two fetched");
    }
}
