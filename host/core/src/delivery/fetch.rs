//! [`PodFetching`]: delivery `pod`. An init container fetches the values under the pod's identity.
//!
//! The webhook never has these values. It adds memory volumes, the tokens of the pod's service
//! account, and the init container with its [`FetchDocument`]. Files are in the memory volumes. The
//! kubelet reads variables from a file in a memory volume (`fileKeyRef`), which containers do not
//! mount.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ComponentVolume, DeliveryError, ShippedComponent,
    document::{
        FetchDocument, FetchInjector, FetchedFile, FetchedPart, FetchedTemplate, FetchedVariable, PromisedValue,
    },
    fetch_containers::{ContainerParts, VARIABLES_FILE, VARIABLES_VOLUME, volumes},
    refresh::refresh_interval,
};
use crate::{
    edit::{EnvSource, EnvVar, FileKeyRef, FileSource, PodEdit, Resources, SecretFile},
    pod::Pod,
    request::{ContainerScope, RequestOptions},
    template::{FileTemplate, TemplatePart},
};

/// The directory of the files that replace variables.
const VALUES_DIRECTORY: &str = "/run/ampoule/values";

/// How values are fetched in pods.
#[derive(Clone, Debug)]
pub struct PodFetching {
    /// The image with the program.
    pub image: String,
    /// How variables get their values.
    pub variables: VariableDelivery,
    /// The time for all values of a pod together, in seconds.
    pub total_seconds: u64,
    /// The interval at which a sidecar fetches the values again, in seconds. `None`: never.
    pub refresh_seconds: Option<u64>,
    /// Whether the sidecar also watches variables, and reports their changes in the pod's status.
    pub reports_changes: bool,
    /// The compute resources of the init container.
    pub resources: Resources,
    /// How to load the plugins, in the order of the injectors. `None` for an injector with another
    /// delivery.
    pub recipes: Vec<Option<Arc<FetchRecipe>>>,
}

/// How an environment variable gets a value that is fetched in the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VariableDelivery {
    /// By `fileKeyRef`: the kubelet reads it from a file. Requires Kubernetes 1.35.
    #[default]
    FileKey,
    /// As a file. The variable `NAME_FILE` has its path.
    File,
    /// Both. A variable that `fileKeyRef` cannot express is not set.
    Both,
}

/// How the program in the pod loads a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRecipe {
    /// The component, the settings and the grants, for the program.
    pub plugin: serde_json::Value,
    /// The tokens that the plugin's credentials need.
    pub tokens: Vec<FetchToken>,
    /// The variables that the plugin's credentials need.
    pub variables: Vec<(String, String)>,
    /// What the pod mounts to have the component; `None` if the image of the program contains it.
    pub volume: Option<ComponentVolume>,
}

/// A token of the pod's service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchToken {
    /// The name of its file in [`TOKENS_DIRECTORY`](super::TOKENS_DIRECTORY).
    pub file: String,
    /// The audience; `None` means the API server.
    pub audience: Option<String>,
}

/// The edits for the containers that fetch.
pub(crate) struct FetchEdits {
    pub(crate) edits: Vec<PodEdit>,
    /// Whether the pod reports changes of its values.
    pub(crate) reports_changes: bool,
}

/// The values that the pod fetches.
#[derive(Default)]
pub(crate) struct FetchPlan {
    promises: Vec<PlannedPromise>,
    templates: Vec<PlannedTemplate>,
}

/// A file that is made of several values.
struct PlannedTemplate {
    /// The position of the last request in the pod.
    request: usize,
    file: Arc<FileTemplate>,
    containers: ContainerScope,
    /// The promises in the order of the secrets.
    promises: Vec<TemplatePromise>,
}

/// The promise of a part of a template.
pub(super) struct TemplatePromise {
    /// The position and the name of the injector.
    pub(super) injector: usize,
    pub(super) name: String,
    pub(super) promise: String,
}

struct PlannedPromise {
    /// The position of the request in the pod.
    request: usize,
    /// The position and the name of the injector.
    injector: usize,
    name: String,
    promise: String,
    target: FetchTarget,
    /// The name of its variable in the file of variables.
    variable_key: String,
    options: RequestOptions,
}

enum FetchTarget {
    Variable(String),
    File {
        path: String,
        mode: Option<u32>,
    },
    /// A file for each field of the value.
    Folder {
        path: String,
        mode: Option<u32>,
    },
}

// === impl FetchPlan ===

impl FetchPlan {
    pub(crate) fn is_empty(&self) -> bool {
        self.promises.is_empty() && self.templates.is_empty()
    }

    /// Takes the promises of all parts of a template.
    pub(super) fn take_template(&mut self, request: usize, options: &RequestOptions, promises: Vec<TemplatePromise>) {
        if let Some(part) = &options.template {
            let (file, containers) = (Arc::clone(&part.file), options.containers.clone());
            self.templates.push(PlannedTemplate { request, file, containers, promises });
        }
    }

    /// Takes the promise of an edit. `injector` is the position and the name of the injector.
    pub(crate) fn take(
        &mut self,
        (request, options): (usize, &RequestOptions),
        (injector, name): (usize, &str),
        edit: PodEdit,
    ) {
        let (promise, target) = match edit {
            PodEdit::SetEnv(EnvVar { name, source: EnvSource::Promise(promise) }) => {
                (promise, FetchTarget::Variable(name))
            }
            PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::Promise(promise) }) => {
                let is_folder = options.all_keys.is_some();
                let target =
                    if is_folder { FetchTarget::Folder { path, mode } } else { FetchTarget::File { path, mode } };
                (promise, target)
            }
            _ => return,
        };
        let (name, options) = (name.to_owned(), options.clone());
        let variable_key = match &target {
            FetchTarget::Variable(variable) => self.variable_key(variable, injector, &promise),
            FetchTarget::File { .. } | FetchTarget::Folder { .. } => String::new(),
        };
        self.promises.push(PlannedPromise { request, injector, name, promise, target, variable_key, options });
    }

    /// A name in the file of variables: that of the variable, or a similar one if a container has
    /// another value under this name.
    fn variable_key(&self, variable: &str, injector: usize, promise: &str) -> String {
        let is_free = |key: &str| {
            let mut users = self.promises.iter().filter(|planned| planned.variable_key == key);
            users.all(|planned| (planned.injector, planned.promise.as_str()) == (injector, promise))
        };
        let numbered = (2..).map(|number| format!("{variable}_{number}"));
        let mut keys = std::iter::once(variable.to_owned()).chain(numbered);
        keys.find(|key| is_free(key)).expect("a plan has a limited number of promises")
    }

    /// Checks that variables which replace references get their values.
    ///
    /// # Errors
    ///
    /// Variables are files.
    pub(crate) fn check_references(&self, variables: VariableDelivery) -> Result<(), DeliveryError> {
        let is_reference = |planned: &&PlannedPromise| planned.options.replaces.is_some();
        match self.promises.iter().find(is_reference) {
            Some(PlannedPromise { target: FetchTarget::Variable(name), .. }) if variables == VariableDelivery::File => {
                let reason = format!(
                    "variable {name} is a reference, and delivery.pod.variables is `file`: the pod would get a file \
                     instead of a value; request the secret in the annotation, or use another delivery"
                );
                Err(DeliveryError::Refused(reason))
            }
            _ => Ok(()),
        }
    }

    /// The edits of each request for the pod's containers, in the order of the requests.
    pub(crate) fn request_edits(&self, variables: VariableDelivery) -> BTreeMap<usize, Vec<PodEdit>> {
        let mut edits = BTreeMap::<_, Vec<_>>::new();
        for planned in &self.promises {
            edits.entry(planned.request).or_default().extend(planned.edits(variables));
        }
        for planned in &self.templates {
            edits.entry(planned.request).or_default().push(planned.edit());
        }
        edits
    }

    /// The edits that add the init container, the sidecar that repeats it, and their volumes.
    /// `secrets` names the secret of each request in messages.
    ///
    /// # Errors
    ///
    /// The annotation of the pod is not valid, the document is too large for a variable, a file is
    /// in a directory of the init container, or a plugin is not loaded for this delivery.
    pub(crate) fn container_edits(
        &self,
        pods: &PodFetching,
        secrets: &[String],
        pod: &Pod,
    ) -> Result<FetchEdits, DeliveryError> {
        let recipes = self.recipes(pods)?;
        let document = self.document(&recipes, pods, secrets);
        let variables = recipes.values().flat_map(|recipe| recipe.variables.iter().cloned()).collect();
        let directories = self.directories(pods.variables)?;
        let (mut edits, mounts) = volumes(&document, &directories, recipes.values().copied())?;
        let parts = ContainerParts { pods, pod, mounts, variables };
        let watches_variables = pods.reports_changes && document.has_variables();
        let refresh = refresh_interval(pods.refresh_seconds, pod)?;
        let refresh = refresh.filter(|_| watches_variables || document.has_files());
        let reports_changes = watches_variables && refresh.is_some();
        // Both are put in front of the pod's own containers, so the last one is the first to run.
        if let Some(seconds) = refresh {
            let document =
                FetchDocument { refresh_seconds: Some(seconds), report_changes: reports_changes, ..document.clone() };
            edits.push(PodEdit::AddInitContainer(parts.sidecar(&document)?));
        }
        edits.push(PodEdit::AddInitContainer(parts.init_container(&document)?));
        Ok(FetchEdits { edits, reports_changes })
    }

    /// The components that the namespace of the pod needs as ConfigMaps.
    pub(crate) fn shipped<'p>(&'p self, pods: &'p PodFetching) -> Vec<&'p ShippedComponent> {
        let recipes = self.recipes(pods).unwrap_or_default();
        recipes.values().filter_map(|recipe| recipe.volume.as_ref().and_then(ComponentVolume::shipped)).collect()
    }

    fn document(
        &self,
        recipes: &BTreeMap<(usize, &str), &FetchRecipe>,
        pods: &PodFetching,
        secrets: &[String],
    ) -> FetchDocument {
        let mut injectors = Vec::new();
        for ((position, name), recipe) in recipes {
            let own: Vec<_> = self.promises.iter().filter(|planned| planned.injector == *position).collect();
            let mut values = values(&own, pods.variables, secrets);
            for (request, part) in self.template_promises().filter(|(_, part)| part.injector == *position) {
                match values.iter_mut().find(|value| value.promise == part.promise) {
                    Some(value) => value.optional = false,
                    None => {
                        let secret = secrets.get(request).map_or("", String::as_str);
                        values.push(PromisedValue::new(&part.promise, secret));
                    }
                }
            }
            injectors.push(FetchInjector { name: (*name).to_owned(), plugin: recipe.plugin.clone(), values });
        }
        let positions: Vec<_> = recipes.keys().map(|(position, _)| *position).collect();
        let templates = self.templates.iter().map(|planned| planned.fetched(&positions, &injectors)).collect();
        FetchDocument {
            injectors,
            templates,
            total_seconds: pods.total_seconds,
            refresh_seconds: None,
            report_changes: false,
        }
    }

    /// The promises of templates, each with the position of its request in the pod.
    fn template_promises(&self) -> impl Iterator<Item = (usize, &TemplatePromise)> {
        self.templates.iter().flat_map(|planned| {
            let first = planned.request + 1 - planned.promises.len();
            planned.promises.iter().enumerate().map(move |(position, part)| (first + position, part))
        })
    }

    /// The volumes of the files by their directory. The init container mounts each directory once,
    /// so it must have the same containers for all its files.
    fn directories(&self, variables: VariableDelivery) -> Result<BTreeMap<String, String>, DeliveryError> {
        let mut directories = BTreeMap::new();
        let promised =
            self.promises.iter().filter_map(|planned| Some((planned.path(variables)?, &planned.options.containers)));
        let rendered = self.templates.iter().map(|planned| (planned.file.path.clone(), &planned.containers));
        for (path, containers) in promised.chain(rendered) {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let volume = SecretFile::memory_volume(directory, containers);
            let known = directories.entry(directory.to_owned()).or_insert_with(|| volume.clone());
            if *known != volume {
                let reason = format!(
                    "files for different containers are in {directory}: give each list of containers a path with a \
                     folder of its own"
                );
                return Err(DeliveryError::Refused(reason));
            }
        }
        Ok(directories)
    }

    /// The recipes of the injectors with promises, by position and name.
    fn recipes<'p>(
        &'p self,
        pods: &'p PodFetching,
    ) -> Result<BTreeMap<(usize, &'p str), &'p FetchRecipe>, DeliveryError> {
        let promised = self.promises.iter().map(|planned| (planned.injector, planned.name.as_str()));
        let parts = self.template_promises().map(|(_, part)| (part.injector, part.name.as_str()));
        let recipe = |(position, name): (usize, &'p str)| match pods.recipe(position) {
            Some(recipe) => Ok(((position, name), recipe)),
            None => {
                let text = format!("the plugin of injector {name} is being loaded for delivery: pod");
                Err(DeliveryError::Unavailable(text))
            }
        };
        promised.chain(parts).map(recipe).collect()
    }
}

/// The values of one injector. Equal promises are one value.
fn values(planned: &[&PlannedPromise], variables: VariableDelivery, secrets: &[String]) -> Vec<PromisedValue> {
    let mut values: Vec<PromisedValue> = Vec::new();
    for promised in planned {
        let position = values.iter().position(|value| value.promise == promised.promise).unwrap_or_else(|| {
            values.push(PromisedValue {
                promise: promised.promise.clone(),
                secret: secrets.get(promised.request).cloned().unwrap_or_default(),
                optional: true,
                files: Vec::new(),
                folders: Vec::new(),
                variables: Vec::new(),
            });
            values.len() - 1
        });
        let value = &mut values[position];
        value.optional &= promised.options.is_optional();
        if let Some(file) = promised.file(variables)
            && !value.files.contains(&file)
        {
            value.files.push(file);
        }
        if let FetchTarget::Folder { path, mode } = &promised.target {
            let folder = FetchedFile { path: path.clone(), mode: *mode };
            if !value.folders.contains(&folder) {
                value.folders.push(folder);
            }
        }
        if let Some(variable) = promised.variable(variables)
            && !value.variables.contains(&variable)
        {
            value.variables.push(variable);
        }
    }
    values
}

// === impl PlannedTemplate ===

impl PlannedTemplate {
    /// The edit that mounts the volume of the file. Its promise identifies the content.
    fn edit(&self) -> PodEdit {
        let promises: Vec<_> = self.promises.iter().map(|part| [&part.name, " ", &part.promise].concat()).collect();
        let promise = format!("{:?} {promises:?}", self.file.content);
        let (path, mode) = (self.file.path.clone(), self.file.mode);
        PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::Promise(promise) })
    }

    /// The file for the document. `positions` are those of the injectors in the chain.
    fn fetched(&self, positions: &[usize], injectors: &[FetchInjector]) -> FetchedTemplate {
        let find = |part: &TemplatePromise| {
            let injector = positions.iter().position(|position| *position == part.injector)?;
            let value = injectors[injector].values.iter().position(|value| value.promise == part.promise)?;
            Some(FetchedPart::Value(injector, value))
        };
        let part = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => Some(FetchedPart::Text(text.clone())),
            TemplatePart::Secret(position) => find(&self.promises[*position]),
        };
        let file = FetchedFile { path: self.file.path.clone(), mode: self.file.mode };
        FetchedTemplate { file, parts: self.file.content.parts.iter().filter_map(part).collect() }
    }
}

// === impl PlannedPromise ===

impl PlannedPromise {
    /// How its variable gets the value.
    fn delivery(&self, variables: VariableDelivery) -> VariableDelivery {
        if self.options.replaces.is_some() {
            return VariableDelivery::FileKey;
        }
        if self.options.falls_back_to_file && variables == VariableDelivery::FileKey {
            return VariableDelivery::Both;
        }
        variables
    }

    /// The file that gets the value.
    fn file(&self, variables: VariableDelivery) -> Option<FetchedFile> {
        let variables = self.delivery(variables);
        match &self.target {
            FetchTarget::File { path, mode } => Some(FetchedFile { path: path.clone(), mode: *mode }),
            FetchTarget::Variable(name) if variables != VariableDelivery::FileKey => {
                Some(FetchedFile { path: value_path(name), mode: None })
            }
            FetchTarget::Variable(_) | FetchTarget::Folder { .. } => None,
        }
    }

    /// The path of the file, or of any file in the folder.
    fn path(&self, variables: VariableDelivery) -> Option<String> {
        match &self.target {
            FetchTarget::Folder { path, .. } => Some([path, "/*"].concat()),
            FetchTarget::Variable(_) | FetchTarget::File { .. } => self.file(variables).map(|file| file.path),
        }
    }

    /// The variable that the kubelet reads.
    fn variable(&self, variables: VariableDelivery) -> Option<FetchedVariable> {
        let variables = self.delivery(variables);
        match &self.target {
            FetchTarget::Variable(_) if variables != VariableDelivery::File => {
                let name = self.variable_key.clone();
                Some(FetchedVariable { name, optional: variables == VariableDelivery::Both })
            }
            FetchTarget::Variable(_) | FetchTarget::File { .. } | FetchTarget::Folder { .. } => None,
        }
    }

    /// The edits for the pod's containers.
    fn edits(&self, variables: VariableDelivery) -> Vec<PodEdit> {
        let mut edits = Vec::new();
        if let FetchTarget::Variable(name) = &self.target
            && let Some(FetchedVariable { name: key, optional }) = self.variable(variables)
        {
            let name = name.clone();
            let source = EnvSource::FileKey(Box::new(FileKeyRef {
                volume: VARIABLES_VOLUME.to_owned(),
                path: VARIABLES_FILE.to_owned(),
                key,
                optional: optional || self.options.is_optional(),
            }));
            edits.push(PodEdit::SetEnv(EnvVar { name, source }));
        }
        if let FetchTarget::Folder { mode, .. } = self.target
            && let Some(path) = self.path(variables)
        {
            let source = FileSource::Promise(self.promise.clone());
            edits.push(PodEdit::WriteFile(SecretFile { path, mode, source }));
        }
        if let Some(FetchedFile { path, mode }) = self.file(variables) {
            if let FetchTarget::Variable(name) = &self.target {
                let source = EnvSource::Literal(path.clone());
                edits.push(PodEdit::SetEnv(EnvVar { name: [name, "_FILE"].concat(), source }));
            }
            let source = FileSource::Promise(self.promise.clone());
            edits.push(PodEdit::WriteFile(SecretFile { path, mode, source }));
        }
        edits
    }
}

// === impl PodFetching ===

impl PodFetching {
    fn recipe(&self, position: usize) -> Option<&FetchRecipe> {
        self.recipes.get(position)?.as_deref()
    }
}

fn value_path(variable: &str) -> String {
    format!("{VALUES_DIRECTORY}/{variable}")
}
