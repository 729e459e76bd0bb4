//! Arbitrary edits of a plugin on an arbitrary pod: they are converted if they respect their
//! limits; nothing panics, the patch results in the pod, a second review changes nothing, and the
//! pod's own fields are kept.
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
/// The contract's types from the guest's side. The engine's own are generated from the same WIT, by
/// wasmtime.
mod contract {
    pub(crate) mod v0_1 {
        pub(crate) mod bindings {
            pub(crate) use ampoule_plugin_sdk::bindings::ampoule;
        }
    }
}
/// The engine's conversion is compiled here from its source, because its types come from wasmtime's
/// bindings and an instrumented wasmtime would slow down every execution. Contract 0.2 has no list
/// of edits to convert, and removes this.
#[path = "../../../host/engine/src/contract/v0_1/conversion/edits.rs"]
mod conversion;
#[path = "edits/generate.rs"]
mod generate;
mod sandbox {
    pub(crate) mod limits {
        /// The part of the engine's type that the conversion uses.
        #[derive(Debug, PartialEq, Eq)]
        pub(crate) enum ExceededLimit {
            Edits(usize),
            OutputBytes,
        }
    }
}

use ampoule_core::{Limits, PodEdit};
use ampoule_plugin_sdk::Edit;
use libfuzzer_sys::fuzz_target;

use core_tests::{
    laws::{admitted, check_kept, check_second_review, scripted},
    support::{mutate, pod_asking},
};
use generate::Case;
use sandbox::limits::ExceededLimit;

fuzz_target!(|case: Case| {
    let Case { profile, spec, answers, most_edits, most_bytes } = case;
    let limits = Limits { edits: most_edits, output_bytes: most_bytes, ..Limits::default() };
    let Some(answers) = answers.into_iter().map(|answer| convert(answer, &limits)).collect::<Option<Vec<_>>>() else {
        return;
    };
    let pod = pod_asking(answers.len(), spec);
    let mutator = scripted(profile, &answers);
    let Some(first) = admitted(mutate(&mutator, &pod), &pod) else { return };
    check_kept(profile, &pod, &first);
    assert_eq!(check_second_review(&mutator, &first), Ok(()));
});

/// All edits, unless their number or size exceeds the limits.
fn convert(answer: Vec<Edit>, limits: &Limits) -> Option<Vec<PodEdit>> {
    // Every byte of an edit is at least one character of this text.
    let (count, at_most) = (answer.len(), format!("{answer:?}").len());
    match conversion::convert_edits(answer, limits) {
        Ok(edits) => {
            assert!(edits.len() == count && count <= limits.edits);
            Some(edits)
        }
        Err(ExceededLimit::Edits(found)) => {
            assert!(found == count && count > limits.edits);
            None
        }
        Err(exceeded) => {
            assert_eq!(exceeded, ExceededLimit::OutputBytes);
            assert!(at_most > limits.output_bytes, "{at_most} are within {}", limits.output_bytes);
            None
        }
    }
}
