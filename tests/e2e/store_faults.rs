//! A store, or a login server, that is slow, lies or disagrees about the time: each case has its
//! code and message, and pods of another plugin do not wait.
//!
//! The plugin is `aws-secrets-manager`, which logs in by web identity. The other plugin is in front
//! of it, and has its own secrets.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, Review, asking,
    network::{Question, Store, in_own_network},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{certificate_pem, config, request, variable_in};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";
/// Reviews at once that meet the fault.
const CONCURRENT: usize = 8;
/// The deadline of the plugin that meets the fault.
const DEADLINE_MILLIS: u64 = 4000;
/// The time in which the other plugin answers.
const PROMPT: Duration = Duration::from_millis(DEADLINE_MILLIS * 3 / 4);

/// The answers of the store's API and of the login server. `None`: the answer of the path.
struct Fault {
    what: &'static str,
    /// The path of the store's API.
    path: &'static str,
    store: fn() -> (u16, String),
    login: fn() -> (u16, String),
    /// The refusal's code and a part of its message, or the value.
    expected: Result<&'static str, (u64, &'static str)>,
    /// A part of the log, for the admin.
    log: &'static str,
}

const FAULTS: [Fault; 8] = [
    Fault {
        what: "an answer without end",
        path: "/endless",
        store: value,
        login: keys,
        expected: Err((503, "192.0.2.1:8443: the answer ends early, or is larger than the host allows")),
        log: "",
    },
    Fault {
        what: "no answer",
        path: "/hang",
        store: value,
        login: keys,
        expected: Err((503, "exceeded its deadline of 4000 ms")),
        log: "",
    },
    Fault {
        what: "another format",
        path: "",
        store: || (200, format!("<html>{CANARY}</html>")),
        login: keys,
        expected: Err((503, "unexpected JSON in the answer (line 1, column 1)")),
        log: "",
    },
    Fault {
        what: "a redirect",
        path: "",
        store: || (302, CANARY.to_owned()),
        login: keys,
        expected: Err((500, "AWS Secrets Manager answers with a redirect; check settings.endpoint")),
        log: "",
    },
    Fault {
        what: "an expired token",
        path: "",
        store: || error("ExpiredTokenException"),
        login: keys,
        expected: Err((403, "AWS rejects the webhook's credential; check `credential` of the host in grants.http")),
        log: "",
    },
    Fault {
        what: "a throttled store",
        path: "",
        store: || error("ThrottlingException"),
        login: keys,
        expected: Err((503, "AWS Secrets Manager is overloaded or has failed")),
        log: "",
    },
    Fault {
        what: "a login server whose clock is two hours late: its keys look expired",
        path: "",
        store: value,
        login: keys,
        expected: Ok(CANARY),
        log: "",
    },
    Fault {
        what: "a login server whose clock is two hours early: the token looks expired",
        path: "",
        store: value,
        login: || {
            let code = "<Code>ExpiredTokenException</Code>";
            (400, format!("<ErrorResponse><Error>{code}<Message>{CANARY}</Message></Error></ErrorResponse>"))
        },
        expected: Err((500, "the host cannot log in to 192.0.2.1:8443: the login was refused")),
        log: "answered with status 400 (ExpiredTokenException)",
    },
];

#[test]
fn a_fault_of_a_store_has_its_message_and_delays_no_other_plugin() {
    in_own_network("store_faults::a_fault_of_a_store_has_its_message_and_delays_no_other_plugin", || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let faults = std::sync::Arc::new(std::sync::Mutex::new(&FAULTS[0]));
        let current = std::sync::Arc::clone(&faults);
        let store = Store::answering(move |question| answer(&current.lock().expect("no panic"), question));
        for fault in &FAULTS {
            *faults.lock().expect("no panic") = fault;
            runtime.block_on(meet(fault, &store)).with_context(|| fault.what).expect("the fault has its message");
        }
    });
}

async fn meet(fault: &Fault, store: &Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("http-json.wasm"), ampoule_test_guests::plugin("http-json"))?;
    std::fs::write(path("ca.crt"), certificate_pem(store.root.as_ref()))?;
    std::fs::write(path("token"), "eyJ.web.identity")?;
    let aws = "{ service: secretsmanager, region: eu-central-1, stsEndpoint: 'https://192.0.2.1:8443' }";
    let injectors = format!(
        "  - name: other
    component: file:{}
    settings: {{ url: 'https://192.0.2.1:8443/other/{{key}}', pointer: /value }}
    grants: {{ http: {{ hosts: ['192.0.2.1:8443'], caFile: {ca} }} }}
    delivery: inline
    acceptPlaintext: true
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
  - name: store
    component: builtin:aws-secrets-manager
    settings: {{ region: eu-central-1, endpoint: 'https://192.0.2.1:8443{}' }}
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {{ awsSigV4: {aws} }} }}], caFile: {ca} }} }}
    delivery: inline
    acceptPlaintext: true
    limits: {{ deadlineMillis: {DEADLINE_MILLIS}, queueWaitMillis: 20000 }}
",
        path("http-json.wasm"),
        fault.path,
        ca = path("ca.crt"),
    );
    let token = path("token");
    let environment = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/a")];
    let ampoule = Ampoule::start_with(&config("flyte-v2", &injectors), &environment).await?;
    let (mine, theirs) = (pod("mine"), pod("theirs"));
    let (mine, theirs) = (Review::of(&mine, "default"), Review::of(&theirs, "default"));
    let faulty = futures_util::future::join_all((0..CONCURRENT).map(|_| ampoule.review_once(&mine)));
    let prompt = async {
        let started = Instant::now();
        let answer = ampoule.review_once(&theirs).await?;
        ensure!(answer.allowed, "the other plugin's pod is refused: {}", answer.message);
        ensure!(started.elapsed() < PROMPT, "the other plugin's pod waited {:?}", started.elapsed());
        Ok(())
    };
    let (answers, prompt) = tokio::join!(faulty, prompt);
    prompt?;
    let mut texts = Vec::new();
    for answer in answers {
        let answer = answer?;
        match fault.expected {
            Ok(value) => {
                ensure!(answer.allowed, "refused: {}", answer.message);
                let mut patched = pod("mine");
                json_patch::patch(&mut patched, &answer.patch)?;
                assert_eq!(variable_in(&patched, "VALUE"), &json!(value));
            }
            Err((code, text)) => {
                let is_expected = !answer.allowed && answer.code == code && answer.message.contains(text);
                ensure!(is_expected, "{}: {}", answer.code, answer.message);
            }
        }
        texts.push(answer.message);
    }
    let memory = ampoule.metric("process_resident_memory_bytes").await?;
    ensure!(memory < f64::from(1 << 30), "the process has {memory} bytes");
    texts.push(ampoule.admin("/metrics").await?.text());
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    ensure!(exit.log.contains(fault.log), "{}", exit.log);
    texts.push(exit.log);
    for text in texts {
        ensure!(!text.contains(CANARY), "{text}");
    }
    Ok(())
}

fn pod(key: &str) -> Value {
    asking("task", [request("", key, EnvVar, "VALUE")])
}

fn answer(fault: &Fault, question: &Question) -> Option<(u16, String)> {
    match question.target.as_str() {
        "GET /other/theirs" => Some((200, json!({ "value": "theirs" }).to_string())),
        "GET /other/mine" => Some((404, String::new())),
        "POST /" if question.body.starts_with("Action=AssumeRoleWithWebIdentity") => Some((fault.login)()),
        "POST /" => Some((fault.store)()),
        _ => None,
    }
}

/// `GetSecretValue`.
fn value() -> (u16, String) {
    (200, json!({ "SecretString": CANARY, "VersionId": "v1" }).to_string())
}

fn error(name: &str) -> (u16, String) {
    (400, json!({ "__type": name, "Message": CANARY }).to_string())
}

/// `AssumeRoleWithWebIdentity`, with an expiry that has passed.
fn keys() -> (u16, String) {
    let credentials = format!(
        "<AccessKeyId>AKIA{CANARY}</AccessKeyId><SecretAccessKey>{CANARY}</SecretAccessKey>\
         <SessionToken>{CANARY}</SessionToken><Expiration>2020-01-01T00:00:00Z</Expiration>"
    );
    let result = "AssumeRoleWithWebIdentityResult";
    let response = "AssumeRoleWithWebIdentityResponse";
    (200, format!("<{response}><{result}><Credentials>{credentials}</Credentials></{result}></{response}>"))
}
