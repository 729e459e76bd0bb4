//! A helper of the stores' tests: [`fetch`] asks a plugin that runs natively, with one answer of
//! its store.

use ampoule_plugin_sdk::{
    Injector, SecretRequest,
    http::Response,
    testing::{Harness, answer_http, show, show_value},
};
use serde_json::Value;

/// Injects, then fetches the promise; the answer has this status and body.
pub(crate) fn fetch<I: Injector>(harness: &Harness<I>, request: &SecretRequest, status: u16, body: Value) -> String {
    let promise = show(&harness.inject(request));
    let promise = promise.lines().next().and_then(|line| line.split_once(" = promise ")).unwrap().1.to_owned();
    answer_http(move |_| Ok(Response::json_body(status, &body)));
    show_value(&harness.fetch(&promise))
}
