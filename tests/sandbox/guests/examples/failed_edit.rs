//! Makes an edit that is not valid, ignores the error, and makes a valid one.
//!
//! The invalid edit fails the request.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, request: &Request) {
    request.set_env("A=B", "x").expect_err("the name is not valid");
    request.set_env("VALID", "x").expect("the edit is valid");
}

ampoule_test_guests::raw_guest!("failed-edit", inject);
