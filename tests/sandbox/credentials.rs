//! Credentials of the host: which request gets the header, and what a guest sees of a login.
//!
//! `host/credentials` has the tests of the logins.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use ampoule_core::{CredentialError, CredentialHeader, HostCredential, OutgoingRequest};
use ampoule_engine::{Destination, EngineConfig, Grants, HttpGrant, Limits};
use ampoule_tests::network::{Store, TOKEN, VALUE, in_own_network};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::support::{Sandbox, guest};

const URL: &str = "https://192.0.2.1:8443/v1/db/password";

/// A credential whose login has this result; `None` never ends.
struct Fixed {
    headers: Vec<String>,
    login: Option<Result<(), CredentialError>>,
    needs_body: bool,
    status: Arc<AtomicU16>,
}

#[async_trait]
impl HostCredential for Fixed {
    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn needs_body(&self) -> bool {
        self.needs_body
    }

    fn reveals(&self, _method: &str, path: &str) -> Option<&'static str> {
        path.starts_with("/token").then_some("the path token returns tokens")
    }

    async fn attach(&self, request: &OutgoingRequest) -> Result<Vec<CredentialHeader>, CredentialError> {
        assert_eq!(request.authority, "192.0.2.1:8443");
        assert_eq!(request.body.is_empty(), !self.needs_body);
        match self.login {
            None => std::future::pending().await,
            Some(Err(error)) => Err(error),
            Some(Ok(())) => {
                let value = format!("Bearer {TOKEN}").into();
                Ok(vec![CredentialHeader { name: self.headers[0].clone(), value }])
            }
        }
    }

    fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

/// A store, and a sandbox whose plugin may call it on two ports; the credential is for the first.
struct LoggedIn {
    store: Store,
    sandbox: Sandbox,
    status: Arc<AtomicU16>,
}

impl LoggedIn {
    fn new() -> Self {
        let sandbox = Sandbox::with(EngineConfig::default());
        Self { store: Store::start(), sandbox, status: Arc::default() }
    }

    fn answer(&self, login: Option<Result<(), CredentialError>>, settings: Value, limits: Limits) -> String {
        let credential: Arc<dyn HostCredential> = Arc::new(Fixed {
            headers: vec!["authorization".to_owned(), "x-also".to_owned()],
            login,
            needs_body: settings["post"].is_object(),
            status: Arc::clone(&self.status),
        });
        let host = |text| Destination::parse(text).expect("a host");
        let hosts = [(host("192.0.2.1:8443"), Some(credential)), (host("192.0.2.1:9443"), None)];
        let http =
            HttpGrant::with_credentials(hosts, vec![self.store.root.clone()]).expect("the root is a certificate");
        let grants = Grants { http: Some(http), ..Grants::default() };
        let plugin = self.sandbox.load_granted("store", guest("asks_store"), settings, limits, grants);
        self.sandbox.answer(&plugin.expect("it loads"))
    }
}

fn limits() -> Limits {
    Limits { deadline: Duration::from_secs(20), ..Limits::default() }
}

#[test]
fn only_the_host_of_the_credential_gets_its_header() {
    in_own_network("credentials::only_the_host_of_the_credential_gets_its_header", || {
        let logged_in = LoggedIn::new();
        let found = format!("injected READ=200 {{\"data\":{{\"value\":\"{VALUE}\"}}}}");
        let answer = |settings| logged_in.answer(Some(Ok(())), settings, limits());
        assert_eq!(answer(json!({ "url": URL })), found);
        assert_eq!(logged_in.status.load(Ordering::Relaxed), 200);
        assert_eq!(answer(json!({ "url": URL, "post": { "a": "b" } })), found, "with a body that is signed");
        let other = answer(json!({ "url": URL.replace("8443", "9443") }));
        assert_eq!(other, "injected READ=401 ");
        logged_in.store.wait_until_left();
    });
}

#[test]
fn a_guest_that_interferes_with_a_credential_is_refused_before_any_call() {
    in_own_network("credentials::a_guest_that_interferes_with_a_credential_is_refused_before_any_call", || {
        let logged_in = LoggedIn::new();
        let own = |name: &str| {
            format!("the webhook sets the header {name} for 192.0.2.1:8443, so the plugin must not set it")
        };
        for (settings, expected) in [
            (json!({ "url": URL, "headers": { "Authorization": "mine" } }), own("authorization")),
            (json!({ "url": URL, "headers": { "X-Also": "" } }), own("x-also")),
            (
                json!({ "url": "https://192.0.2.1:8443/token/self" }),
                "the path token returns tokens, which plugins may not call on 192.0.2.1:8443".to_owned(),
            ),
        ] {
            let answer = logged_in.answer(Some(Ok(())), settings, limits());
            assert!(answer.contains(&expected), "{answer}");
        }
        assert!(logged_in.store.calls().to.is_empty());
    });
}

#[test]
fn a_failed_login_has_a_class_and_an_endless_one_ends_at_the_deadline() {
    in_own_network("credentials::a_failed_login_has_a_class_and_an_endless_one_ends_at_the_deadline", || {
        let logged_in = LoggedIn::new();
        for (error, reason) in [
            (CredentialError::Refused, "the login was refused"),
            (CredentialError::Unavailable, "the login server does not answer"),
            (CredentialError::Misconfigured, "the credential is not set up"),
        ] {
            let answer = logged_in.answer(Some(Err(error)), json!({ "url": URL }), limits());
            assert!(answer.contains(&format!("the host cannot log in to 192.0.2.1:8443: {reason}")), "{answer}");
        }
        let short = Limits { deadline: Duration::from_millis(500), ..Limits::default() };
        let answer = logged_in.answer(None, json!({ "url": URL }), short);
        assert!(answer.contains("deadline") || answer.contains("500 ms"), "{answer}");
        assert!(logged_in.store.calls().to.is_empty());
    });
}
