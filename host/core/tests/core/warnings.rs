//! What an admitted pod's author is warned of, in whole texts, and that nobody is warned for nothing.
//!
//! `kubectl` shows them; a pod made by a controller has them in that controller's log.

use ampoule_core::{Profile, SecretRequest};
use serde_json::{Value, json};

use crate::{
    edits::literal,
    support::{Scripted, mutate, mutated, mutator},
};

const UNCHANGED: &str =
    "label ampoule.dev/inject has no effect: no annotation asks for a secret (ampoule.dev/secrets is a list of them)";

/// The warnings of a pod with these annotations and containers, every secret of which is put into `SECRET`.
fn warnings(profile: Profile, annotations: &Value, containers: &Value) -> Vec<String> {
    let pod = pod(annotations, containers);
    mutate(&injects(profile), &pod).outcome.expect("it is admitted").warnings
}

fn injects(profile: Profile) -> ampoule_core::PodMutator {
    mutator(profile, vec![Scripted::edits("a", vec![literal("SECRET", "hush")])])
}

fn pod(annotations: &Value, containers: &Value) -> Value {
    let labels = json!({ "ampoule.dev/inject": "true" });
    json!({ "metadata": { "annotations": annotations, "labels": labels }, "spec": { "containers": containers } })
}

fn flyte(key: &str) -> String {
    SecretRequest { group: "g".to_owned(), key: key.to_owned(), ..SecretRequest::default() }.to_flyte_annotation()
}

#[test]
fn what_nobody_reads_is_named() {
    let one = json!([{ "name": "main" }]);
    for (annotations, expected) in [
        (json!({ "flyte.secrets/s0": flyte("k") }), vec![]),
        (json!({ "ampoule.dev/secrets": "[{ key: K }]", "prometheus.io/scrape": "true" }), vec![]),
        (json!({}), vec![UNCHANGED]),
        (
            json!({ "ampoule.dev/secret": "[{ key: K }]" }),
            vec![
                "annotation ampoule.dev/secret is ignored: ampoule.dev/secrets is the annotation for secrets",
                UNCHANGED,
            ],
        ),
        (
            json!({ "flyte.secrets/s0": flyte("k"), "flyte.secrets/0": flyte("l"), "ampoule.dev/x\u{1b}": "" }),
            vec![
                "annotation ampoule.dev/x\\u{1b} is ignored: ampoule.dev/secrets is the annotation for secrets",
                "annotation flyte.secrets/0 is ignored: Flyte's begin with flyte.secrets/s",
            ],
        ),
        (
            json!({ "flyte.secrets/s0": flyte("k"), "flyte.secrets/s1": flyte("l"), "flyte.secrets/s2": flyte("k") }),
            vec!["annotation flyte.secrets/s2 is not needed: it asks for secret g/k as flyte.secrets/s0 does"],
        ),
        (
            json!({ "flyte.secrets/s0": flyte("k"), "flyte.secrets/s1": flyte("k"), "flyte.secrets/s2": flyte("k") }),
            vec![
                "annotation flyte.secrets/s1 is not needed: it asks for secret g/k as flyte.secrets/s0 does",
                "annotation flyte.secrets/s2 is not needed: it asks for secret g/k as flyte.secrets/s0 does",
            ],
        ),
    ] {
        assert_eq!(warnings(Profile::FlyteV1, &annotations, &one), expected, "{annotations}");
    }
}

#[test]
fn a_variable_of_the_pods_own_is_named_with_what_becomes_of_it() {
    let annotations = json!({ "flyte.secrets/s0": flyte("k") });
    let own = |name: &str, value: &str| json!({ "name": name, "env": [{ "name": "SECRET", "value": value }] });
    let kept = "stays as it is, without the secret";
    let replaced = "gives way to the secret";
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
    assert_eq!(warnings(Profile::FlyteV1, &twice, &json!([own("a", "mine")])), expected, "for both secrets once");

    let first = pod(&annotations, &json!([own("a", "mine")]));
    let second = mutated(&injects(Profile::FlyteV2), &first);
    assert_eq!(mutate(&injects(Profile::FlyteV2), &second).outcome.unwrap().warnings, Vec::<String>::new());
}

#[test]
fn warnings_are_so_few_that_the_api_server_shows_them() {
    let annotations: serde_json::Map<_, _> = (0..100).map(|i| (format!("ampoule.dev/{i:02}"), json!(""))).collect();
    let warnings = warnings(Profile::FlyteV1, &annotations.into(), &json!([{ "name": "main" }]));
    assert_eq!((warnings.len(), warnings[14].as_str()), (15, "and 87 more warnings"));
}
