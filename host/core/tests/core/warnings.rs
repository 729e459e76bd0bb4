//! Tests of the warnings for an admitted pod, and of the pods without warnings.
//!
//! `kubectl` prints the warnings. For a pod that a controller creates, they are in its log.

use ampoule_core::{Profile, SecretRequest};
use serde_json::{Value, json};

use crate::{
    edits::literal,
    support::{Scripted, mutate, mutated, mutator},
};

const NO_REQUEST: &str = "label ampoule.dev/inject has no effect: no annotation or variable requests a secret; \
     list secrets in annotation ampoule.dev/secrets";
const MISSPELT: &str = "annotation ampoule.dev/secret is ignored: list secrets in annotation ampoule.dev/secrets";
const SECOND_IS_REDUNDANT: &str =
    "annotation flyte.secrets/s1 is redundant: flyte.secrets/s0 already requests secret g/k";
const THIRD_IS_REDUNDANT: &str =
    "annotation flyte.secrets/s2 is redundant: flyte.secrets/s0 already requests secret g/k";

/// Returns the warnings for a pod with these annotations and containers. Every secret is injected
/// as variable `SECRET`.
fn warnings(profile: Profile, annotations: &Value, containers: &Value) -> Vec<String> {
    let pod = pod(annotations, containers);
    mutate(&injects(profile), &pod).outcome.expect("the pod is admitted").warnings
}

fn injects(profile: Profile) -> ampoule_core::PodMutator {
    mutator(profile, vec![Scripted::edits("a", vec![literal("SECRET", "hush")])])
}

fn pod(annotations: &Value, containers: &Value) -> Value {
    let labels = json!({ "ampoule.dev/inject": "true" });
    json!({
        "metadata": { "annotations": annotations, "labels": labels },
        "spec": { "containers": containers },
    })
}

fn flyte(key: &str) -> String {
    SecretRequest { group: "g".to_owned(), key: key.to_owned(), ..SecretRequest::default() }.to_flyte_annotation()
}

#[test]
fn ignored_and_redundant_annotations_are_named() {
    let one = json!([{ "name": "main" }]);
    for (annotations, expected) in [
        (json!({ "flyte.secrets/s0": flyte("k") }), vec![]),
        (json!({ "ampoule.dev/secrets": "[{ group: g, key: K }]", "prometheus.io/scrape": "true" }), vec![]),
        (
            json!({
                "flyte.secrets/s0": flyte("k"), "ampoule.dev/versions": "{}", "ampoule.dev/rollout": "false",
                "ampoule.dev/restarted-for": "0", "ampoule.dev/refresh-seconds": "60",
            }),
            vec![],
        ),
        (json!({}), vec![NO_REQUEST]),
        (json!({ "ampoule.dev/secret": "[{ key: K }]" }), vec![MISSPELT, NO_REQUEST]),
        (
            json!({ "ampoule.dev/inject": "true" }),
            vec!["annotation ampoule.dev/inject is ignored: it is a label", NO_REQUEST],
        ),
        (
            json!({
                "flyte.secrets/s0": flyte("k"),
                "flyte.secrets/0": flyte("l"),
                "ampoule.dev/x\u{1b}": "",
            }),
            vec![
                "annotation ampoule.dev/x\\u{1b} is ignored: list secrets in annotation \
                 ampoule.dev/secrets",
                "annotation flyte.secrets/0 is ignored: keys of Flyte's secrets begin with \
                 flyte.secrets/s",
            ],
        ),
        (
            json!({
                "flyte.secrets/s0": flyte("k"),
                "flyte.secrets/s1": flyte("l"),
                "flyte.secrets/s2": flyte("k"),
            }),
            vec![THIRD_IS_REDUNDANT],
        ),
        (
            json!({
                "flyte.secrets/s0": flyte("k"),
                "flyte.secrets/s1": flyte("k"),
                "flyte.secrets/s2": flyte("k"),
            }),
            vec![SECOND_IS_REDUNDANT, THIRD_IS_REDUNDANT],
        ),
    ] {
        assert_eq!(warnings(Profile::FlyteV1, &annotations, &one), expected, "{annotations}");
    }
}

#[test]
fn a_variable_with_the_name_of_an_injected_one_is_named_with_the_effect() {
    let annotations = json!({ "flyte.secrets/s0": flyte("k") });
    let own = |name: &str, value: &str| {
        json!({
            "name": name,
            "env": [{ "name": "SECRET", "value": value }],
        })
    };
    let kept = "keeps its value; the secret is not injected";
    let replaced = "is replaced by the secret";
    for (containers, expected) in [
        (json!([{ "name": "a" }, own("b", "hush")]), None),
        (json!([{ "name": "a" }, own("b", "mine")]), Some("environment variable SECRET of container b")),
        (
            json!([own("a", "mine"), own("b", "hush"), own("c", "x"), own("d", "y")]),
            Some("environment variable SECRET of container a and 2 more"),
        ),
    ] {
        for (profile, end) in [(Profile::FlyteV1, kept), (Profile::FlyteV2, replaced)] {
            let expected: Vec<_> = expected.iter().map(|expected| format!("{expected} {end}")).collect();
            assert_eq!(warnings(profile, &annotations, &containers), expected, "{containers}");
        }
    }
    let twice = json!({ "flyte.secrets/s0": flyte("k"), "flyte.secrets/s1": flyte("l") });
    let expected = [format!("environment variable SECRET of container a {kept}")];
    assert_eq!(
        warnings(Profile::FlyteV1, &twice, &json!([own("a", "mine")])),
        expected,
        "one warning for both secrets"
    );

    let first = pod(&annotations, &json!([own("a", "mine")]));
    let second = mutated(&injects(Profile::FlyteV2), &first);
    assert_eq!(mutate(&injects(Profile::FlyteV2), &second).outcome.unwrap().warnings, Vec::<String>::new());
}

#[test]
fn the_number_of_warnings_is_limited() {
    let annotations: serde_json::Map<_, _> = (0..100).map(|i| (format!("ampoule.dev/{i:02}"), json!(""))).collect();
    let warnings = warnings(Profile::FlyteV1, &annotations.into(), &json!([{ "name": "main" }]));
    assert_eq!((warnings.len(), warnings[14].as_str()), (15, "and 87 more warnings"));
}

/// Checks the warnings about containers, for a pod with a request and for one without.
fn every_profile_warns(containers: &Value, expected: &[String]) {
    for profile in [Profile::FlyteV1, Profile::FlyteV2, Profile::Plain] {
        let with_request = json!({ "flyte.secrets/s0": flyte("k") });
        assert_eq!(warnings(profile, &with_request, containers), expected, "{profile}");
        let without = warnings(profile, &json!({}), containers);
        assert_eq!(without.split_last(), Some((&NO_REQUEST.to_owned(), expected)), "{profile}");
    }
}

#[test]
fn a_value_that_was_meant_as_a_reference_is_named_without_its_text() {
    let env = |values: &[&str]| {
        let variables = values.iter().enumerate();
        let variables = variables.map(|(i, value)| json!({ "name": format!("V{i}"), "value": value }));
        variables.collect::<Value>()
    };
    let form = "is not a reference, but resembles one; write secret://GROUP/KEY or secret://INJECTOR/GROUP/KEY";
    let embedded = "contains a reference, but only a whole value is one; write secret://GROUP/KEY in a variable before \
                    it, and $(NAME) here";
    let containers = json!([
        { "name": "one", "env": env(&["fine", "secret:/db/hush"]) },
        { "name": "two", "env": env(&["Secret://db/hush", "x secret://db/hush", "secret:db/hush"]) },
        { "name": "three", "env": env(&["secret", "hush"]) },
    ]);
    let expected = [
        format!("the value of variable V1 of container one {form}"),
        format!("the value of variable V0 (and 1 more) of container two {form}"),
        format!("the value of variable V1 of container two {embedded}"),
    ];
    every_profile_warns(&containers, &expected);
}

#[test]
fn a_word_of_a_command_that_was_meant_as_a_reference_is_named_without_its_text() {
    let containers = json!([
        { "name": "one", "command": ["run", "--hush=secret:/db/hush"], "args": ["fine", "x:y"] },
        { "name": "two", "args": ["Secret://db/hush", "--a=b", "vault:db#hush"], "env": [{ "name": "A", "value": "b" }] },
        { "name": "three", "args": ["https://hush", "secret:hush"] },
    ]);
    let rest = "has a text that resembles a reference and is left as it is; write secret://GROUP/KEY as the value of a \
                variable, and $(NAME) here";
    let expected =
        [format!("command[1] of container one {rest}"), format!("args[0] (and 1 more) of container two {rest}")];
    every_profile_warns(&containers, &expected);
}

#[test]
fn a_text_with_a_variable_that_only_other_containers_get_is_named() {
    let for_worker = json!({ "ampoule.dev/secrets": "[{ group: g, key: k, env: SECRET, containers: [worker] }]" });
    let with_words = |name: &str| {
        json!({
            "name": name,
            "command": ["run", "$(SECRET)", "$(SECRET)"],
            "args": ["$$(SECRET)", "$(OTHER)", "--x=$(SECRET)"],
            "env": [{ "name": "URL", "value": "db:$(SECRET)@db" }],
        })
    };
    let own = json!({ "name": "own", "args": ["$(SECRET)"], "env": [{ "name": "SECRET", "value": "mine" }] });
    let from = json!({ "name": "from", "args": ["$(SECRET)"], "envFrom": [{ "secretRef": { "name": "s" } }] });
    let containers = json!([{ "name": "worker", "args": ["$(SECRET)"] }, with_words("web"), own, from]);
    let why = "of container web keeps the text $(SECRET), because only other containers get the secret";
    let expected = ["environment variable URL", "command[1]", "command[2]", "args[2]"];
    let expected = expected.map(|place| format!("{place} {why}"));
    for profile in [Profile::FlyteV1, Profile::FlyteV2, Profile::Plain] {
        assert_eq!(warnings(profile, &for_worker, &containers), expected, "{profile}");
    }
    let for_all = json!({ "ampoule.dev/secrets": "[{ group: g, key: k, env: SECRET }]" });
    let containers = json!([{ "name": "worker", "args": ["$(SECRET)"] }, { "name": "web", "args": ["$(SECRET)"] }]);
    assert_eq!(warnings(Profile::Plain, &for_all, &containers), Vec::<String>::new());
    // A reference in place is a variable of its container alone.
    let reference = json!([{ "name": "SECRET", "value": "secret://g/k" }]);
    let containers = json!([{ "name": "worker", "env": reference, "args": ["$(SECRET)"] }, with_words("web")]);
    assert_eq!(warnings(Profile::Plain, &json!({}), &containers), expected);
}

#[test]
fn a_reference_and_an_annotation_for_one_variable_are_one_secret() {
    let annotations = json!({ "ampoule.dev/secrets": "[{ group: g, key: k, env: SECRET }]" });
    let own = |name: &str, value: &str| json!({ "name": name, "env": [{ "name": "SECRET", "value": value }] });
    let both = "is a reference, and an annotation requests the same secret for it; remove one of them";
    for (profile, effect) in [
        (Profile::FlyteV1, "keeps its value; the secret is not injected"),
        (Profile::Plain, "keeps its value; the secret is not injected"),
        (Profile::FlyteV2, "is replaced by the secret"),
    ] {
        let containers = json!([own("a", "mine"), own("b", "secret://g/k"), own("c", "secret://g/k")]);
        let expected = [
            format!("environment variable SECRET of container a {effect}"),
            format!("environment variable SECRET of container b and 1 more {both}"),
        ];
        assert_eq!(warnings(profile, &annotations, &containers), expected, "{profile}");
        let pod = pod(&annotations, &containers);
        let pod = mutated(&injects(profile), &pod);
        for position in [1, 2] {
            let variable = &pod["spec"]["containers"][position]["env"][0];
            assert_eq!(*variable, json!({ "name": "SECRET", "value": "hush" }), "{profile}: what really happens");
        }
    }
}
