//! The ready-made rules of the book: each is read from the page and decides as the page describes.
//!
//! The blocks are complete configurations.

use ampoule_config::Config;
use ampoule_core::{
    InjectorFacts, MountRequirement, PodView, PolicyFinding, RequestPolicy as _, RequestUser, RequestedSecret,
    Requester, SecretRequest,
};

use crate::CompiledPolicy;

/// Whether the page's rule of this name denies, for a pod of any user and an injector.
fn decide(name: &str, pod: &PodView, request: &RequestedSecret, injector: &InjectorFacts) -> bool {
    decide_for(name, pod, request, injector, &Requester::default())
}

/// Whether the page's rule of this name denies, for a pod of a user.
fn decide_for(
    name: &str,
    pod: &PodView,
    request: &RequestedSecret,
    injector: &InjectorFacts,
    requester: &Requester,
) -> bool {
    let page = include_str!("../../../../docs/src/policy.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next());
    let mut configs = blocks.map(|yaml| Config::parse(yaml, &["k8s"]).unwrap());
    let config = configs.find(|config| config.policy[0].name == name).expect("the page has the rule");
    let policy = CompiledPolicy::compile(&config.policy).unwrap();
    let mut findings = Vec::new();
    let mut session = policy.open(pod, requester);
    session.judge(request, None, &mut findings);
    session.judge(request, Some(injector), &mut findings);
    assert!(findings.iter().all(|finding| finding.error.is_none()), "{findings:?}");
    findings.iter().any(PolicyFinding::denies)
}

#[test]
fn the_ready_made_rules_of_the_book_decide_as_described() {
    use MountRequirement::{EnvVar, File};
    for (rule, namespace, account, group, key, mount, reads_values, expected) in [
        ("namespace-owns-group", "team-a", "", "team-a", "k", File, true, false),
        ("namespace-owns-group", "team-a", "", "team-a-db", "k", File, true, false),
        ("namespace-owns-group", "team-a", "", "team-ab", "k", File, true, true),
        ("namespace-owns-group", "team-a", "", "", "k", File, true, true),
        ("service-accounts", "a", "trainer", "g", "k", File, true, false),
        ("service-accounts", "a", "", "g", "k", File, true, true),
        ("files-below-mount", "a", "", "g", "a/b..c", File, true, false),
        ("files-below-mount", "a", "", "g", "a/../b", File, true, true),
        ("files-below-mount", "a", "", "..", "k", File, true, true),
        ("files-below-mount", "a", "", "/etc", "k", File, true, true),
        ("files-below-mount", "a", "", "/etc", "k", EnvVar, true, false),
        ("no-values-in-sandbox", "sandbox", "", "g", "k", File, true, true),
        ("no-values-in-sandbox", "sandbox", "", "g", "k", File, false, false),
        ("no-values-in-sandbox", "other", "", "g", "k", File, true, false),
        ("no-database-password", "a", "", "db", "pass_word", EnvVar, true, true),
        ("no-database-password", "a", "", "DB_Pass", "word", EnvVar, true, true),
        ("no-database-password", "a", "", "db", "pass", EnvVar, true, false),
    ] {
        let pod =
            PodView { namespace: namespace.to_owned(), service_account: account.to_owned(), ..PodView::default() };
        let (group, key) = (group.to_owned(), key.to_owned());
        let request = SecretRequest { group, key, mount, ..SecretRequest::default() };
        let request = RequestedSecret::new("flyte.secrets/s0", request);
        let injector = InjectorFacts { reads_values, ..InjectorFacts::default() };
        assert_eq!(decide(rule, &pod, &request, &injector), expected, "{rule} {namespace} {account} {request:?}");
    }
}

#[test]
fn only_flytes_executor_may_create_pods_with_secrets_of_the_injector_embedded() {
    let executor = "system:serviceaccount:flyte:flyte-executor";
    let request = RequestedSecret::new("flyte.secrets/s0", SecretRequest::default());
    for (injector, user, expected) in [
        ("embedded", executor, false),
        ("embedded", "system:serviceaccount:flyte:flyte-executor-2", true),
        ("embedded", "system:serviceaccount:team:flyte-executor", true),
        ("embedded", "", true),
        ("k8s", "alice", false),
    ] {
        let facts = InjectorFacts { name: injector.to_owned(), ..InjectorFacts::default() };
        let requester = Requester::User(RequestUser { username: user.to_owned(), ..RequestUser::default() });
        let denied = decide_for("embedded-by-executor", &PodView::default(), &request, &facts, &requester);
        assert_eq!(denied, expected, "{injector} {user}");
    }
}
