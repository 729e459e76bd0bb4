//! Any edits on any pod: nothing panics, the patch leads to the pod, a second review changes nothing, the pod's own stays.
//!
//! The laws are those of the core's property tests; the fuzzer's bytes take the place of chance, and its coverage that of luck.

#![no_main]

/// What the property tests have.
#[path = "../../../host/core/tests/core"]
#[allow(dead_code, reason = "the target needs a part of it")]
mod core_tests {
    pub(crate) mod laws;
    pub(crate) mod support;
}
#[path = "edits/generate.rs"]
mod generate;

use libfuzzer_sys::fuzz_target;

use core_tests::{
    laws::{admitted, check_kept, check_second_review, scripted},
    support::{mutate, pod_asking},
};
use generate::Case;

fuzz_target!(|case: Case| {
    let Case { profile, spec, answers } = case;
    let pod = pod_asking(answers.len(), spec);
    let mutator = scripted(profile, &answers);
    let Some(first) = admitted(mutate(&mutator, &pod), &pod) else { return };
    check_kept(profile, &pod, &first);
    assert_eq!(check_second_review(&mutator, &first), Ok(()));
});
