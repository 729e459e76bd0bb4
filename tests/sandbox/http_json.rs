//! The example plugin `http-json`, as a component, against a real store: its token goes there, and the value into the pod.
//!
//! What it makes of other answers is in its own tests.

use std::time::Duration;

use ampoule_core::{EnvSource, PodEdit};
use ampoule_engine::{Destination, Grants, HttpGrant, Limits};
use serde_json::json;

use crate::{
    network::{Store, in_own_network},
    support::{Sandbox, line},
};

#[test]
fn http_json_asks_a_store_with_its_token() {
    in_own_network("http_json::http_json_asks_a_store_with_its_token", || {
        let (store, sandbox) = (Store::start(), Sandbox::new());
        let (_, component) = ampoule_test_guests::PLUGINS[0];
        let host = Destination::parse("192.0.2.1:8443").expect("a host");
        let load = |token: &str| {
            let grants = Grants {
                http: Some(HttpGrant::new([host.clone()], vec![store.root.clone()]).expect("a root")),
                environment: vec![("STORE_TOKEN".to_owned(), token.into())],
                ..Grants::default()
            };
            let settings = json!({
                "url": "https://192.0.2.1:8443/v1/{group}/{key}",
                "headers": [{ "name": "authorization", "environment": "STORE_TOKEN", "prefix": "Bearer " }],
                "pointer": "/data/value",
            });
            let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
            sandbox.load_granted("http-json", component, settings, limits, grants).expect("it loads")
        };
        let ask = |token: &str, key: &str| {
            let request = ampoule_core::SecretRequest { group: "db".into(), key: key.into(), ..Default::default() };
            sandbox.runtime.block_on(Sandbox::ask(&sandbox.engine, load(token), request))
        };
        let edits = ask("t0ken", "password").expect("it answers").expect("it injects");
        let [PodEdit::SetEnv(first), PodEdit::SetEnv(prefix)] = &edits[..] else { panic!("two variables: {edits:?}") };
        let EnvSource::SecretValue(value) = &first.source else { panic!("a secret value: {edits:?}") };
        assert_eq!((first.name.as_str(), value.expose()), ("_FSEC_DB_PASSWORD", b"hush".as_slice()));
        assert_eq!(prefix.name, "FLYTE_SECRETS_ENV_PREFIX");
        assert_eq!(
            line(&ask("wrong", "password")),
            "declined: internal: the store refuses the plugin's own token (settings.headers)"
        );
        assert_eq!(line(&ask("t0ken", "missing")), "declined: not found: the store has no secret db/missing");
    });
}
