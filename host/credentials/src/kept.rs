//! [`Kept`]: keeps a credential until shortly before its expiry, and lets many requests wait for
//! one login.
//!
//! A login is a task of its own: it continues when the request that started it has given up. A
//! failed login is remembered for a time that grows, so that a server that is down is not flooded.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ampoule_core::{Destination, PluginObserver};
use ampoule_net::backoff::Backoff;
use async_trait::async_trait;
use secrecy::SecretString;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::warn;

use crate::LoginError;

/// Limit for one login, over all its requests.
const LOGIN_MAX: Duration = Duration::from_secs(20);
/// The time for which a failed login is remembered: at first, and after many failures.
const FAILURES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A credential that a host rejects is replaced if it is older than this.
const MIN_AGE: Duration = Duration::from_secs(10);
/// Time before the expiry at which a credential is replaced in the background, at most half of its
/// lifetime.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// Time before the expiry at which a credential is no longer sent, at most a tenth of its lifetime.
const MARGIN: Duration = Duration::from_secs(30);

/// A kept token.
pub(crate) type KeptToken = Kept<SecretString>;

/// Obtains a credential.
#[async_trait]
pub(crate) trait CredentialLogin<T>: Send + Sync {
    async fn login(&self) -> Result<Fresh<T>, LoginError>;
}

/// A credential that was just obtained.
pub(crate) struct Fresh<T> {
    value: T,
    /// The time after which it is replaced in the background.
    refresh_after: Duration,
    /// The time after which it is not sent.
    expires_after: Duration,
}

/// A credential that is kept, and its login.
pub(crate) struct Kept<T> {
    login: Arc<dyn CredentialLogin<T>>,
    state: Arc<Mutex<State<T>>>,
    /// The plugin and the host in log lines.
    plugin: String,
    host: String,
    observer: Arc<dyn PluginObserver>,
}

struct State<T> {
    current: Option<Current<T>>,
    running: Option<watch::Receiver<Option<Outcome<T>>>>,
    failed: Option<Failed>,
    backoff: Backoff,
}

struct Current<T> {
    value: Arc<T>,
    since: Instant,
    refresh: Instant,
    expiry: Instant,
}

struct Failed {
    error: LoginError,
    until: Instant,
}

type Outcome<T> = Result<Arc<T>, LoginError>;

enum KeptStep<T> {
    Done(Outcome<T>),
    Wait(watch::Receiver<Option<Outcome<T>>>),
}

// === impl Fresh ===

impl<T> Fresh<T> {
    /// A credential that is valid for this time.
    pub(crate) fn for_lifetime(value: T, lifetime: Duration) -> Self {
        let refresh_after = lifetime - EARLY.min(lifetime / 2);
        Self { value, refresh_after, expires_after: lifetime - MARGIN.min(lifetime / 10) }
    }

    /// A secret from a place that can change at any time.
    pub(crate) fn reread_after(value: T, refresh_after: Duration) -> Self {
        // While the place cannot be read, the last value stays in use.
        Self { value, refresh_after, expires_after: Duration::from_secs(3600) }
    }

    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Fresh<U> {
        let Self { value, refresh_after, expires_after } = self;
        Fresh { value: change(value), refresh_after, expires_after }
    }
}

// === impl Kept ===

impl<T: Send + Sync + 'static> Kept<T> {
    pub(crate) fn new(
        login: Arc<dyn CredentialLogin<T>>,
        plugin: &str,
        host: &Destination,
        observer: Arc<dyn PluginObserver>,
    ) -> Self {
        let [first, longest] = FAILURES;
        let backoff = Backoff::new(first, longest);
        let state = State { current: None, running: None, failed: None, backoff };
        Self { login, state: Arc::new(Mutex::new(state)), plugin: plugin.to_owned(), host: host.to_string(), observer }
    }

    /// Returns the credential. Waits for a login only if there is no valid credential.
    pub(crate) async fn get(&self) -> Outcome<T> {
        loop {
            let mut running = match self.step() {
                KeptStep::Done(outcome) => return outcome,
                KeptStep::Wait(running) => running,
            };
            if let Ok(outcome) = running.wait_for(Option::is_some).await
                && let Some(outcome) = outcome.clone()
            {
                return outcome;
            }
            // The runtime of the login ended before the login.
        }
    }

    /// Forgets a credential that its host rejected, unless it is younger than `age`.
    pub(crate) fn reject(&self, age: Duration) {
        let mut state = lock(&self.state);
        let is_old = |current: &Current<T>| current.since.elapsed() >= age.max(MIN_AGE);
        if state.current.as_ref().is_some_and(is_old) {
            state.current = None;
        }
    }

    /// Replaces a credential in the background that its host may have rejected, unless it is
    /// younger than `age`. Until then, all requests use it: it may be valid for them.
    pub(crate) fn renew(&self, age: Duration) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let age = age.max(MIN_AGE);
        if let Some(current) = state.current.as_mut().filter(|current| now - current.since >= age) {
            current.refresh = current.refresh.min(now);
        }
    }

    fn step(&self) -> KeptStep<T> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let running = state.running.clone().filter(|running| running.has_changed().is_ok());
        let is_failed = state.failed.as_ref().is_some_and(|failed| now < failed.until);
        if let Some(current) = state.current.as_ref().filter(|current| now < current.expiry) {
            let value = Arc::clone(&current.value);
            if now >= current.refresh && running.is_none() && !is_failed {
                state.running = Some(self.start());
            }
            return KeptStep::Done(Ok(value));
        }
        if let Some(failed) = state.failed.as_ref().filter(|_| is_failed) {
            return KeptStep::Done(Err(failed.error.clone()));
        }
        let running = running.unwrap_or_else(|| self.start());
        state.running = Some(running.clone());
        KeptStep::Wait(running)
    }

    /// Starts a login.
    fn start(&self) -> watch::Receiver<Option<Outcome<T>>> {
        let (sender, receiver) = watch::channel(None);
        let (login, state) = (Arc::clone(&self.login), Arc::clone(&self.state));
        let (plugin, host, observer) = (self.plugin.clone(), self.host.clone(), Arc::clone(&self.observer));
        tokio::spawn(async move {
            let late = || LoginError::unavailable(format!("the login took longer than {} s", LOGIN_MAX.as_secs()));
            let result = timeout(LOGIN_MAX, login.login()).await.unwrap_or_else(|_| Err(late()));
            observer.login(result.as_ref().map(|_| ()).map_err(|error| error.class));
            if let Err(error) = &result {
                warn!(plugin, host, reason = %error, "the host cannot log in for a plugin");
            }
            let outcome = lock(&state).finish(result);
            let _ = sender.send(Some(outcome));
        });
        receiver
    }
}

// === impl State ===

impl<T> State<T> {
    fn finish(&mut self, result: Result<Fresh<T>, LoginError>) -> Outcome<T> {
        let now = Instant::now();
        self.running = None;
        match result {
            Ok(Fresh { value, refresh_after, expires_after }) => {
                let value = Arc::new(value);
                let (refresh, expiry) = (now + refresh_after, now + expires_after);
                self.current = Some(Current { value: Arc::clone(&value), since: now, refresh, expiry });
                self.failed = None;
                self.backoff.reset();
                Ok(value)
            }
            Err(error) => {
                // The place answered: the identity is no longer accepted, or the secret is gone.
                if error.class != ampoule_core::CredentialError::Unavailable {
                    self.current = None;
                }
                self.failed = Some(Failed { error: error.clone(), until: now + self.backoff.pause() });
                Err(error)
            }
        }
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
