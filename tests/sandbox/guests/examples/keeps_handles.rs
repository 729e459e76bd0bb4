//! Uses handles in ways that the group of the request selects: across calls, twice, as another
//! type, after a drop, with an invented number, or without end.
//!
//! A handle of a volume or an init container survives a call of the same instance. Every other way
//! traps, or exceeds a limit.

use std::cell::RefCell;

use ampoule_plugin_sdk::{
    bindings::ampoule::injector::admission::{InitContainer, Volume},
    runtime::injector::{Pod, Request},
};

thread_local! {
    static KEPT: RefCell<Option<(Volume, InitContainer)>> = const { RefCell::new(None) };
}

#[allow(unsafe_code, reason = "the purpose of this guest")]
fn inject(_settings: &str, _pod: &Pod, request: &Request) {
    let added = match request.group().as_str() {
        // The first call keeps the handles, and the next one uses them.
        "kept" => match KEPT.take() {
            Some((volume, container)) => {
                container.command(&["later".to_owned()]);
                request.add_volume("kept", volume).and_then(|()| request.add_init_container(container))
            }
            None => {
                KEPT.set(Some((Volume::memory(), InitContainer::new("kept", "example.org/kept:1"))));
                request.set_env("KEPT", "yes")
            }
        },
        "wrong-type" => {
            let pod = unsafe { Pod::from_handle(request.handle()) };
            request.set_env("NAME", &pod.name())
        }
        "twice" => {
            let volume = Volume::memory();
            let again = unsafe { Volume::from_handle(volume.handle()) };
            request.add_volume("one", volume).and_then(|()| request.add_volume("other", again))
        }
        "dropped-twice" => {
            let volume = Volume::memory();
            drop(unsafe { Volume::from_handle(volume.handle()) });
            drop(volume);
            request.set_env("DROPPED", "twice")
        }
        // The host still holds the request for this call.
        "dropped-request" => {
            drop(unsafe { Request::from_handle(request.handle()) });
            request.set_env("DROPPED", "request")
        }
        "invented" => request.add_volume("invented", unsafe { Volume::from_handle(12_345) }),
        "endless" => loop {
            std::mem::forget(Volume::memory());
        },
        _ => request.set_env("HANDLES", "none"),
    };
    added.expect("the edit is valid");
}

ampoule_test_guests::raw_guest!("keeps-handles", inject);
