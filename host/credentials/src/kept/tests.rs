//! Many requests share one login, a failure is remembered, and a token is replaced before it
//! expires. Time is that of tokio's paused clock.

use std::sync::atomic::{AtomicU32, Ordering};

use ampoule_core::Unobserved;
use tokio::time::{advance, sleep};

use super::*;

/// Takes a second, and returns the number of the login, or its error.
#[derive(Default)]
struct Counting {
    logins: AtomicU32,
    fails: Mutex<Option<LoginError>>,
}

#[async_trait]
impl CredentialLogin<u32> for Counting {
    async fn login(&self) -> Result<Fresh<u32>, LoginError> {
        let number = self.logins.fetch_add(1, Ordering::Relaxed) + 1;
        sleep(Duration::from_secs(1)).await;
        match self.fails.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(Fresh::for_lifetime(number, Duration::from_secs(3600))),
        }
    }
}

fn kept(login: &Arc<Counting>) -> Arc<Kept<u32>> {
    let host = Destination::parse("store.example").unwrap();
    Arc::new(Kept::new(Arc::<Counting>::clone(login), "p", &host, Arc::new(Unobserved)))
}

async fn get(kept: &Kept<u32>) -> Result<u32, String> {
    kept.get().await.map(|value| *value).map_err(|error| error.reason)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_share_one_login() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move { get(&kept).await })
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Ok(1));
    }
    assert_eq!(login.logins.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_continues_after_its_request_has_given_up() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    assert!(timeout(Duration::from_millis(500), get(&kept)).await.is_err());
    advance(Duration::from_secs(2)).await;
    assert_eq!(get(&kept).await, Ok(1));
    assert_eq!(login.logins.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_a_time_that_grows() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    *login.fails.lock().unwrap() = Some(LoginError::unavailable("down"));
    for _ in 0..600 {
        assert_eq!(get(&kept).await, Err("down".to_owned()));
        advance(Duration::from_millis(100)).await;
    }
    let logins = login.logins.load(Ordering::Relaxed);
    assert!((3..=8).contains(&logins), "{logins} logins in a minute");
    *login.fails.lock().unwrap() = None;
    advance(FAILURES[1]).await;
    assert_eq!(get(&kept).await, Ok(logins + 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_before_it_expires_without_a_wait() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    assert_eq!(get(&kept).await, Ok(1));
    advance(Duration::from_secs(3200)).await;
    assert_eq!(get(&kept).await, Ok(1));
    advance(Duration::from_secs(101)).await;
    assert_eq!(get(&kept).await, Ok(1), "the old token is valid while the new one is on its way");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&kept).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_token_outlives_a_server_that_is_down_but_not_a_refusal() {
    for (error, expected) in
        [(LoginError::unavailable("down"), Ok(1)), (LoginError::refused("revoked"), Err("revoked".to_owned()))]
    {
        let login = Arc::<Counting>::default();
        let kept = kept(&login);
        assert_eq!(get(&kept).await, Ok(1));
        *login.fails.lock().unwrap() = Some(error);
        advance(Duration::from_secs(3400)).await;
        assert_eq!(get(&kept).await, Ok(1));
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(get(&kept).await, expected);
        advance(Duration::from_secs(3600)).await;
        assert!(get(&kept).await.is_err(), "an expired token is not sent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_unless_it_is_new() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    assert_eq!(get(&kept).await, Ok(1));
    kept.reject(Duration::ZERO);
    assert_eq!(get(&kept).await, Ok(1), "a host that always rejects does not cause a login per request");
    advance(MIN_AGE).await;
    kept.reject(Duration::ZERO);
    assert_eq!(get(&kept).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_may_be_rejected_is_replaced_without_a_wait() {
    let login = Arc::<Counting>::default();
    let kept = kept(&login);
    assert_eq!(get(&kept).await, Ok(1));
    kept.renew(Duration::from_secs(60));
    assert_eq!(get(&kept).await, Ok(1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(login.logins.load(Ordering::Relaxed), 1, "the token was younger than a minute");
    kept.renew(Duration::from_secs(60));
    assert_eq!(get(&kept).await, Ok(1), "the token may be valid for other requests");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&kept).await, Ok(2));
}
