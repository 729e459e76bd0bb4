//! The containers and volumes of a pod that fetches values: [`ContainerParts`] and [`volumes`].
//!
//! The init container fetches once. The sidecar has the same program, volumes and rights; the
//! interval in its document makes it repeat the fetch.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ComponentVolume, DeliveryError, FetchRecipe, FetchToken, PodFetching, document::FetchDocument};
use crate::{
    edit::{
        ContainerPatch, EnvSource, EnvVar, FETCH_CONTAINER, FETCH_VARIABLE, InitContainer, PodEdit, REFRESH_CONTAINER,
        SecretFile, SecurityContext, Volume, VolumeMount, VolumeSource,
    },
    pod::Pod,
    profile::InitContainerPosition,
};

/// The program in the image of the webhook.
const PROGRAM: &str = "ampoule-fetch";
/// The volume with the file of variables.
pub const VARIABLES_VOLUME: &str = "ampoule-variables";
/// The directory of the file of variables in the init container.
const VARIABLES_DIRECTORY: &str = "/run/ampoule/variables";
/// The name of the file of variables.
pub(super) const VARIABLES_FILE: &str = "env";
/// The path of the file of variables in the init container.
pub const VARIABLES_PATH: &str = "/run/ampoule/variables/env";
/// The volume with the tokens of the pod's service account.
const TOKENS_VOLUME: &str = "ampoule-tokens";
/// The directory of the tokens in the init container.
pub const TOKENS_DIRECTORY: &str = "/var/run/secrets/ampoule";
/// The volume with components from ConfigMaps.
const SHIPPED_VOLUME: &str = "ampoule-components";
/// The directory of these components. A user of the namespace can change them, so the program
/// compares the code as well.
pub const SHIPPED_DIRECTORY: &str = "/run/ampoule/components";
/// The volume with an image of components.
const IMAGE_VOLUME: &str = "ampoule-component-image";
/// The root of this image.
const IMAGE_DIRECTORY: &str = "/run/ampoule/image";
/// The directory with the components in it.
pub const IMAGE_COMPONENTS: &str = "/run/ampoule/image/components";
/// The lifetime of a token in seconds, the shortest that Kubernetes permits.
const TOKEN_SECONDS: u32 = 600;
/// The user and the group of the image.
const USER: i64 = 65532;
/// Bytes of the document. Linux accepts 128 KiB for one variable.
const MAX_DOCUMENT: usize = 96 << 10;

/// The directories that the init container uses itself, with those of its program and of the
/// components in its image. A plugin that wrote there could replace code.
const OWN_DIRECTORIES: [&str; 6] =
    [VARIABLES_DIRECTORY, TOKENS_DIRECTORY, SHIPPED_DIRECTORY, IMAGE_DIRECTORY, "/components", "/usr/local/bin"];

/// What the containers have in common.
pub(super) struct ContainerParts<'a> {
    pub(super) pods: &'a PodFetching,
    pub(super) pod: &'a Pod,
    pub(super) mounts: Vec<VolumeMount>,
    /// The variables that the credentials of the plugins need.
    pub(super) variables: BTreeMap<String, String>,
}

/// The edits that add the volumes for the values, the tokens and the components, and the mounts of
/// the containers that fetch. `directories` has the volume of each directory with files.
///
/// # Errors
///
/// A file is in a directory of the init container.
pub(super) fn volumes<'r>(
    document: &FetchDocument,
    directories: &BTreeMap<String, String>,
    recipes: impl Iterator<Item = &'r FetchRecipe> + Clone,
) -> Result<(Vec<PodEdit>, Vec<VolumeMount>), DeliveryError> {
    let (mut edits, mut mounts) = (Vec::new(), BTreeMap::new());
    for template in &document.templates {
        let path = &template.file.path;
        mount_directory(path, directory_of(path), directories, &mut mounts)?;
    }
    for value in document.values() {
        if !value.variables.is_empty() && !mounts.contains_key(VARIABLES_DIRECTORY) {
            edits.push(memory_volume(VARIABLES_VOLUME.to_owned()));
            mounts.insert(VARIABLES_DIRECTORY.to_owned(), VARIABLES_VOLUME.to_owned());
        }
        for file in &value.files {
            mount_directory(&file.path, directory_of(&file.path), directories, &mut mounts)?;
        }
        for folder in &value.folders {
            mount_directory(&folder.path, &folder.path, directories, &mut mounts)?;
        }
    }
    let mut mounts: Vec<_> = mounts.into_iter().map(|(path, volume)| mount(volume, path, false)).collect();
    let mut tokens: Vec<_> = recipes.clone().flat_map(|recipe| &recipe.tokens).collect();
    tokens.sort();
    tokens.dedup();
    if !tokens.is_empty() {
        edits.push(token_volume(&tokens));
        mounts.push(mount(TOKENS_VOLUME.to_owned(), TOKENS_DIRECTORY.to_owned(), true));
    }
    for (volume, directory, source) in component_volumes(recipes.filter_map(|recipe| recipe.volume.as_ref())) {
        edits.push(volume_of(volume, &source));
        mounts.push(mount(volume.to_owned(), directory.to_owned(), true));
    }
    Ok((edits, mounts))
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Adds the mount of the directory of a path.
fn mount_directory(
    path: &str,
    directory: &str,
    directories: &BTreeMap<String, String>,
    mounts: &mut BTreeMap<String, String>,
) -> Result<(), DeliveryError> {
    if OWN_DIRECTORIES.iter().any(|own| is_within(directory, own) || is_within(own, directory)) {
        let reason = format!("file {path} is in a directory that the init container uses itself");
        return Err(DeliveryError::Refused(reason));
    }
    if let Some(volume) = directories.get(directory) {
        mounts.insert(directory.to_owned(), volume.clone());
    }
    Ok(())
}

/// Whether a directory is the other one, or below it.
fn is_within(directory: &str, other: &str) -> bool {
    directory.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The volumes with components, each with its name, its directory and its source.
fn component_volumes<'r>(
    volumes: impl Iterator<Item = &'r ComponentVolume>,
) -> Vec<(&'static str, &'static str, Value)> {
    let (mut images, mut config_maps) = (Vec::new(), BTreeSet::new());
    for volume in volumes {
        match volume {
            ComponentVolume::Image(reference) => images.push(reference),
            ComponentVolume::ConfigMap(component) => drop(config_maps.insert(component.name.as_str())),
        }
    }
    let mut found = Vec::new();
    // The configuration has one image for all components.
    if let Some(reference) = images.first() {
        let source = json!({ "image": { "reference": reference, "pullPolicy": "IfNotPresent" } });
        found.push((IMAGE_VOLUME, IMAGE_DIRECTORY, source));
    }
    if !config_maps.is_empty() {
        let sources: Vec<_> = config_maps.into_iter().map(|name| json!({ "configMap": { "name": name } })).collect();
        found.push((SHIPPED_VOLUME, SHIPPED_DIRECTORY, json!({ "projected": { "sources": sources } })));
    }
    found
}

// === impl ContainerParts ===

impl ContainerParts<'_> {
    /// The init container that fetches the values of a document.
    ///
    /// # Errors
    ///
    /// The document is too large for a variable.
    pub(super) fn init_container(&self, document: &FetchDocument) -> Result<InitContainer, DeliveryError> {
        self.container(FETCH_CONTAINER, document, Vec::new())
    }

    /// The sidecar that fetches them again.
    ///
    /// # Errors
    ///
    /// The document is too large for a variable.
    pub(super) fn sidecar(&self, document: &FetchDocument) -> Result<InitContainer, DeliveryError> {
        self.container(REFRESH_CONTAINER, document, vec![ContainerPatch::sidecar()])
    }

    /// A container in front of those of the pod: restricted by the Pod Security Standards, with the
    /// user of the pod or of the image. The kubelet would refuse root.
    fn container(
        &self,
        name: &str,
        document: &FetchDocument,
        patches: Vec<ContainerPatch>,
    ) -> Result<InitContainer, DeliveryError> {
        let user = self.pod.runs_as_root().then_some(USER);
        let mut variables = self.variables.clone();
        variables.insert(FETCH_VARIABLE.to_owned(), text(document)?);
        let literal = |(name, value)| EnvVar { name, source: EnvSource::Literal(value) };
        Ok(InitContainer {
            name: name.to_owned(),
            image: self.pods.image.clone(),
            command: vec![PROGRAM.to_owned()],
            args: Vec::new(),
            env: variables.into_iter().map(literal).collect(),
            mounts: self.mounts.clone(),
            resources: Some(self.pods.resources.clone()),
            security_context: Some(SecurityContext {
                run_as_user: user,
                run_as_group: user,
                run_as_non_root: Some(true),
                read_only_root_filesystem: Some(true),
                allow_privilege_escalation: Some(false),
                drop_all_capabilities: true,
                runtime_default_seccomp: true,
            }),
            position: Some(InitContainerPosition::First),
            patches,
        })
    }
}

fn text(document: &FetchDocument) -> Result<String, DeliveryError> {
    let text = json!(document).to_string();
    if text.len() <= MAX_DOCUMENT {
        return Ok(text);
    }
    let (bytes, most) = (text.len(), MAX_DOCUMENT);
    let reason = format!("the list of values to fetch in the pod has {bytes} bytes; the limit is {most}");
    Err(DeliveryError::Refused(reason))
}

fn memory_volume(name: String) -> PodEdit {
    let source = VolumeSource::Memory { size_limit: Some(SecretFile::MEMORY_SIZE.to_owned()) };
    PodEdit::AddVolume(Volume { name, source })
}

fn mount(volume: String, path: String, read_only: bool) -> VolumeMount {
    VolumeMount { volume, path, read_only, sub_path: None }
}

fn token_volume(tokens: &[&FetchToken]) -> PodEdit {
    let source = |token: &&FetchToken| {
        let mut source = json!({ "expirationSeconds": TOKEN_SECONDS, "path": token.file });
        if let Some(audience) = &token.audience {
            source["audience"] = json!(audience);
        }
        json!({ "serviceAccountToken": source })
    };
    let sources: Vec<_> = tokens.iter().map(source).collect();
    volume_of(TOKENS_VOLUME, &json!({ "projected": { "sources": sources } }))
}

fn volume_of(name: &str, source: &Value) -> PodEdit {
    PodEdit::AddVolume(Volume { name: name.to_owned(), source: VolumeSource::Json(source.to_string()) })
}
