//! Which expressions compile, their results, and their bounds.
//!
//! Messages are compared whole.

mod book;

use ampoule_core::{
    InjectorFacts, MountRequirement, PodView, PolicyAction, PolicyFinding, PolicyRule, RequestPolicy as _, RequestUser,
    RequestedSecret, Requester, SecretRequest,
};

use crate::{ADMISSION_BUDGET, CompiledPolicy, RULE_BUDGET};

fn rule(when: &str) -> PolicyRule {
    PolicyRule {
        name: "rule".to_owned(),
        when: when.to_owned(),
        action: PolicyAction::Deny,
        message: "no".to_owned(),
        shadow: false,
    }
}

fn compile(when: &str) -> Result<CompiledPolicy, String> {
    CompiledPolicy::compile(&[rule(when)]).map_err(|error| error.to_string())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod() -> PodView {
    PodView {
        namespace: "team-a-dev".to_owned(),
        name: "train".to_owned(),
        service_account: "trainer".to_owned(),
        labels: pairs(&[("app.kubernetes.io/name", "train"), ("tier", "gold")]),
        annotations: pairs(&[("owner", "ann@example.com")]),
        ..PodView::default()
    }
}

fn user() -> RequestUser {
    RequestUser {
        username: "system:serviceaccount:team-a-dev:runner".to_owned(),
        uid: "u-1".to_owned(),
        groups: vec!["system:authenticated".to_owned(), "team-a".to_owned()],
        extra: vec![("scopes".to_owned(), vec!["read".to_owned()])],
    }
}

fn request() -> RequestedSecret {
    let request = SecretRequest {
        group: "team-a-db".to_owned(),
        key: "password".to_owned(),
        group_version: "3".to_owned(),
        mount: MountRequirement::File,
        env_var: Some("DB".to_owned()),
        ..SecretRequest::default()
    };
    RequestedSecret::new("ampoule.dev/secrets[0]", request)
}

fn injector() -> InjectorFacts {
    InjectorFacts { name: "aws".to_owned(), builtin: true, config_map: false, reads_values: true }
}

/// The findings of one rule for a pod.
fn judge(when: &str, pod: &PodView, requester: &Requester) -> Vec<PolicyFinding> {
    let policy = compile(when).unwrap_or_else(|error| panic!("{when}: {error}"));
    let mut findings = Vec::new();
    let mut session = policy.open(pod, requester);
    session.judge(&request(), None, &mut findings);
    session.judge(&request(), Some(&injector()), &mut findings);
    findings
}

fn result(when: &str) -> Result<bool, String> {
    let findings = judge(when, &pod(), &Requester::User(user()));
    match &findings[..] {
        [] => Ok(false),
        [finding] => finding.error.clone().map_or(Ok(true), Err),
        more => panic!("{when}: {more:?}"),
    }
}

#[test]
fn every_variable_and_function_has_its_value() {
    for when in [
        "request.group == 'team-a-db' && request.key == 'password' && request.version == '3'",
        "request.mount == 'file' && request.variable == 'DB' && request.protocol == 'ampoule'",
        "pod.namespace == 'team-a-dev' && pod.name == 'train' && pod.serviceAccount == 'trainer'",
        "pod.labels['app.kubernetes.io/name'] == 'train' && pod.labels.tier == 'gold'",
        "pod.annotations.owner.endsWith('@example.com')",
        "user.username.startsWith('system:serviceaccount:') && user.uid == 'u-1'",
        "'team-a' in user.groups && user.extra.scopes == ['read']",
        "injector.name == 'aws' && injector.builtin && !injector.configMap && injector.readsValues",
        "request.group.contains('a-d')",
        "request.group.matches('^team-[a-z]+-db$')",
        "!request.group.matches('^team-b')",
        "has(pod.labels.tier) && !has(pod.labels.absent)",
        "'tier' in pod.labels && !('absent' in pod.labels)",
        "size(user.groups) == 2 && user.groups.size() > 1 && size('ab') < 3 && 'ab'.size() >= 2",
        "user.groups.exists(g, g == 'team-a') && user.groups.all(g, g != 'x')",
        "user.groups.exists_one(g, g.startsWith('team-'))",
        "user.groups.filter(g, g.startsWith('team-')) == ['team-a']",
        "user.groups.map(g, g + '!')[1] == 'team-a!'",
        "user.groups.map(g, g != 'team-a', size(g)) == [20]",
        "pod.labels.exists(k, pod.labels[k] == 'gold')",
        "{'team-a-dev': 'team-a-db'}[pod.namespace] == request.group",
        "(request.mount == 'file' ? 1 : 2) - 1 == 0 && -1 < 0 && 1 + 1 <= 2",
        "request.group < 'z' && request.group in ['x', 'team-a-db']",
        "[1] + [2] == [1, 2] && 'a' + 'b' == 'ab'",
        "pod.labels['absent'] == 'x' || true",
        "true",
    ] {
        assert_eq!(result(when), Ok(true), "{when}");
        assert_eq!(result(&format!("!({when})")), Ok(false), "!({when})");
    }
}

const AVAILABLE: &str = "is not available in rules; use size, startsWith, endsWith, contains, matches, has, all, exists, exists_one, filter \
     and map";

#[test]
fn a_rule_that_is_not_valid_names_the_position_and_the_reason() {
    let long = format!("request.key == '{}'", "x".repeat(4096));
    let deep = format!("{}true{}", "!(".repeat(80), ")".repeat(80));
    let lower = format!("line 1, column 23: lowerAscii {AVAILABLE}");
    let times = format!("line 1, column 19: * {AVAILABLE}");
    for (when, expected) in [
        ("", "must be an expression that returns bool"),
        ("request.group", "must return bool, not string"),
        ("request", "must return bool, not request"),
        (
            "request.team == 'a'",
            "line 1, column 8: unknown field request.team; use group, key, version, mount, variable, protocol",
        ),
        ("true &&\n  secret == 'a'", "line 2, column 3: unknown variable secret; use request, pod, user, injector"),
        ("pod.labels == request.group", "line 1, column 12: == does not accept (map(string, string), string)"),
        ("request == request", "line 1, column 9: request cannot be a value; use one of its fields"),
        ("request.key.startsWith(1)", "line 1, column 23: startsWith does not accept (string, int)"),
        ("request.key.lowerAscii() == 'a'", &lower),
        ("request.key.matches(request.group)", "line 1, column 20: the argument of matches must be a string literal"),
        ("request.key.matches('(')", "line 1, column 21: the regular expression is not valid: unclosed group"),
        (
            "request.key.matches('(a{1000}){1000}')",
            "line 1, column 21: the regular expression is larger than 65536 bytes when compiled; use a shorter one",
        ),
        ("request.key == null", "line 1, column 16: a literal must be bool, int or string"),
        ("request.key == 1", "line 1, column 13: == does not accept (string, int)"),
        ("size(request.key) * 2 == 4", &times),
        ("['a', 1] == ['a']", "line 1, column 7: a list cannot contain string and int"),
        ("{'a': 1, 'b': 'c'} == {'a': 1}", "line 1, column 15: a map cannot contain int and string"),
        ("{1: 'a'} == {1: 'a'}", "line 1, column 2: a key of a map must be string, not int"),
        ("{'a': 'b', 'a': 'c'} == {'a': 'b'}", "can never be evaluated: a map literal contains a key twice"),
        ("size(request.key) + 9223372036854775807 > 0", "can never be evaluated: an integer overflows"),
        (
            "pod.labels.map(k, k) == ['a']",
            "line 1, column 15: map and filter need a list; use all, exists or exists_one for a map",
        ),
        (
            "user.groups.exists(pod, pod == 'a')",
            "line 1, column 19: pod is reserved; use another name for the variable of the loop",
        ),
        ("user.groups.exists(g, g)", "line 1, column 19: || does not accept (bool, string)"),
        ("request.key.exists(c, c == 'a')", "line 1, column 19: string has no elements; a loop needs a list or a map"),
        ("request.?key == 'a'", "line 1, column 8: is not valid CEL: unsupported syntax '.?'"),
        ("Pod{name: 'a'} == Pod{}", "line 1, column 4: messages are not available in rules"),
        (&long, "has 4113 bytes; the limit is 4096"),
        (&deep, "line 1, column 129: the expression is nested more than 64 levels deep; simplify it"),
        (
            "user.groups.exists(a, user.groups.exists(b, a == b))",
            "can take 44636678 steps for the largest accepted pod; the limit is 500000; use fewer nested loops",
        ),
    ] {
        assert_eq!(compile(when).err().as_deref(), Some(expected), "{when}");
    }
    let error = compile("request.group ==").err().unwrap();
    assert!(
        error.starts_with("line 1, column 17: is not valid CEL: Syntax error: mismatched input '<EOF>'"),
        "{error}"
    );
}

#[test]
fn an_expression_of_the_maximum_length_does_not_exhaust_a_stack() {
    for (when, expected) in [
        (["1", &"+1".repeat(2000), " > 0"].concat(), "the expression is nested more than 64 levels deep; simplify it"),
        (
            ["(".repeat(1900), "true".to_owned(), ")".repeat(1900)].concat(),
            "is nested too deeply for the parser; simplify it",
        ),
        (["true", &" || true".repeat(500)].concat(), ""),
        ("[".repeat(4000), "is nested too deeply for the parser; simplify it"),
        (["'a'", &"+'a'".repeat(1000), " == 'a'"].concat(), "nested more than 64 levels deep"),
        (["pod", &".labels".repeat(500), " == 'a'"].concat(), "nested more than 64 levels deep"),
    ] {
        let error = compile(&when).err().unwrap_or_default();
        assert!(error.contains(expected) && error.len() < 400, "{when:.40}: {error}");
    }
}

#[test]
fn an_error_names_its_kind_and_no_value() {
    for (when, expected) in [
        ("pod.labels.absent == 'x'", "a map does not contain the key; use `in` or has() before the access"),
        ("user.groups[9] == 'x'", "a list index is out of bounds; compare it with size() before the access"),
        ("size(pod.name) + 9223372036854775802 + 1 > 0 && size(pod.name) == 5", "an integer overflows"),
        (
            "{'train': 'a', pod.name: 'b'}['train'] == 'a' && size(pod.labels) == 2",
            "a map literal contains a key twice",
        ),
    ] {
        assert_eq!(result(when), Err(expected.to_owned()), "{when}");
    }
}

#[test]
fn a_rule_fails_only_if_it_reads_an_input_above_its_bound() {
    let many = |count: usize| (0..count).map(|i| (format!("k{i:04}"), String::new())).collect::<Vec<_>>();
    let long = |bytes: usize| vec![("k".to_owned(), "v".repeat(bytes))];
    let labels = "pod.labels exceeds 256 entries, 512 bytes per key or 512 bytes per value";
    let annotations = "pod.annotations exceeds 256 entries, 512 bytes per key or 16384 bytes per value";
    let groups = "user.groups exceeds 512 entries or 512 bytes per entry";
    for (what, pod, user, when, expected) in [
        ("the most labels", PodView { labels: many(256), ..pod() }, user(), "'k' in pod.labels", None),
        ("too many labels", PodView { labels: many(257), ..pod() }, user(), "'k' in pod.labels", Some(labels)),
        ("labels that no rule reads", PodView { labels: many(257), ..pod() }, user(), "pod.name == ''", None),
        ("a long label", PodView { labels: long(513), ..pod() }, user(), "'x' in pod.labels", Some(labels)),
        (
            "the longest annotation",
            PodView { annotations: long(16384), ..pod() },
            user(),
            "'x' in pod.annotations",
            None,
        ),
        (
            "a long annotation",
            PodView { annotations: long(16385), ..pod() },
            user(),
            "'x' in pod.annotations",
            Some(annotations),
        ),
        (
            "too many groups",
            pod(),
            RequestUser { groups: vec![String::new(); 513], ..user() },
            "'x' in user.groups",
            Some(groups),
        ),
        (
            "a long name",
            PodView { name: "n".repeat(1025), ..pod() },
            user(),
            "pod.name == ''",
            Some("pod.name exceeds 1024 bytes"),
        ),
    ] {
        let findings = judge(when, &pod, &Requester::User(user));
        let errors: Vec<_> = findings.iter().map(|finding| finding.error.as_deref()).collect();
        let expected: Vec<_> = expected.map(Some).into_iter().collect();
        assert_eq!(errors, expected, "{what}");
    }
}

#[test]
fn a_user_in_an_invalid_form_fails_the_rules_that_read_it() {
    let findings = judge("'admin' in user.groups", &pod(), &Requester::Unreadable);
    assert_eq!(findings[0].error.as_deref(), Some("the review's userInfo is not valid"));
    assert_eq!(judge("request.group == ''", &pod(), &Requester::Unreadable), []);
}

/// Whatever a pod requests, the cost of its rules is below the budget, because each evaluation
/// takes its own upper bound from it first.
#[test]
fn the_rules_of_one_pod_stop_at_the_budget() {
    let when = "pod.annotations.exists(k, pod.annotations[k].contains('x'))";
    let policy = compile(when).unwrap();
    let [largest] = policy.costs()[..] else { panic!("one rule") };
    assert!((RULE_BUDGET / 2..=RULE_BUDGET).contains(&largest), "{largest}");
    let annotations = (0..256).map(|i| (format!("{i:0512}"), "v".repeat(16384))).collect();
    let (pod, requester) = (PodView { annotations, ..pod() }, Requester::default());
    let mut session = policy.open(&pod, &requester);
    let mut findings = Vec::new();
    let evaluations = ADMISSION_BUDGET / largest;
    for _ in 0..evaluations {
        session.judge(&request(), None, &mut findings);
    }
    assert_eq!(findings, [], "{evaluations} evaluations fit");
    for _ in 0..256 {
        session.judge(&request(), None, &mut findings);
    }
    let budget = "the rules exceed the budget of 2000000 steps for one pod; request fewer secrets, or use fewer rules";
    assert!(findings.len() >= 254 && findings.iter().all(|finding| finding.error.as_deref() == Some(budget)));
}

/// A pod of the usual size may request the maximum number of secrets.
#[test]
fn a_usual_pod_with_many_secrets_is_within_the_budget() {
    let rules = [
        "!request.group.startsWith(pod.namespace + '-')",
        "!(pod.serviceAccount in ['a', 'b']) && user.groups.exists(g, g == 'x')",
        "request.key.matches('^[a-z]+/\\\\.\\\\.')",
    ];
    let policy = CompiledPolicy::compile(&rules.map(rule)).unwrap();
    let (pod, requester) = (pod(), Requester::User(user()));
    let mut session = policy.open(&pod, &requester);
    let mut findings = Vec::new();
    for _ in 0..256 {
        session.judge(&request(), None, &mut findings);
    }
    assert!(findings.iter().all(|finding| finding.error.is_none()), "{findings:?}");
}

#[test]
fn findings_are_in_the_order_of_the_rules_and_report_what_each_rule_does() {
    let named = |name: &str, action, shadow| PolicyRule { name: name.to_owned(), action, shadow, ..rule("true") };
    let rules = [
        named("first", PolicyAction::Audit, false),
        named("second", PolicyAction::Deny, true),
        named("third", PolicyAction::Deny, false),
        PolicyRule { when: "injector.builtin".to_owned(), ..named("fourth", PolicyAction::Warn, false) },
    ];
    let policy = CompiledPolicy::compile(&rules).unwrap();
    let (pod, requester) = (pod(), Requester::default());
    let mut session = policy.open(&pod, &requester);
    let mut findings = Vec::new();
    session.judge(&request(), None, &mut findings);
    session.judge(&request(), Some(&injector()), &mut findings);
    let seen = findings.iter().map(|one| (&*one.rule, one.denies(), one.warns(), one.injector.as_deref()));
    let expected = [
        ("first", false, false, None),
        ("second", false, false, None),
        ("third", true, false, None),
        ("fourth", false, true, Some("aws")),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    assert_eq!(findings[2].to_string(), "policy rule third: no");
}

#[test]
fn the_first_rule_that_does_not_compile_has_its_index() {
    let error = CompiledPolicy::compile(&[rule("true"), rule("pod.x == ''"), rule("")]).err().unwrap();
    assert_eq!(error.index, 1);
}
