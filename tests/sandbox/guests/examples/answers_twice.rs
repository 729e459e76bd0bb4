//! Gives two reasons, with an edit before, between and after them, and a warning.
//!
//! The first reason counts, and it discards the edits. The edits after it return an error, with
//! which the guest would trap if it were missing.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, request: &Request) {
    request.set_env("BEFORE", "x").expect("the edit is valid");
    request.not_found("the first reason");
    request.set_env("BETWEEN", "x").expect_err("the request has an answer");
    request.denied("the second reason");
    request.add_image_pull_secret("after").expect_err("the request has an answer");
    request.warn("a warning after the reasons");
}

ampoule_test_guests::raw_guest!("answers-twice", inject);
