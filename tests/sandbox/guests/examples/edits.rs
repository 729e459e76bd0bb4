//! Makes the edits of its settings: a list of words for each, the kind first.
//!
//! `fetch` returns the bytes of the settings.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct Edits(Settings);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    edits: Vec<Vec<String>>,
    bytes: Vec<u8>,
}

impl Injector for Edits {
    type Settings = Settings;
    const NAME: &'static str = "edits";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        self.0.edits.iter().map(|words| edit(words)).collect()
    }

    fn fetch(&self, _promise: &str) -> Result<FetchedValue, InjectionError> {
        Ok(FetchedValue::new(&*self.0.bytes))
    }
}

fn edit(words: &[String]) -> Result<Edit, InjectionError> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Ok(match words[..] {
        ["env", name, value] => Edit::set_env(name, EnvSource::literal(value)),
        ["promise", name] => Edit::set_env(name, EnvSource::promise(name)),
        ["memory", name] => Edit::add_volume(name, MemoryVolume::default()),
        ["secret", name, secret] => Edit::add_volume(name, SecretVolume::new(secret)),
        ["mount", volume, path] => Edit::mount_volume(VolumeMount::new(volume, path)),
        ["annotation", key, value] => Edit::default_annotation(key, value),
        ["own-annotation", key, value] => Edit::own_annotation(key, value),
        ["pull-secret", name] => Edit::add_image_pull_secret(name),
        ["init-container", name, image] => Edit::add_init_container(InitContainer::new(name, image)),
        _ => return Err(InjectionError::internal(format!("no edit has the words {words:?}"))),
    })
}

ampoule_test_guests::guest!(Edits);
