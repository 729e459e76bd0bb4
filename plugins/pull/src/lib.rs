//! The common part of the plugins `aws`, `gcp` and `azure`: an init container pulls a secret into a
//! volume in memory, which every other container mounts read-only. The behaviour follows
//! `flyte-pod-webhook` (flyte-behaviour sections 4.2, 4.4 and 4.5).
//!
//! A backend implements [`Pull`] and exports [`PullInjector`]. The plugin has no access to secrets
//! or to the network; the init container fetches the secret with the pod's service account when the
//! pod starts.

mod settings;
pub mod shell;

use std::fmt::Debug;

use ampoule_plugin_sdk::{names::env_name, prelude::*};

pub use self::settings::{Quantity, Resources, SecurityContextName, Settings};

/// A backend with a command-line tool that pulls one secret into one file.
pub trait Pull: Debug + 'static {
    /// The backend's name. The volume is named `NAME-secret-vol`, and an init container
    /// `NAME-pull-secret-NUMBER`.
    const NAME: &'static str;

    /// The plugin's version.
    const VERSION: &'static str;

    /// The default image of the init container.
    const IMAGE: &'static str;

    /// JSON schema of [`Settings`] for this backend.
    const SETTINGS_SCHEMA: &'static str;

    /// The built-in plugin that fetches the values of the same store.
    const FETCHING: &'static str;

    /// The fields that [`Pull::is_complete`] requires, for messages without Flyte.
    const REQUIRED: &'static str;

    /// The reference's message for a request that is not complete ([`Pull::is_complete`]).
    const INCOMPLETE: &'static str;

    /// Variables for a tool that must not write to its home folder. They are set together with a
    /// security context.
    const CONFINED_ENV: &'static [(&'static str, &'static str)] = &[];

    /// Returns whether the request contains all parts that the backend needs.
    fn is_complete(request: &SecretRequest) -> bool;

    /// Returns the default of `pathInEnvVar` in [`Settings`]: whether the reference of this profile
    /// sets the requested variable to the file's path.
    fn path_in_env_var(profile: &str) -> bool {
        let _ = profile;
        false
    }

    /// Returns the init container that pulls the secret of a complete request into a file below
    /// `directory`.
    ///
    /// # Errors
    ///
    /// A name in the request is not valid in a path or a command.
    fn pull(request: &SecretRequest, directory: &str) -> Result<Puller, InjectionError>;
}

/// The backend-specific part of the init container that pulls one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puller {
    /// Its command. Empty: the image's own.
    pub command: Vec<String>,
    /// Its environment.
    pub env: Vec<(&'static str, String)>,
    /// The path of the writable mount of the volume.
    pub mount_path: String,
    /// The path of the file in the volume.
    pub file: String,
}

/// The injector of a backend. Pass it to [`ampoule_plugin_sdk::export!`].
#[derive(Debug)]
pub struct PullInjector<P: Pull> {
    settings: Settings<P>,
    directory: String,
    path_in_env_var: bool,
    /// Whether the profile is not one of Flyte's.
    is_plain: bool,
}

// === impl PullInjector ===

impl<P: Pull> Injector for PullInjector<P> {
    type Settings = Settings<P>;
    const NAME: &'static str = P::NAME;
    const VERSION: &'static str = P::VERSION;
    const DELIVERIES: &'static [Delivery] = &[Delivery::File];
    const SETTINGS_SCHEMA: &'static str = P::SETTINGS_SCHEMA;

    fn new(settings: Settings<P>, conventions: &Conventions) -> Result<Self, String> {
        settings.check()?;
        let is_plain = conventions.profile == "plain";
        let path_in_env_var = settings.path_in_env_var;
        let path_in_env_var = path_in_env_var.unwrap_or_else(|| is_plain || P::path_in_env_var(&conventions.profile));
        let directory = conventions.mount_directory.trim_end_matches('/');
        // Other files are below the mount directory, and no mount can be below a read-only one.
        let directory = if is_plain { [directory, "/", P::NAME].concat() } else { directory.to_owned() };
        Ok(Self { settings, directory, path_in_env_var, is_plain })
    }

    fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if !P::is_complete(request) {
            let text = match self.is_plain {
                true => format!("{} must be set, and not empty", P::REQUIRED),
                false => format!("{}. Secret: [{request}]", P::INCOMPLETE),
            };
            return Err(InjectionError::invalid_request(text));
        }
        if request.delivery == Delivery::EnvVar {
            let text = match self.is_plain {
                true => files_only(P::NAME, P::FETCHING),
                false => format!("unrecognized mount requirement [ENV_VAR] for secret [{}]", request.key),
            };
            return Err(InjectionError::unsupported(text));
        }
        let puller = P::pull(request, &self.directory)?;
        let volume = format!("{}-secret-vol", P::NAME);
        let path = [&self.directory, "/", &puller.file].concat();
        let mut edits = vec![
            Edit::add_volume(&volume, MemoryVolume::new()),
            Edit::add_init_container(self.container(&container_name(P::NAME, pod), &volume, puller)),
            Edit::mount_volume(VolumeMount::new(&volume, &self.directory)),
            Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(&self.directory)),
            Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
        ];
        if let (Some(name), true) = (&request.env_var, self.path_in_env_var) {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(path)));
        }
        Ok(edits)
    }

    fn check(&self) -> Result<(), String> {
        if self.is_plain { Err(made_for_flyte(P::NAME, P::FETCHING)) } else { Ok(()) }
    }
}

impl<P: Pull> PullInjector<P> {
    fn container(&self, name: &str, volume: &str, puller: Puller) -> InitContainer {
        let Puller { command, env, mount_path, file: _ } = puller;
        let mut container = InitContainer::new(name, &self.settings.image)
            .command(command)
            .mount_writable(volume, mount_path)
            .resources(self.settings.resources.quantities());
        for (name, value) in env {
            container = container.env(name, value);
        }
        if !self.settings.has_security_context() {
            return container;
        }
        for (name, value) in P::CONFINED_ENV {
            container = container.env(*name, *value);
        }
        self.settings.secure(container)
    }
}

/// The answer to a request for a variable, without Flyte.
fn files_only(name: &str, fetching: &str) -> String {
    format!(
        "{name} delivers files only: set path or file: true, or ask the administrator for builtin:{fetching}, which \
         delivers variables as well"
    )
}

/// The warning about the plugin in a configuration without Flyte.
fn made_for_flyte(name: &str, fetching: &str) -> String {
    format!(
        "{name} follows Flyte's webhook: it delivers files only, by an init container with a tool of the cloud; without \
         Flyte, use builtin:{fetching}"
    )
}

/// Returns a free name for the init container. Like the reference, the number is the count of init
/// containers; if that name is in use, the next free number.
fn container_name(backend: &str, pod: &Pod) -> String {
    let (containers, init_containers) = (pod.containers(), pod.init_containers());
    let mut names = (init_containers.len()..).map(|number| format!("{backend}-pull-secret-{number}"));
    let free_name = names.find(|name| !containers.contains(name) && !init_containers.contains(name));
    free_name.expect("a pod has fewer containers than there are numbers")
}

#[cfg(test)]
mod tests;
