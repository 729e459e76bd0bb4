//! A description with an empty name.
//!
//! The host rejects it at load.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(_settings: &str, _pod: &Pod, _request: &Request) {}

ampoule_test_guests::raw_guest!("", inject);
