//! The cases of `ampoule plugin test`: `NAME.yaml` (or `.yml`, `.json`) says what is asked, `NAME.expected.yaml` what the answer is.
//!
//! Two files, so that recording an answer never touches what a person wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_core::{Pod, PodView, Profile, SecretRequest};
use ampoule_engine::{Grants, Limits, PluginSpec};
use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::given::{Given, GivenFile};
use ampoule_components::fetch::Component;
use ampoule_config::{ComponentSource, ConfigError, GrantsFile, ProfileName, parse_document};

/// What a case's file ends with.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// What stands between a case's name and the extension where the answer is.
const EXPECTED: &str = ".expected";

/// One question and where its answer stands.
#[derive(Debug)]
pub(super) struct Case {
    /// The file's name without its extension.
    pub(super) name: String,
    pub(super) settings: Value,
    pub(super) grants: Grants,
    /// What is behind the grants.
    pub(super) given: Arc<Given>,
    pub(super) profile: Profile,
    pub(super) request: SecretRequest,
    pub(super) pod: PodView,
    /// The answer as it should be; none if it was never recorded.
    pub(super) expected: Option<Value>,
    /// The file with the answer.
    pub(super) expected_at: PathBuf,
}

/// A case as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct CaseFile {
    /// As `injectors[].settings`.
    settings: Map<String, Value>,
    /// As `injectors[].grants`. A `caFile` is not read: nobody is connected to.
    grants: GrantsFile,
    /// What is behind them.
    given: GivenFile,
    /// Whose conventions `configure` is given.
    profile: ProfileName,
    /// What the pod asks for.
    request: SecretRequest,
    /// The pod that asks; without it, one with a container `main` in the namespace `default`.
    pod: Option<Value>,
}

// === impl Case ===

impl Case {
    /// What to load, of this component with the case's settings.
    pub(super) fn plugin(&self, source: &ComponentSource, component: &Component, limits: Limits) -> PluginSpec {
        PluginSpec {
            name: "plugin".to_owned(),
            source: source.to_string(),
            component: component.bytes.clone(),
            settings: self.settings.clone(),
            conventions: self.profile.conventions(),
            limits,
            grants: self.grants.clone(),
        }
    }

    /// Every case of a folder, by name.
    ///
    /// # Errors
    ///
    /// What cannot be read, and an answer to no question. No case at all is an error too.
    pub(super) fn all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let listed = listed.with_context(|| format!("cannot read the folder of cases {}", folder.display()))?;
        let files = listed.into_iter().map(|entry| entry.path());
        let mut files: Vec<_> = files.filter(|path| stem(path).is_some()).collect();
        files.sort();
        let (answers, questions): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| is_answer(path));
        ensure!(!questions.is_empty(), "{} holds no case; a case is a file NAME.yaml", folder.display());
        let cases: Vec<_> = questions.iter().map(|path| Self::load(path)).collect::<Result<_, _>>()?;
        if let Some(twice) = cases.windows(2).find(|pair| pair[0].name == pair[1].name) {
            bail!("{} holds two cases of the name {}", folder.display(), twice[0].name);
        }
        if let Some(answer) = answers.iter().find(|path| !cases.iter().any(|case| case.expected_at == **path)) {
            bail!("{} is the answer to no case; remove it, or write its case", answer.display());
        }
        Ok(cases)
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let name = stem(path)
            .with_context(|| format!("{} is no case; a case is a file NAME.yaml", path.display()))?
            .to_owned();
        let expected_at = path.with_file_name(format!("{name}{EXPECTED}.yaml"));
        let expected = if expected_at.exists() { Some(read(&expected_at)?) } else { None };
        let case = Self::of(name, expected_at, expected, read(path)?);
        Ok(case.map_err(|error| ConfigError { file: Some(path.to_owned()), ..error })?)
    }

    fn of(name: String, expected_at: PathBuf, expected: Option<Value>, written: CaseFile) -> Result<Self, ConfigError> {
        let CaseFile { settings, grants, given, profile, request, pod } = written;
        let given = given.check()?;
        let grants = given.grants(grants.check("grants")?)?;
        let pod = pod.unwrap_or_else(
            || json!({ "metadata": { "name": "pod" }, "spec": { "containers": [{ "name": "main" }] } }),
        );
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let pod = Pod::parse(pod).map_err(|error| ConfigError::at("pod", error.to_string()))?.view(&namespace);
        let (settings, given, profile) = (settings.into(), Arc::new(given), profile.into());
        Ok(Self { name, settings, grants, given, profile, request, pod, expected, expected_at })
    }
}

impl Default for Case {
    /// No settings, and a request that most plugins have an answer to: key `key` of version 1 of group `group`, in whatever form.
    fn default() -> Self {
        let [group, group_version, key] = ["group", "1", "key"].map(str::to_owned);
        let request = SecretRequest { group, group_version, key, ..SecretRequest::default() };
        Self::of("default".to_owned(), PathBuf::new(), None, CaseFile { request, ..CaseFile::default() })
            .expect("the pod of a case without one is a pod")
    }
}

fn read<T: serde::de::DeserializeOwned + Default>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(parse_document(&text).map_err(|error| ConfigError { file: Some(path.to_owned()), ..error })?)
}

/// The name of a file that is a question or an answer.
fn stem(path: &Path) -> Option<&str> {
    let known = path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
    path.file_stem().filter(|_| known)?.to_str()
}

fn is_answer(path: &Path) -> bool {
    stem(path).is_some_and(|stem| stem.ends_with(EXPECTED))
}
