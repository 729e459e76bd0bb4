//! A secret backend in Rust: sets an environment variable from a Kubernetes Secret with a name
//! prefix.
//!
//! `wit/` documents every method.

use std::cell::RefCell;

use ampoule::injector::{
    admission::{Delivery, Pod, Request},
    conventions,
    log::{Level, log},
};
use exports::ampoule::injector::injector::Guest;
use serde_json::Value;

wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });

thread_local! {
    // Set by `configure`, read by `inject`. The host drops an instance after one pod.
    static SECRET_PREFIX: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Component;
export!(Component);

impl Guest for Component {
    fn describe() -> String {
        r#"{
            "name": "example-plugin", "version": "0.1.0", "deliveries": ["env-var"],
            "settingsSchema": {
                "type": "object",
                "properties": { "secretPrefix": { "type": "string" } },
                "additionalProperties": false
            }
        }"#
        .into()
    }

    fn configure(settings: String) -> Result<(), String> {
        let settings: Value = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        for (key, value) in settings.as_object().ok_or("settings must be a JSON object")? {
            match (key.as_str(), value) {
                ("secretPrefix", Value::String(prefix)) => SECRET_PREFIX.set(prefix.clone()),
                ("secretPrefix", _) => return Err("secretPrefix: must be a string".into()),
                (other, _) => return Err(format!("{other}: unknown setting, expected secretPrefix")),
            }
        }
        Ok(())
    }

    fn inject(_pod: &Pod, request: &Request) {
        let (group, key) = (request.group(), request.key());
        if group.is_empty() || key.is_empty() {
            return request.invalid("group and key must both be set");
        }
        if request.deliver_as() == Delivery::File {
            return request.unsupported("files are not supported, only environment variables");
        }
        let secret = SECRET_PREFIX.with_borrow(|prefix| format!("{prefix}{group}"));
        // For the plugin's author. Never log the value of a secret.
        log(Level::Debug, &format!("sets a variable from Secret {secret}"));
        let default = || conventions::env_prefix() + &key.to_uppercase();
        let name = request.env_var().unwrap_or_else(default);
        request.set_env_from_secret(&name, &secret, &key, false).unwrap_or_else(|error| request.invalid(&error));
    }
}
