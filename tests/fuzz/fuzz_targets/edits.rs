//! Arbitrary edits of a plugin on an arbitrary pod: nothing panics, the patch results in the pod, a
//! second review changes nothing, and the pod's own fields are kept.
//!
//! The laws are those of the core's property tests, with the fuzzer's bytes instead of random
//! values.

#![no_main]

/// The laws of the core's property tests.
#[path = "../../../host/core/tests/core"]
#[allow(dead_code, reason = "the target needs a part of it")]
mod core_tests {
    pub(crate) mod laws;
    pub(crate) mod support;
}
#[path = "edits/generate.rs"]
mod generate;

use ampoule_core::PodEdit;
use libfuzzer_sys::fuzz_target;

use core_tests::{
    laws::{admitted, check_kept, check_second_review, scripted},
    support::{mutate, pod_asking},
};
use generate::Case;

fuzz_target!(|case: Case| {
    let Case { profile, spec, answers } = case;
    let answers: Vec<_> = answers.into_iter().map(valid).collect();
    let pod = pod_asking(answers.len(), spec);
    let mutator = scripted(profile, &answers);
    let Some(first) = admitted(mutate(&mutator, &pod), &pod) else { return };
    check_kept(profile, &pod, &first);
    assert_eq!(check_second_review(&mutator, &first), Ok(()));
});

/// The edits that the host accepts when a plugin makes them.
fn valid(mut edits: Vec<PodEdit>) -> Vec<PodEdit> {
    edits.retain(|edit| edit.validate().is_ok());
    edits
}
