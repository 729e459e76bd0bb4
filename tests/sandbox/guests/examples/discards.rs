//! Makes a valid edit and one that is not valid, discards both, and makes another valid one.
//!
//! Only the last edit is the answer.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, request: &Request) {
    request.set_env("FIRST", "x").expect("the edit is valid");
    request.set_env("A=B", "x").expect_err("the name is not valid");
    request.discard_edits();
    request.set_env("LAST", "x").expect("the edit is valid");
}

ampoule_test_guests::raw_guest!("discards", inject);
