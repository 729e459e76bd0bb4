//! The command line: what can be said, and the exit code of what was done.
//!
//! Codes: 0 done, 1 refused or failed, 2 said wrongly. Results go to stdout, everything else to stderr.

mod flyte;
mod plugin;
mod registries;

use std::{net::SocketAddr, path::PathBuf};

use ampoule_engine::Allocation;
use clap::{Parser, Subcommand, ValueEnum};

use ampoule_config::{ConfigSource, FlyteSource, OciReference, ProfileName};
use ampoule_server::app::{ProcessArgs, Start};

pub(crate) use self::{
    flyte::{WebhookArgs, WebhookCommand},
    plugin::{BenchArgs, BuildArgs, Language, NewArgs, PluginArg, TestArgs},
};

/// Puts secrets into pods; every secret backend is a WebAssembly component in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "ampoule", version, max_term_width = 120)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the webhook and the admin port until told to end.
    Serve(ServeArgs),
    /// Do what Flyte's webhook does, as its chart calls it: `serve`, configured by Flyte's files.
    #[command(alias = "webhooks")]
    Webhook(Box<WebhookArgs>),
    /// See to it that the Secret of the configuration holds a certificate, and make one if it has none that serves.
    InitCerts(ConfigArg),
    /// Remove the webhook's registration. Replicas that run leave it alone from then on.
    Uninstall(ConfigArg),
    /// Do to a pod what the webhook would, and print the result.
    Mutate(MutateArgs),
    /// Tell which secrets a pod asks for, who was asked, and what each said.
    Explain(ExplainArgs),
    /// Print the annotation that asks for a secret.
    Request(RequestArgs),
    /// Work on the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Work on plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Compile a component from standard input to standard output, for the process that serves.
    #[command(hide = true)]
    Compile(CompileArgs),
}

/// `ampoule serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Make a certificate for development if the folder has none.
    #[arg(long)]
    pub(crate) self_signed: bool,
    /// A further name or address for the certificate that --self-signed makes; may be given more than once.
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
    pub(crate) config: ConfigArg,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: MutateOutput,
}

/// `ampoule explain`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) pod: PodArg,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule request`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RequestArgs {
    /// The secret's group, such as a Kubernetes Secret's name.
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    pub(crate) group: String,
    /// The key within the group.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// The version of the group, for backends that have one.
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    pub(crate) group_version: String,
    /// The environment variable: for the secret, or with --file for the file's path; without either, GROUP_KEY for the secret.
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Ask for a file below /etc/flyte/secrets.
    #[arg(long)]
    pub(crate) file: bool,
    /// The number in flyte.secrets/sN; 0 without it.
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<u64>,
    /// The protocol to print it in.
    #[arg(short, long, value_name = "FORMAT", default_value = "ampoule")]
    pub(crate) output: RequestOutput,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration, load its plugins, and print what is in effect.
    Check(ConfigArg),
    /// Print what Flyte's configuration files amount to, as a file of this program.
    Convert(ConvertArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Print what a plugin is, and what it imports and exports.
    Inspect(InspectArgs),
    /// Print what became of each plugin of a process that serves.
    List(ListArgs),
    /// Write a plugin that builds and passes its own test, to begin with.
    New(NewArgs),
    /// Build the plugin in a folder, with the tools of its language.
    Build(BuildArgs),
    /// Ask a plugin what a folder of cases asks, and compare its answers with those expected.
    Test(TestArgs),
    /// Measure how long a plugin takes to load and to answer, and how much memory it needs.
    Bench(BenchArgs),
    /// Check a plugin as at load, push it to a registry, and print the source that names it by its digest.
    Push(PushArgs),
}

/// `ampoule plugin inspect`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule plugin list`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The admin port of the process.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10254")]
    pub(crate) admin: SocketAddr,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// `ampoule plugin push`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// Where to: REGISTRY/REPOSITORY:TAG.
    pub(crate) reference: OciReference,
}

/// `ampoule compile`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CompileArgs {
    /// Where the memory of instances will come from.
    #[arg(long)]
    pub(crate) allocation: AllocationName,
    /// The memory that compiling may take.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: u64,
}

/// `ampoule config convert`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// Flyte's configuration files: a path, or a pattern in quotes; may be given more than once, a later file wins.
    #[arg(long, value_name = "GLOB", required = true)]
    pub(crate) flyte_config: Vec<String>,
    /// The version of Flyte whose ways to keep; without it, it follows from the keys.
    #[arg(long)]
    pub(crate) profile: Option<ProfileName>,
}

/// The configuration's place.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConfigArg {
    /// The configuration file; without it, every key has its default.
    #[arg(id = "config", short, long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Flyte's configuration files instead: a path, or a pattern in quotes; may be given more than once, a later file wins.
    #[arg(long, value_name = "GLOB", conflicts_with = "config")]
    flyte_config: Vec<String>,
    /// The version of Flyte whose ways to keep; without it, it follows from the keys.
    #[arg(long, requires = "flyte_config", conflicts_with = "config")]
    profile: Option<ProfileName>,
}

/// The object to work on.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PodArg {
    /// A file with a Pod, a workload with a pod template, or an AdmissionReview, as YAML or JSON; - is stdin.
    #[arg(id = "pod", value_name = "POD", default_value = "-")]
    pub(crate) path: PathBuf,
    /// The namespace that the pod is created in; without it, the object's own, or else default.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// Where the memory of instances comes from, as [`Allocation::as_str`] says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllocationName {
    /// From a pool.
    Pooling,
    /// From the operating system.
    OnDemand,
}

/// What `mutate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MutateOutput {
    /// The object after, as YAML.
    Yaml,
    /// The object after, as JSON.
    Json,
    /// The JSON patch.
    Patch,
    /// What changed, line by line.
    Diff,
    /// The AdmissionReview that the API server would get.
    Review,
}

/// The protocol that `request` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RequestOutput {
    /// An entry of the list in ampoule.dev/secrets, for people.
    #[default]
    Ampoule,
    /// An annotation flyte.secrets/sN, as Flyte writes it.
    Flyte,
}

/// What other commands print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

// === impl ServeArgs ===

impl From<ServeArgs> for Start {
    fn from(args: ServeArgs) -> Self {
        let ServeArgs { config, self_signed, dns_name, process } = args;
        Self { config: config.into(), self_signed: self_signed.then_some(dns_name), process }
    }
}

// === impl AllocationName ===

impl From<AllocationName> for Allocation {
    fn from(name: AllocationName) -> Self {
        match name {
            AllocationName::Pooling => Self::Pooling,
            AllocationName::OnDemand => Self::OnDemand,
        }
    }
}

// === impl ConfigArg ===

impl From<ConfigArg> for ConfigSource {
    fn from(arg: ConfigArg) -> Self {
        let ConfigArg { path, flyte_config: globs, profile } = arg;
        if globs.is_empty() {
            return Self::Native(path);
        }
        Self::Flyte(FlyteSource { globs, flags: Vec::new(), profile })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_compiler_takes_allocations_by_their_names() {
        for allocation in [Allocation::Pooling, Allocation::OnDemand] {
            let words = ["ampoule", "compile", "--memory-mib", "7", "--allocation", allocation.as_str()];
            let Command::Compile(args) = Args::try_parse_from(words).unwrap().command else { panic!("it is compile") };
            assert_eq!((Allocation::from(args.allocation), args.memory_mib), (allocation, 7));
        }
    }

    #[test]
    fn further_names_need_a_certificate_to_stand_in() {
        let error = Args::try_parse_from(["ampoule", "serve", "--dns-name", "example.org"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn the_configuration_is_said_in_one_form() {
        for wrong in [&["--config", "a", "--flyte-config", "b"][..], &["--config", "a", "--profile", "flyte-v2"]] {
            let error = Args::try_parse_from(["ampoule", "serve"].iter().chain(wrong)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
        let words = ["ampoule", "serve", "--flyte-config", "a/*.yaml", "--flyte-config", "b", "--profile", "flyte-v2"];
        let Command::Serve(args) = Args::try_parse_from(words).unwrap().command else { panic!("it is serve") };
        let globs = vec!["a/*.yaml".to_owned(), "b".to_owned()];
        let source = FlyteSource { globs, flags: Vec::new(), profile: Some(ProfileName::FlyteV2) };
        assert_eq!(ConfigSource::from(args.config), ConfigSource::Flyte(source));
    }
}
