//! Returns without an edit and without a reason.
//!
//! The host reports a failure of the plugin.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, _request: &Request) {}

ampoule_test_guests::raw_guest!("answers-never", inject);
