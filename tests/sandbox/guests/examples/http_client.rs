//! Calls the URLs of its settings in sequence and sets a variable to each result: the answer's
//! status and the length of its body, or the error.
//!
//! Options: follow a redirect, send a body of a given size, call without end.

use ampoule_plugin_sdk::{http, prelude::*};
use serde::Deserialize;

struct HttpClient(Settings);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    urls: Vec<String>,
    follow: bool,
    flood: bool,
    body: Option<usize>,
}

impl HttpClient {
    fn call(&self, url: &str) -> String {
        let request = match self.0.body {
            None => http::get(url),
            Some(size) => http::post_json(url, &"x".repeat(size)).expect("a text is JSON"),
        };
        match request.send() {
            Ok(response) => match response.header("location").filter(|_| self.0.follow) {
                Some(location) => format!("{} {}", response.status, self.call(location)),
                None => format!("{} {}", response.status, response.body.len()),
            },
            Err(error) => format!("{error:?}"),
        }
    }
}

impl Injector for HttpClient {
    type Settings = Settings;
    const NAME: &'static str = "http-client";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let Settings { urls, flood, .. } = &self.0;
        for url in urls.iter().cycle().take(if *flood { usize::MAX } else { 0 }) {
            self.call(url);
        }
        let answers = urls
            .iter()
            .zip(1..)
            .map(|(url, n)| Edit::set_env(format!("ANSWER_{n}"), EnvSource::literal(self.call(url))));
        Ok(answers.collect())
    }
}

ampoule_test_guests::guest!(HttpClient);
