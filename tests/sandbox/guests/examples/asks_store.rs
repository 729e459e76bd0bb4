//! Sends one request of its settings, and sets the variable `READ` to the status and the body of
//! the answer, or to the error. It has no credential.
//!
//! Options: a JSON document to post, and headers.

use std::collections::BTreeMap;

use ampoule_plugin_sdk::{http, prelude::*};
use serde::Deserialize;

struct AsksStore(Settings);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    #[serde(default)]
    post: Option<BTreeMap<String, String>>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl Injector for AsksStore {
    type Settings = Settings;
    const NAME: &'static str = "asks-store";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let Settings { url, post, headers } = &self.0;
        let request = match post {
            None => http::get(url),
            Some(document) => http::post_json(url, document).expect("the document is JSON"),
        };
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let read = match request.send() {
            Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
            Err(error) => format!("{error:?}"),
        };
        Ok(vec![Edit::set_env("READ", EnvSource::literal(read))])
    }
}

ampoule_test_guests::guest!(AsksStore);
