//! Sets the variable `LEARNED` to the number of requests of its instance, the group, and what it
//! reads, as the settings say.
//!
//! With `promise`, it also sets `SECRET` to a fetched value, of which it keeps the last one.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use ampoule_plugin_sdk::{cache, http, log, prelude::*, secrets};
use serde::Deserialize;

struct Learns(Settings);

static REQUESTS: AtomicU32 = AtomicU32::new(0);
static FETCHED: Mutex<String> = Mutex::new(String::new());
static REMEMBERED: Mutex<String> = Mutex::new(String::new());

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    reads: Vec<String>,
    promise: bool,
}

impl Injector for Learns {
    type Settings = Settings;
    const NAME: &'static str = "learns";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let mut learned = vec![(REQUESTS.fetch_add(1, Ordering::Relaxed) + 1).to_string(), request.group.clone()];
        learned.extend(self.0.reads.iter().map(|what| read(what, pod)));
        let mut edits = vec![Edit::set_env("LEARNED", EnvSource::literal(learned.join(" ")))];
        if self.0.promise {
            edits.push(Edit::set_env("SECRET", EnvSource::promise(&request.group)));
        }
        if self.0.reads.iter().any(|what| what == "warn") {
            edits.push(Edit::warn("learned"));
        }
        Ok(edits)
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        promise.clone_into(&mut FETCHED.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(FetchedValue::new(promise.as_bytes()))
    }
}

fn read(what: &str, pod: &Pod) -> String {
    match what {
        "namespace" => pod.namespace(),
        "name" => pod.name(),
        "service-account" => pod.service_account(),
        "operating-system" => pod.operating_system().unwrap_or_default(),
        "label" => pod.label("team").unwrap_or_default(),
        "annotation" => pod.annotation("note").unwrap_or_default(),
        "labels" => format!("{:?}", pod.labels()),
        "annotations" => format!("{:?}", pod.annotations()),
        "containers" => pod.containers().join(","),
        "init-containers" => pod.init_containers().join(","),
        "image" => pod.image("main").unwrap_or_default(),
        "exists" => format!("{:?}", secrets::exists("store", "token", "value")),
        "first" => format!("{:?}", secrets::first_existing("store", &[("other", "value"), ("token", "value")])),
        "secret" => {
            secrets::read("store", "token", "value").map_or_else(|error| format!("{error:?}"), |value| lossy(&value))
        }
        "cache" => cache::get("entry").map_or_else(String::new, |entry| lossy(&entry)),
        "http" => {
            http::get("https://store.example.com/").send().map_or_else(|_| "no answer".to_owned(), |_| String::new())
        }
        "fetched" => FETCHED.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        "remembered" => REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        // Only of a pod with an init container.
        "remember" => {
            if !pod.init_containers().is_empty() {
                let note = pod.annotation("note").unwrap_or_default();
                *REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner) = note;
            }
            String::new()
        }
        "log" => {
            log::debug("a line");
            String::new()
        }
        _ => String::new(),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

ampoule_test_guests::guest!(Learns);
