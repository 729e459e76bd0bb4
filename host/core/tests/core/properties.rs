//! Properties for any pod and any edits: the patch is exact, a second review changes nothing, and
//! all other content stays.
//!
//! The laws are in `laws`, which the fuzz target of the edits shares.

use ampoule_core::diff;
use proptest::{collection::vec, prelude::*};
use serde_json::json;

use crate::{
    generate::{any_answer, any_json, any_profile, any_spec},
    laws::{admitted, check_kept, check_second_review, scripted},
    support::{mutate, pod_asking},
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_turns_the_first_document_into_the_second(before in any_json(), after in any_json()) {
        let patch = diff(&before, after.clone());
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).expect("the patch applies");
        prop_assert_eq!(&patched, &after);
        prop_assert_eq!(diff(&before, after.clone()), patch);
    }

    #[test]
    fn a_second_review_changes_nothing(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let mutator = scripted(profile, &answers);
        if let Some(first) = admitted(mutate(&mutator, &pod), &pod) {
            prop_assert_eq!(check_second_review(&mutator, &first), Ok(()));
        }
    }

    #[test]
    fn a_second_review_serves_containers_of_another_webhook_and_a_third_changes_nothing(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let mutator = scripted(profile, &answers);
        if let Some(mut meshed) = admitted(mutate(&mutator, &pod), &pod) {
            for list in ["initContainers", "containers"] {
                if meshed["spec"][list].is_null() {
                    meshed["spec"][list] = json!([]);
                }
                let containers = meshed["spec"][list].as_array_mut();
                let containers = containers.expect("containers are a list");
                containers.insert(0, json!({ "name": format!("mesh-{list}"), "image": "mesh:1" }));
            }
            let second = mutate(&mutator, &meshed);
            prop_assert!(second.outcome.is_ok(), "{:?}", second.outcome);
            let second = admitted(second, &meshed).expect("the pod is admitted");
            prop_assert_eq!(admitted(mutate(&mutator, &second), &second), Some(second));
        }
    }

    #[test]
    fn the_content_of_the_pod_is_kept(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        if let Some(after) = admitted(mutate(&scripted(profile, &answers), &pod), &pod) {
            check_kept(profile, &pod, &after);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let answer = || match mutate(&scripted(profile, &answers), &pod).outcome {
            Ok(admitted) => serde_json::to_string(&admitted.patch).expect("a patch is JSON"),
            Err(refusal) => refusal.message,
        };
        prop_assert_eq!(answer(), answer());
    }
}
