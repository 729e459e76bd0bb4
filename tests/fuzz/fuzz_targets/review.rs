//! The parser of `AdmissionReview`, and the answer to accepted reviews.
//!
//! The pod under review must be unchanged, and no error may repeat data from the body.

#![no_main]

use ampoule_review::{self as review, Reply, ReviewSubject, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let request = match review::parse(body) {
        Ok(request) => request,
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= 512 && !message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    let verdict = match &request.subject {
        ReviewSubject::Pod(pod) => {
            // A skipped field may hold data that a complete parser rejects.
            if let Ok(review) = serde_json::from_slice::<Value>(body) {
                assert_eq!(pod.as_json(), &review["request"]["object"]);
            }
            let _ = pod.view(&request.namespace);
            let _ = ampoule_core::RequestedSecret::from_annotations(pod.annotations());
            Verdict::unchanged()
        }
        ReviewSubject::NotAPod(error) => Verdict::Refused { code: 400, reason: "BadRequest", message: error.to_string(), retry_after: None },
        ReviewSubject::OutOfScope => Verdict::unchanged(),
    };
    let reply = Reply { identity: request.identity, verdict, audit: None };
    let answer: Value = serde_json::from_slice(&review::respond(&reply)).expect("an answer is JSON");
    assert_eq!(answer["response"]["uid"], *reply.identity.uid);
    assert_eq!(answer["apiVersion"], reply.identity.version.api_version());
});
