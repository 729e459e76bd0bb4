//! The cases of `ampoule plugin test`: `NAME.yaml` (or `.yml`, `.json`) contains the request,
//! `NAME.expected.yaml` the answer.
//!
//! They are separate files so that recording an answer never changes a file that the author wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_core::{EditPermissions, Pod, Profile, SecretRequest};
use ampoule_engine::{FetchPlace, Grants, Limits, PluginSpec, ValueCachePolicy};
use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    given::{GivenFile, GivenValues},
    result::GoldenPod,
};
use crate::commands::component::COMPONENT;
use ampoule_components::fetch::Component;
use ampoule_config::{
    ComponentSource, ConfigError, EditsSection, GrantsFile, LimitsSection, ProfileName, parse_document,
};

/// The extensions of case files.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// The suffix of the case's name in the file name of the expected answer.
const EXPECTED: &str = ".expected";

/// The requests of one pod to a plugin, and the expected answers.
#[derive(Debug)]
pub(super) struct Case {
    /// The file's name without its extension.
    pub(super) name: String,
    pub(super) settings: Value,
    pub(super) grants: Grants,
    /// The values that the grants give access to.
    pub(super) given: Arc<GivenValues>,
    pub(super) profile: Profile,
    pub(super) limits: Limits,
    edits: EditsSection,
    /// The requests, in order. There is at least one.
    pub(super) requests: Vec<SecretRequest>,
    /// Whether the case has a list of requests, and thus a list of answers.
    pub(super) is_list: bool,
    pub(super) pod: Pod,
    pub(super) namespace: String,
    /// The expected answer; `None` before the first recording.
    pub(super) expected: Option<Value>,
    /// The file of the expected answer.
    pub(super) expected_path: PathBuf,
    /// The golden file of the resulting pod.
    pub(super) result: Option<GoldenPod>,
}

/// The format of a case file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct CaseFile {
    /// The plugin's settings, as in `injectors[].settings`.
    settings: Map<String, Value>,
    /// The plugin's grants, as in `injectors[].grants`. `caFile` is ignored because no connection
    /// is made.
    grants: GrantsFile,
    /// The values that the grants give access to.
    given: GivenFile,
    /// The profile whose conventions are passed to `configure`.
    profile: ProfileName,
    /// The plugin's limits, as in `injectors[].limits`.
    limits: LimitsSection,
    /// What the plugin may change in the pod, as in `injectors[].edits`.
    edits: EditsSection,
    /// The secret request.
    request: Option<SecretRequest>,
    /// Several requests of one pod, in place of `request`.
    requests: Option<Vec<SecretRequest>>,
    /// The requesting pod (default: one container `main`, namespace `default`).
    pod: Option<Value>,
    /// The name of the file with the resulting pod.
    result: Option<String>,
}

// === impl Case ===

impl Case {
    /// The plugin to load: the component with the case's settings and grants.
    pub(super) fn plugin(&self, source: &ComponentSource, component: &Component, limits: Limits) -> PluginSpec {
        PluginSpec {
            name: plugin_name(source),
            source: source.to_string(),
            component: component.bytes.clone(),
            settings: self.settings.clone(),
            conventions: self.profile.conventions(),
            limits,
            grants: self.grants.clone(),
            value_cache: ValueCachePolicy::default(),
            fetch_place: FetchPlace::Here,
            strict_grants: false,
        }
    }

    /// What the plugin may change in the pod.
    pub(super) fn permissions(&self, source: &ComponentSource) -> Result<EditPermissions, ConfigError> {
        let default = source.default_edits(&self.profile.conventions().mount_directory);
        self.edits.over(&default, "edits")
    }

    /// Loads all cases of a directory, sorted by name.
    ///
    /// # Errors
    ///
    /// A file cannot be read, an expected answer has no case, or the directory contains no case.
    pub(super) fn load_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let listed = listed.with_context(|| format!("cannot read the directory of cases {}", folder.display()))?;
        let files = listed.into_iter().map(|entry| entry.path());
        let mut files: Vec<_> = files.filter(|path| stem(path).is_some()).collect();
        files.sort();
        let (answers, questions): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| is_answer(path));
        ensure!(!questions.is_empty(), "{} contains no case: add a file NAME.yaml", folder.display());
        let cases = Self::load_questions(&questions)?;
        if let Some(twice) = cases.windows(2).find(|pair| pair[0].name == pair[1].name) {
            bail!("{} contains two cases named {}", folder.display(), twice[0].name);
        }
        if let Some(answer) = answers.iter().find(|path| !cases.iter().any(|case| case.expected_path == **path)) {
            bail!("{} has no case: remove the file or add the case", answer.display());
        }
        Ok(cases)
    }

    /// Loads the cases of these files, without those that are the golden file of another case.
    fn load_questions(questions: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let loaded: Vec<_> = questions.iter().map(|path| (path, Self::load(path))).collect();
        let golden: Vec<_> = loaded
            .iter()
            .filter_map(|(_, case)| case.as_ref().ok()?.result.as_ref())
            .map(|golden| golden.path.clone())
            .collect();
        loaded.into_iter().filter(|(path, _)| !golden.contains(path)).map(|(_, case)| case).collect()
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let name = stem(path)
            .with_context(|| {
                format!("{} is not a case: the file name must be NAME.yaml, NAME.yml or NAME.json", path.display())
            })?
            .to_owned();
        let expected_path = path.with_file_name(format!("{name}{EXPECTED}.yaml"));
        let expected = if expected_path.exists() { Some(read(&expected_path)?) } else { None };
        let file: CaseFile = read(path)?;
        let result = file.result.as_deref().map(|name| GoldenPod::read(path, name)).transpose()?;
        let case = Self::check(name, expected_path, expected, file);
        let case = case.map_err(|error| ConfigError { file: Some(path.to_owned()), ..error })?;
        Ok(Self { result, ..case })
    }

    fn check(
        name: String,
        expected_path: PathBuf,
        expected: Option<Value>,
        file: CaseFile,
    ) -> Result<Self, ConfigError> {
        let given = file.given.check()?;
        let grants = given.grants(file.grants.check("grants")?)?;
        let pod = file.pod.unwrap_or_else(default_pod);
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let pod = Pod::parse(pod).map_err(|error| ConfigError::at("pod", error.to_string()))?;
        let is_list = file.requests.is_some();
        let requests = match (file.request, file.requests) {
            (Some(_), Some(_)) => return Err(ConfigError::at("requests", "cannot be combined with request")),
            (_, Some(requests)) if requests.is_empty() => {
                return Err(ConfigError::at("requests", "must contain at least one request"));
            }
            (_, Some(requests)) => requests,
            (request, None) => vec![request.unwrap_or_default()],
        };
        // The defaults depend on the component; the names are the same for each.
        file.edits.over(&EditPermissions::default(), "edits")?;
        Ok(Self {
            name,
            settings: file.settings.into(),
            grants,
            given: Arc::new(given),
            profile: file.profile.into(),
            limits: file.limits.check("limits")?,
            edits: file.edits,
            requests,
            is_list,
            pod,
            namespace,
            expected,
            expected_path,
            result: None,
        })
    }
}

impl Default for Case {
    /// No settings, and a request that most plugins can answer: key `key`, version 1 of group
    /// `group`, any mount.
    fn default() -> Self {
        let [group, group_version, key] = ["group", "1", "key"].map(str::to_owned);
        let request = SecretRequest { group, group_version, key, ..SecretRequest::default() };
        let file = CaseFile { request: Some(request), ..CaseFile::default() };
        Self::check("default".to_owned(), PathBuf::new(), None, file).expect("the default pod is valid")
    }
}

/// The name of a plugin in messages: that of its directory, of its file, or of the built-in plugin.
fn plugin_name(source: &ComponentSource) -> String {
    let name = match source {
        ComponentSource::File(path) if path.ends_with(COMPONENT) => {
            let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
            folder.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
        }
        ComponentSource::File(path) => path.file_stem().map(|name| name.to_string_lossy().into_owned()),
        ComponentSource::Builtin(name) => Some(name.clone()),
        _ => None,
    };
    name.unwrap_or_else(|| "plugin".to_owned())
}

fn default_pod() -> Value {
    json!({ "metadata": { "name": "pod" }, "spec": { "containers": [{ "name": "main" }] } })
}

fn read<T: serde::de::DeserializeOwned + Default>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(parse_document(&text).map_err(|error| ConfigError { file: Some(path.to_owned()), ..error })?)
}

/// The file name without its extension. `None` if the file is neither a case nor an answer.
fn stem(path: &Path) -> Option<&str> {
    let known = path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
    path.file_stem().filter(|_| known)?.to_str()
}

fn is_answer(path: &Path) -> bool {
    stem(path).is_some_and(|stem| stem.ends_with(EXPECTED))
}
