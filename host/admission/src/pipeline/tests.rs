//! From an injector's behaviour to the answer and the metric, row by row of decision record 0005.
//!
//! The injectors here are native, because the engine prevents plugins from waiting forever and from
//! panicking.

use ampoule_core::{
    AdmissionOutcome, FailureKind, Injection, InjectionError, InjectorFacts, InjectorFailure, InjectorSession,
    LazyPodView, OnFailure, PodView, PolicyAction, PolicyFinding, PolicyRule, PolicySession, Profile, RequestPolicy,
    RequestedSecret, SecretInjector, SecretRequest,
};
use ampoule_engine::EngineConfig;
use serde_json::json;

use ampoule_review::{ReviewVersion, Verdict};

use super::*;

/// Flyte's annotation for group user-info, key user_secret.
const ASKS: &str = "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau";

/// The behaviour of an injector.
#[derive(Clone)]
enum Behaviour {
    Answer(InjectionError),
    Fail(FailureKind),
    Wait,
    Panic,
}

struct Native(Behaviour);

impl SecretInjector for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(Self(self.0.clone()))
    }
}

#[async_trait::async_trait]
impl InjectorSession for Native {
    async fn inject(&mut self, _request: &SecretRequest, _pod: &LazyPodView) -> Injection {
        match self.0.clone() {
            Behaviour::Answer(error) => Ok(Err(error)),
            Behaviour::Fail(kind) => {
                Err(InjectorFailure { kind, outside: "it failed".to_owned(), inside: "in a way".to_owned() })
            }
            Behaviour::Wait => std::future::pending().await,
            Behaviour::Panic => panic!("a defect"),
        }
    }
}

/// The verdict on a pod that requests a secret, and the metrics after it.
async fn admit(behaviour: Behaviour, on_failure: OnFailure) -> (Verdict, String) {
    let mutator = PodMutator::new(vec![Arc::new(Native(behaviour))], Profile::FlyteV1.conventions());
    admit_by(mutator, on_failure, Metrics::new()).await
}

async fn admit_by(mutator: PodMutator, on_failure: OnFailure, metrics: Metrics) -> (Verdict, String) {
    let engine = PluginEngine::new(EngineConfig { max_concurrent: 4, ..EngineConfig::default() }).unwrap();
    let pipeline = Pipeline::new(Arc::new(engine), mutator, metrics.clone()).with_on_failure(on_failure);
    let pod = json!({ "metadata": { "annotations": { "flyte.secrets/s0": ASKS } }, "spec": { "containers": [] } });
    let request = AdmissionRequest {
        identity: ReviewIdentity { version: ReviewVersion::V1, uid: "7f".to_owned() },
        namespace: "flyte".to_owned(),
        name: String::new(),
        dry_run: false,
        requester: Requester::default(),
        subject: ReviewSubject::Pod(Pod::parse(pod).unwrap()),
    };
    let reply = pipeline.admit(request, &RequestContext::untraced(Duration::from_millis(300))).await;
    (reply.verdict, metrics.text())
}

async fn check(behaviour: Behaviour, expected: (u16, &str, &str), outcome: AdmissionOutcome) {
    let (verdict, metrics) = admit(behaviour, OnFailure::Deny).await;
    let Verdict::Refused { code, reason, message, .. } = verdict else { panic!("{verdict:?}") };
    let secret =
        "secret user-info/user_secret (annotation flyte.secrets/s0, mount any) could not be injected: native: ";
    assert_eq!((code, reason, message.replace(secret, "").as_str()), expected);
    let line = format!("ampoule_admissions_total{{outcome=\"{}\"}} 1", outcome.as_str());
    assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
}

#[tokio::test]
async fn an_answer_gives_its_code() {
    let not_found = Behaviour::Answer(InjectionError::NotFound("none".to_owned()));
    check(not_found, (400, "BadRequest", "not found: none"), AdmissionOutcome::Refused).await;
    let denied = Behaviour::Answer(InjectionError::Denied("no".to_owned()));
    check(denied, (403, "Forbidden", "denied: no"), AdmissionOutcome::Denied).await;
    let unavailable = Behaviour::Answer(InjectionError::Unavailable("later".to_owned().into()));
    check(unavailable, (503, "ServiceUnavailable", "unavailable: later"), AdmissionOutcome::Unavailable).await;
    let internal = Behaviour::Answer(InjectionError::Internal("oops".to_owned()));
    check(internal, (500, "InternalError", "internal: oops"), AdmissionOutcome::Error).await;
}

#[tokio::test]
async fn a_failure_gives_its_code_and_keeps_its_details() {
    check(Behaviour::Fail(FailureKind::Trap), (500, "InternalError", "it failed"), AdmissionOutcome::Error).await;
    check(Behaviour::Fail(FailureKind::Limit), (500, "InternalError", "it failed"), AdmissionOutcome::Error).await;
}

#[tokio::test]
async fn an_admission_ends_at_its_deadline() {
    let start = std::time::Instant::now();
    let (verdict, metrics) = admit(Behaviour::Wait, OnFailure::Deny).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let Verdict::Refused { code: 503, reason: "ServiceUnavailable", message, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert!(message.starts_with("the secrets could not be injected within the webhook's timeout of "), "{message}");
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"unavailable\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_panic_gives_an_answer() {
    let message = "internal error; the webhook's log has the details under this request's uid";
    check(Behaviour::Panic, (500, "InternalError", message), AdmissionOutcome::Error).await;
}

#[tokio::test]
async fn on_failure_admit_admits_with_a_warning() {
    for (behaviour, reason) in [
        (Behaviour::Answer(InjectionError::NotFound("none".to_owned())), "secret user-info/user_secret (annotation "),
        (Behaviour::Wait, "the secrets could not be injected within the webhook's timeout of "),
        (Behaviour::Panic, "internal error; the webhook's log has the details under this request's uid"),
    ] {
        let (verdict, metrics) = admit(behaviour, OnFailure::Admit).await;
        let Verdict::Allowed { patch, warnings } = verdict else { panic!("{verdict:?}") };
        assert!(patch.0.is_empty());
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(
            warning.starts_with(&format!("admitted without its secrets (onFailure: admit): {reason}")),
            "{warning}"
        );
        assert!(metrics.contains("ampoule_admissions_total{outcome=\"admitted-without-secrets\"} 1"), "{metrics}");
    }
}

/// A policy whose rule matches the requests of one group.
struct GroupRule(PolicyRule);

impl RequestPolicy for GroupRule {
    fn open<'a>(&'a self, _pod: &'a PodView, _requester: &'a Requester) -> Box<dyn PolicySession + 'a> {
        Box::new(Self(self.0.clone()))
    }
}

impl PolicySession for GroupRule {
    fn judge(
        &mut self,
        request: &RequestedSecret,
        injector: Option<&InjectorFacts>,
        findings: &mut Vec<PolicyFinding>,
    ) {
        if injector.is_none() && request.request.group == self.0.when {
            findings.push(PolicyFinding {
                rule: self.0.name.as_str().into(),
                action: self.0.action,
                shadow: self.0.shadow,
                message: self.0.message.as_str().into(),
                injector: None,
                error: None,
            });
        }
    }
}

#[tokio::test]
async fn a_rule_decides_before_an_injector_is_called() {
    let unavailable = || Behaviour::Answer(InjectionError::Unavailable("called".to_owned().into()));
    for (group, shadow, on_failure, expected) in [
        ("user-info", false, OnFailure::Deny, (403, "is denied: policy rule own: ask the team")),
        ("user-info", false, OnFailure::Admit, (200, "admitted without its secrets (onFailure: admit): ")),
        ("user-info", true, OnFailure::Deny, (503, "native: unavailable: called")),
        ("other", false, OnFailure::Deny, (503, "native: unavailable: called")),
    ] {
        let (name, when, message) = ("own".to_owned(), group.to_owned(), "ask the team".to_owned());
        let rule = PolicyRule { name, when, action: PolicyAction::Deny, message, shadow };
        let metrics = Metrics::new();
        metrics.policy_loaded(&[], std::slice::from_ref(&rule));
        let mutator = PodMutator::new(vec![Arc::new(Native(unavailable()))], Profile::FlyteV1.conventions());
        let mutator = mutator.with_policy(Arc::new(GroupRule(rule)), vec![InjectorFacts::unknown()]);
        let (verdict, metrics) = admit_by(mutator, on_failure, metrics).await;
        let (code, text) = match verdict {
            Verdict::Refused { code, message, .. } => (code, message),
            Verdict::Allowed { warnings, .. } => (200, warnings.concat()),
        };
        assert_eq!(code, expected.0, "{text}");
        assert!(text.contains(expected.1), "{text}");
        let matches = u8::from(group == "user-info");
        let line =
            format!("ampoule_policy_rule_matches_total{{rule=\"own\",action=\"deny\",shadow=\"{shadow}\"}} {matches}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}
