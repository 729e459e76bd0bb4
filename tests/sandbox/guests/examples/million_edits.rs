//! Answers with a million edits, or with the number in its settings.
//!
//! A million do not fit its memory; ten thousand do, and the host stops them at the limit on the
//! size of an answer.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct MillionEdits {
    edits: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    edits: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { edits: 1_000_000 }
    }
}

impl Injector for MillionEdits {
    type Settings = Settings;
    const NAME: &'static str = "million-edits";
    const VERSION: &'static str = "1.0.0";
    const MOUNTS: &'static [MountRequirement] = &[];
    const SETTINGS_SCHEMA: &'static str = r#"{"properties": {"edits": {"type": "integer", "default": 1000000}}}"#;

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self { edits: settings.edits })
    }

    fn inject(&self, _request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        Ok((0..self.edits).map(|i| Edit::add_image_pull_secret(i.to_string())).collect())
    }
}

ampoule_test_guests::guest!(MillionEdits);
