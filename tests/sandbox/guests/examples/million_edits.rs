//! Sets a million variables, or as many as the number in its settings.
//!
//! Each edit is a call of the host, which stops the guest at a limit.

use ampoule_plugin_sdk::runtime::injector::{Pod, Request};

fn inject(settings: &str, _pod: &Pod, request: &Request) {
    let digits: String = settings.chars().filter(char::is_ascii_digit).collect();
    for number in 0..digits.parse().unwrap_or(1_000_000) {
        // A refusal must not stop the guest.
        let _ = request.set_env(&format!("N{number}"), "x");
    }
}

ampoule_test_guests::raw_guest!("million-edits", inject);
