//! Makes a promise, and answers neither with its value nor with a reason.
//!
//! The host reports a failure of the plugin.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, request: &Request) {
    request.set_env_from_promise("PROMISED", "the promise").expect("the edit is valid");
}

ampoule_test_guests::raw_guest!("promise-without-value", inject);
