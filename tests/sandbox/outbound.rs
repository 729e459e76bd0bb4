//! Outbound HTTP against a real server: calls that a grant allows, and calls that it denies.
//!
//! Each test also calls a neighbour, which must be served; each hostile guest ends in bounded time
//! with its own error.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ampoule_engine::{Destination, EngineConfig, Grant, Grants, HttpGrant, Limits, Resolver};
use ampoule_tests::network::{ADDRESS, METADATA, NAME, Store, in_own_network};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    grants::Denials,
    support::{Sandbox, guest},
};

const OK: &str = "https://store.example:8443/ok";

/// A resolver that returns its answers in sequence, and then repeats the last one.
#[derive(Default)]
struct Names(BTreeMap<&'static str, Mutex<Vec<Vec<IpAddr>>>>);

/// A store, and a sandbox whose plugins may call it at `store.example:8443`.
struct Outbound {
    store: Store,
    sandbox: Sandbox,
    denials: Arc<Denials>,
    limits: Limits,
    trusted: bool,
}

// === impl Names ===

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host == "hanging.example" {
            return std::future::pending().await;
        }
        let answers = self.0.get(host).ok_or(io::ErrorKind::NotFound)?;
        let mut answers = answers.lock().expect("no thread panics while it holds the lock");
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

// === impl Outbound ===

impl Outbound {
    fn new() -> Self {
        Self::naming(&[(NAME, &[&[ADDRESS]])])
    }

    fn naming(names: &[(&'static str, &[&[IpAddr]])]) -> Self {
        let answers = names.iter().map(|(name, answers)| {
            (*name, Mutex::new(answers.iter().map(|answer| answer.to_vec()).collect::<Vec<_>>()))
        });
        let denials = Arc::new(Denials::default());
        let config = EngineConfig {
            observer: Arc::<Denials>::clone(&denials),
            resolver: Arc::new(Names(answers.collect())),
            ..EngineConfig::default()
        };
        let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
        Self { store: Store::start(), sandbox: Sandbox::with(config), denials, limits, trusted: true }
    }

    /// The answer of a plugin that is granted the store and two names that do not exist.
    fn answer(&self, settings: Value) -> String {
        let hosts =
            ["store.example:8443", "192.0.2.1:8443", "hanging.example", "missing.example", "other.example:8443"];
        let hosts = hosts.map(|host| Destination::parse(host).expect("a host"));
        let roots = if self.trusted { vec![self.store.root.clone()] } else { Vec::new() };
        let http = HttpGrant::new(hosts, roots).expect("the store's root is a certificate");
        let grants = Grants { http: Some(http), ..Grants::default() };
        let plugin = self.sandbox.load_granted("client", guest("http_client"), settings, self.limits.clone(), grants);
        self.sandbox.answer(&plugin.expect("it loads"))
    }

    fn calls(&self, urls: &[&str]) -> String {
        self.answer(json!({ "urls": urls }))
    }

    fn denied(&self) -> u32 {
        self.denials.of(Grant::Http)
    }
}

#[test]
fn calls_a_host_that_was_granted() {
    in_own_network("outbound::calls_a_host_that_was_granted", || {
        let outbound = Outbound::new();
        let answer = outbound.calls(&[OK, "https://192.0.2.1:8443/ok", "https://STORE.example:8443"]);
        assert_eq!(answer, "injected ANSWER_1=200 5 ANSWER_2=200 5 ANSWER_3=200 5");
        assert_eq!(outbound.answer(json!({ "urls": [OK], "body": 10_000 })), "injected ANSWER_1=200 5");
        assert_eq!((outbound.denied(), outbound.store.calls().to), (0, vec![ADDRESS; 4]));
        outbound.store.wait_until_left();
    });
}

#[test]
fn a_host_or_port_that_is_not_granted_is_denied_and_never_called() {
    in_own_network("outbound::a_host_or_port_that_is_not_granted_is_denied_and_never_called", || {
        let outbound = Outbound::new();
        for host in [
            "evil.example:8443",
            "store.example:9443",
            "store.example",
            "192.0.2.1:9443",
            "127.0.0.1:8443",
            "[::1]:8443",
            "169.254.169.254:8443",
            "store.example.:8443",
        ] {
            let expected = format!("injected ANSWER_1=Denied(\"{host}: not in grants.http.hosts\")");
            assert_eq!(outbound.calls(&[&format!("https://{host}/ok")]), expected);
        }
        assert_eq!((outbound.denied(), outbound.store.calls().to), (8, vec![]));
    });
}

#[test]
fn a_name_that_rebinds_to_loopback_is_denied_the_second_time() {
    in_own_network("outbound::a_name_that_rebinds_to_loopback_is_denied_the_second_time", || {
        let loopback: IpAddr = "127.0.0.1".parse().expect("an address");
        let outbound = Outbound::naming(&[(NAME, &[&[ADDRESS], &[loopback]])]);
        assert_eq!(
            outbound.calls(&[OK, OK]),
            "injected ANSWER_1=200 5 ANSWER_2=Denied(\"store.example:8443: the name resolves to an address that plugins must not call\")"
        );
        assert_eq!((outbound.denied(), outbound.store.calls().to), (1, vec![ADDRESS]));
    });
}

#[test]
fn of_several_addresses_only_allowed_ones_are_called() {
    in_own_network("outbound::of_several_addresses_only_allowed_ones_are_called", || {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let mixed = [address("127.0.0.1"), METADATA, ADDRESS];
        assert_eq!(Outbound::naming(&[(NAME, &[&mixed])]).calls(&[OK]), "injected ANSWER_1=200 5");
    });
}

#[test]
fn a_name_never_resolves_to_loopback_or_link_local_addresses() {
    in_own_network("outbound::a_name_never_resolves_to_loopback_or_link_local_addresses", || {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let addresses = ["0.0.0.0", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "224.0.0.1"].map(address);
        let answers: Vec<_> = addresses.iter().map(std::slice::from_ref).collect();
        let outbound = Outbound::naming(&[(NAME, &answers)]);
        let denied = "Denied(\"store.example:8443: the name resolves to an address that plugins must not call\")";
        let expected = (1..=6).map(|n| format!(" ANSWER_{n}={denied}")).collect::<String>();
        assert_eq!(outbound.calls(&[OK; 6]), format!("injected{expected}"));
        assert_eq!((outbound.denied(), outbound.store.calls().to), (6, vec![]));
    });
}

#[test]
fn a_redirect_is_a_separate_call() {
    in_own_network("outbound::a_redirect_is_a_separate_call", || {
        let outbound = Outbound::new();
        let [metadata, other_port, again] =
            ["metadata", "other-port", "again"].map(|path| format!("https://store.example:8443/{path}"));
        assert_eq!(outbound.calls(&[&metadata]), "injected ANSWER_1=302 0");
        assert_eq!(outbound.denied(), 0);
        let answer = outbound.answer(json!({ "urls": [metadata, other_port, again], "follow": true }));
        assert_eq!(
            answer,
            "injected ANSWER_1=302 Denied(\"169.254.169.254:8443: not in grants.http.hosts\") \
             ANSWER_2=302 Denied(\"store.example:9443: not in grants.http.hosts\") ANSWER_3=302 200 5"
        );
        assert_eq!((outbound.denied(), outbound.store.calls().to), (2, vec![ADDRESS; 5]));
    });
}

#[test]
fn a_hanging_host_ends_the_call_at_its_deadline_and_closes_the_connection() {
    in_own_network("outbound::a_hanging_host_ends_the_call_at_its_deadline_and_closes_the_connection", || {
        let mut outbound = Outbound::new();
        outbound.limits.deadline = Duration::from_millis(500);
        for url in ["https://store.example:8443/hang", "https://hanging.example/"] {
            let started = Instant::now();
            assert_eq!(
                outbound.calls(&[url]),
                "deadline: plugin client 1.0.0 exceeded its deadline of 500 ms (injectors[].limits.deadlineMillis)"
            );
            assert!(started.elapsed() < Duration::from_secs(10));
        }
        assert_eq!(outbound.store.calls().to, [ADDRESS]);
        outbound.store.wait_until_left();
    });
}

#[test]
fn bodies_are_limited_per_admission() {
    in_own_network("outbound::bodies_are_limited_per_admission", || {
        let outbound = Outbound::new();
        let early = "Unavailable(\"store.example:8443: the answer ends early, or is larger than the host allows\")";
        let endless = "https://store.example:8443/endless";
        assert_eq!(outbound.calls(&[endless]), format!("injected ANSWER_1={early}"));
        assert_eq!(outbound.calls(&["https://store.example:8443/half"]), format!("injected ANSWER_1={early}"));
        // With single bytes, the limit of host calls ends the plugin first.
        assert_eq!(
            outbound.calls(&["https://store.example:8443/crumbs"]),
            "limit: plugin client 1.0.0 exceeded its limit of 50000 host calls"
        );
        let headers = "Unavailable(\"store.example:8443: the answer is larger than the host allows\")";
        assert_eq!(outbound.calls(&["https://store.example:8443/headers"]), format!("injected ANSWER_1={headers}"));
        assert_eq!(
            outbound.answer(json!({ "urls": ["https://store.example:8443/sink"], "body": 1_100_000 })),
            "injected ANSWER_1=Unavailable(\"store.example:8443: the request is larger than the host allows\")"
        );
        outbound.store.wait_until_left();
    });
}

#[test]
fn a_flood_of_calls_ends_at_the_limit_of_host_calls() {
    in_own_network("outbound::a_flood_of_calls_ends_at_the_limit_of_host_calls", || {
        let outbound = Outbound::new();
        let expected = "limit: plugin client 1.0.0 exceeded its limit of 50000 host calls";
        let calls = usize::try_from(Limits::default().outbound_calls).expect("few");
        assert_eq!(outbound.answer(json!({ "urls": [OK], "flood": true })), expected);
        assert_eq!(outbound.store.calls().to.len(), calls);
        assert_eq!(outbound.answer(json!({ "urls": ["https://evil.example/"], "flood": true })), expected);
        assert_eq!(outbound.store.calls().to.len(), calls);
        assert!(outbound.denied() > 100, "{}", outbound.denied());
    });
}

#[test]
fn a_server_needs_a_trusted_certificate_for_its_name() {
    in_own_network("outbound::a_server_needs_a_trusted_certificate_for_its_name", || {
        let mut outbound = Outbound::naming(&[(NAME, &[&[ADDRESS]]), ("other.example", &[&[ADDRESS]])]);
        let untrusted = |host: &str| {
            format!(
                "injected ANSWER_1=Unavailable(\"{host}:8443: its certificate is not trusted (grants.http.caFile)\")"
            )
        };
        assert_eq!(outbound.calls(&["https://other.example:8443/ok"]), untrusted("other.example"));
        outbound.trusted = false;
        assert_eq!(outbound.calls(&[OK]), untrusted("store.example"));
        assert_eq!(
            outbound.calls(&["https://missing.example/"]),
            "injected ANSWER_1=Unavailable(\"missing.example: no address found\")"
        );
    });
}
