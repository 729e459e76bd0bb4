//! The command line: commands, their arguments and flags.
//!
//! Exit codes: 0 success, 1 refusal or failure, 2 usage error. Results are written to stdout,
//! everything else to stderr.

mod call;
mod console;
mod flyte;
mod plugin;
mod registries;
mod request;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use ampoule_engine::Allocation;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use ampoule_config::{ConfigSource, FlyteSource, OciReference, ProfileName};
use ampoule_server::app::{ProcessArgs, StartOptions};

pub(crate) use self::{
    call::CallArg,
    console::ConsoleArgs,
    flyte::{WebhookArgs, WebhookCommand},
    plugin::{BenchArgs, BuildArgs, Language, NewArgs, PluginArg, ScaffoldGrant, TestArgs},
    request::RequestArgs,
};

/// The file name of the program as a plugin of `kubectl`.
const KUBECTL_PLUGIN: &str = "kubectl-ampoule";

/// Injects secrets into pods. Every secret backend is a sandboxed WebAssembly plugin.
#[derive(Debug, Parser)]
#[command(name = "ampoule", version, max_term_width = 120)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the webhook and the admin port until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Replace Flyte's webhook: run `serve` with Flyte's configuration files and the flags of its
    /// chart.
    #[command(alias = "webhooks")]
    Webhook(Box<WebhookArgs>),
    /// Ensure that the configured Secret holds a valid certificate; issue one if necessary.
    InitCerts(ConfigArg),
    /// Remove the webhook's registration. Running replicas do not restore it.
    Uninstall(ConfigArg),
    /// Mutate a pod as the webhook would and print the result.
    Mutate(MutateArgs),
    /// Explain which secrets a pod requests and how each plugin answers.
    ///
    /// The input can be a stream of several objects, such as the output of `kustomize build` or of
    /// `kubectl get --output yaml`. Objects without a pod are passed over and counted.
    Explain(ExplainArgs),
    /// Print the annotation that requests a secret.
    Request(RequestArgs),
    /// Print an admission policy with which the API server itself does the references of
    /// `builtin:k8s`.
    ///
    /// The policy is a MutatingAdmissionPolicy with a binding. It repeats the answers of the
    /// configuration; its comments list what remains for the webhook.
    ExportPolicy(ExportPolicyArgs),
    /// Open the console of a running webhook: forward a local port with `kubectl`, and print the
    /// address.
    Console(ConsoleArgs),
    /// Check, convert or describe the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create, build, test, inspect and publish plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Compile a component from stdin to stdout (internal, used by `serve`).
    #[command(hide = true)]
    Compile(CompileArgs),
    /// Write components and their code for pods that fetch values (`delivery: pod`), to build an
    /// image with them.
    Portable(PortableArgs),
}

/// `ampoule serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Issue a self-signed certificate for development if the directory contains none.
    #[arg(long)]
    pub(crate) self_signed: bool,
    /// Additional DNS name or IP address for the self-signed certificate (repeatable).
    #[arg(long, value_name = "NAME", requires = "self_signed")]
    pub(crate) dns_name: Vec<String>,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// `ampoule mutate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MutateArgs {
    #[command(flatten)]
    pub(crate) pod: PodArg,
    #[command(flatten)]
    pub(crate) namespace: CallArg,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: MutateOutput,
}

/// `ampoule explain`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) pod: PodArg,
    #[command(flatten)]
    pub(crate) namespace: CallArg,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule export-policy`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExportPolicyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Version of the API.
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    pub(crate) api_version: PolicyVersion,
    /// Name of both objects.
    #[arg(long, value_name = "NAME", default_value = "ampoule-references")]
    pub(crate) name: String,
    /// Namespace of the webhook, which the policy does not serve unless
    /// `registration.namespaceSelector` is set.
    #[arg(long, value_name = "NAMESPACE", default_value = "ampoule")]
    pub(crate) webhook_namespace: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration, load its plugins and print the effective configuration.
    Check(ConfigArg),
    /// Convert Flyte's configuration files to Ampoule's format and print the result.
    Convert(ConvertArgs),
    /// Print the JSON Schema of the configuration file.
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Print a plugin's metadata, imports, exports and grants.
    Inspect(InspectArgs),
    /// Print the state of each plugin of a running webhook.
    List(ListArgs),
    /// Create a plugin from a template that builds and passes its own tests.
    New(NewArgs),
    /// Build a plugin with the tools of its language.
    Build(BuildArgs),
    /// Run a plugin against a directory of cases and compare its answers with the expected ones.
    Test(TestArgs),
    /// Measure a plugin's load time, call latency and memory.
    Bench(BenchArgs),
    /// Validate a plugin, push it to a registry and print its source with the digest.
    Push(PushArgs),
}

/// `ampoule plugin inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule plugin list`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Address of the webhook's admin port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10254")]
    pub(crate) admin: SocketAddr,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule plugin push`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// Destination, as REGISTRY/REPOSITORY:TAG.
    #[arg(value_parser = parse_destination)]
    pub(crate) reference: OciReference,
}

/// Accepts a reference, and one with the prefix of a component source, as `push` prints it.
fn parse_destination(text: &str) -> Result<OciReference, <OciReference as FromStr>::Err> {
    text.strip_prefix("oci:").unwrap_or(text).parse()
}

/// `ampoule compile`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CompileArgs {
    /// Allocation strategy of the engine that will run the code.
    #[arg(long)]
    pub(crate) allocation: AllocationName,
    /// Memory limit of the compilation.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: u64,
}

/// `ampoule portable`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PortableArgs {
    /// Directory for the files.
    pub(crate) directory: PathBuf,
    /// Components (default: the built-in ones, which the image of Ampoule contains).
    #[arg(value_name = "COMPONENT")]
    pub(crate) components: Vec<PathBuf>,
}

/// `ampoule config convert`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// Flyte's configuration files, as a path or a quoted pattern (repeatable; later files take
    /// precedence).
    #[arg(long, value_name = "GLOB", required = true)]
    pub(crate) flyte_config: Vec<String>,
    /// Flyte version to emulate (default: detected from the keys).
    #[arg(long)]
    pub(crate) profile: Option<ProfileName>,
}

/// The location of the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConfigArg {
    /// Configuration file (default: none, every key has its default).
    #[arg(id = "config", short, long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Flyte's configuration files instead, as a path or a quoted pattern (repeatable; later files
    /// take precedence).
    #[arg(long, value_name = "GLOB", conflicts_with = "config")]
    flyte_config: Vec<String>,
    /// Profile of a configuration without a file, or of Flyte's files (default: detected from their
    /// keys).
    #[arg(long, conflicts_with = "config")]
    profile: Option<ProfileName>,
}

/// The input object.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PodArg {
    /// File with a Pod, a workload with a pod template, or an AdmissionReview, as YAML or JSON; -
    /// is stdin.
    #[arg(id = "pod", value_name = "POD", default_value = "-")]
    pub(crate) path: PathBuf,
    /// Namespace of the pod (default: the object's namespace, otherwise "default").
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Name of the user that creates the pod, for policy rules (default: the user of the
    /// AdmissionReview).
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Group of the user that creates the pod; repeatable.
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    pub(crate) groups: Vec<String>,
    /// UID of the user that creates the pod.
    #[arg(long = "as-uid", value_name = "UID", requires = "user")]
    pub(crate) uid: Option<String>,
}

/// An allocation strategy, named as in [`Allocation::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllocationName {
    /// Instances use a memory pool.
    Pooling,
    /// Each instance maps its own memory.
    OnDemand,
    /// Code for `ampoule-fetch` on every platform.
    Portable,
}

/// The output format of `mutate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MutateOutput {
    /// The mutated object as YAML.
    Yaml,
    /// The mutated object as JSON.
    Json,
    /// The JSON patch.
    Patch,
    /// A unified diff of the object.
    Diff,
    /// The AdmissionReview that the API server would receive.
    Review,
}

/// The annotation format of `request`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RequestOutput {
    /// An entry of the list in ampoule.dev/secrets, for pod authors.
    #[default]
    Ampoule,
    /// An annotation flyte.secrets/sN, as Flyte's SDKs write it.
    Flyte,
}

/// A version of the API `admissionregistration.k8s.io` with `MutatingAdmissionPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyVersion {
    /// Kubernetes 1.36.
    V1,
    /// Kubernetes 1.34, with the feature switched on.
    V1beta1,
    /// Kubernetes 1.32, with the feature switched on.
    V1alpha1,
}

/// The output format of other commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOutput {
    /// Human-readable text.
    Text,
    /// JSON for programs.
    Json,
}

// === impl Args ===

impl Args {
    /// Parses a command line. If the program is called `kubectl-ampoule`, as a plugin of `kubectl`,
    /// the usage lines have the words that the user typed.
    pub(crate) fn parse_words(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<_> = words.into_iter().collect();
        let is_plugin =
            words.first().is_some_and(|program| Path::new(program).file_stem() == Some(KUBECTL_PLUGIN.as_ref()));
        let mut command = Self::command();
        if is_plugin {
            command = command.bin_name("kubectl ampoule");
        }
        let mut matches = command.try_get_matches_from_mut(words)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

// === impl ServeArgs ===

impl From<ServeArgs> for StartOptions {
    fn from(args: ServeArgs) -> Self {
        Self {
            config: args.config.into(),
            self_signed: args.self_signed.then_some(args.dns_name),
            process: args.process,
        }
    }
}

// === impl PolicyVersion ===

impl PolicyVersion {
    /// The name in `apiVersion`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
            Self::V1alpha1 => "v1alpha1",
        }
    }
}

// === impl AllocationName ===

impl From<AllocationName> for Allocation {
    fn from(name: AllocationName) -> Self {
        match name {
            AllocationName::Pooling => Self::Pooling,
            AllocationName::OnDemand => Self::OnDemand,
            AllocationName::Portable => Self::Portable,
        }
    }
}

// === impl ConfigArg ===

impl From<ConfigArg> for ConfigSource {
    fn from(arg: ConfigArg) -> Self {
        match (arg.flyte_config, arg.profile) {
            (globs, profile) if !globs.is_empty() => Self::Flyte(FlyteSource { globs, flags: Vec::new(), profile }),
            (_, Some(profile)) => Self::Defaults(profile),
            (_, None) => Self::Native(arg.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_plugin_of_kubectl_the_usage_has_the_words_that_the_user_typed() {
        for (program, name) in [
            ("ampoule", "ampoule"),
            ("/usr/local/bin/ampoule", "ampoule"),
            ("kubectl-ampoule", "kubectl ampoule"),
            ("/home/a/.krew/bin/kubectl-ampoule", "kubectl ampoule"),
        ] {
            for (words, usage) in [
                (&["--help"][..], format!("Usage: {name} <COMMAND>")),
                (&["explain", "--help"], format!("Usage: {name} explain [OPTIONS] [POD]")),
                (&["plugin", "list", "--help"], format!("Usage: {name} plugin list [OPTIONS]")),
                (&["explain", "--wrong"], format!("Usage: {name} explain ")),
                (&["request"], format!("Usage: {name} request --key <KEY>")),
            ] {
                let words = std::iter::once(program).chain(words.iter().copied()).map(OsString::from);
                let error = Args::parse_words(words).unwrap_err().to_string();
                assert!(error.contains(&usage), "{error}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn compile_accepts_each_allocation_by_its_name() {
        for allocation in [Allocation::Pooling, Allocation::OnDemand, Allocation::Portable] {
            let words = ["ampoule", "compile", "--memory-mib", "7", "--allocation", allocation.as_str()];
            let Command::Compile(args) = Args::try_parse_from(words).unwrap().command else {
                panic!("the command must be compile")
            };
            assert_eq!((Allocation::from(args.allocation), args.memory_mib), (allocation, 7));
        }
    }

    #[test]
    fn dns_names_require_a_self_signed_certificate() {
        let error = Args::try_parse_from(["ampoule", "serve", "--dns-name", "example.org"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_profile_alone_is_a_configuration() {
        for (words, expected) in [
            (&["explain", "--profile", "plain"][..], ConfigSource::Defaults(ProfileName::Plain)),
            (&["explain"], ConfigSource::Native(None)),
            (&["explain", "--config", "a"], ConfigSource::Native(Some(PathBuf::from("a")))),
        ] {
            let words = ["ampoule"].iter().chain(words);
            let Command::Explain(args) = Args::try_parse_from(words).unwrap().command else {
                panic!("the command must be explain")
            };
            assert_eq!(ConfigSource::from(args.config), expected);
        }
    }

    #[test]
    fn the_configuration_has_one_format() {
        for wrong in [&["--config", "a", "--flyte-config", "b"][..], &["--config", "a", "--profile", "flyte-v2"]] {
            let error = Args::try_parse_from(["ampoule", "serve"].iter().chain(wrong)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
        let words = ["ampoule", "serve", "--flyte-config", "a/*.yaml", "--flyte-config", "b", "--profile", "flyte-v2"];
        let Command::Serve(args) = Args::try_parse_from(words).unwrap().command else {
            panic!("the command must be serve")
        };
        let globs = vec!["a/*.yaml".to_owned(), "b".to_owned()];
        let source = FlyteSource { globs, flags: Vec::new(), profile: Some(ProfileName::FlyteV2) };
        assert_eq!(ConfigSource::from(args.config), ConfigSource::Flyte(source));
    }
}
