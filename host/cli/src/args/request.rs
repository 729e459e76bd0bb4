//! The arguments of `ampoule request`.
//!
//! Each field of an entry of `ampoule.dev/secrets` has a flag.

use super::RequestOutput;

/// `ampoule request`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RequestArgs {
    /// Group of the secret, such as the name of a Kubernetes Secret.
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    pub(crate) group: String,
    /// Key within the group.
    #[arg(
        long,
        value_name = "KEY",
        required_unless_present_any = ["all_keys", "template"],
        conflicts_with = "all_keys",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) key: String,
    /// Request every key of the group.
    #[arg(long)]
    pub(crate) all_keys: bool,
    /// Content of a file that is made of several secrets: `{{ secret "GROUP" "KEY" }}`. Requires
    /// --path.
    #[arg(long, value_name = "TEXT", requires = "path", conflicts_with_all = ["group", "key", "all_keys"])]
    pub(crate) template: Option<String>,
    /// Start of the names of the variables for all keys.
    #[arg(long, value_name = "PREFIX", requires = "all_keys")]
    pub(crate) env_prefix: Option<String>,
    /// Version of the secret's group; only backends with versions use it.
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    pub(crate) group_version: String,
    /// Environment variable for the secret or, with --file, for the file's path (default: GROUP_KEY
    /// without --file).
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Mount the secret as a file. Without --path, the configuration determines the folder.
    #[arg(long)]
    pub(crate) file: bool,
    /// Absolute path of the file; with `/` at its end, the folder for a file with the name of the
    /// key. Implies --file.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Permissions of the file as octal digits, such as 0400.
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// Whether the pod starts without the secret (default: the profile and the plugin decide).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) optional: Option<bool>,
    /// Name of a container that gets the secret (default: all containers). Can be repeated.
    #[arg(long = "container", value_name = "NAME")]
    pub(crate) containers: Vec<String>,
    /// Name of the only injector that is asked (default: all injectors).
    #[arg(long, value_name = "NAME")]
    pub(crate) injector: Option<String>,
    /// Option for the plugin. Can be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    pub(crate) options: Vec<(String, String)>,
    /// With `delivery: pod`, what the pod gets for a variable that the kubelet cannot read: file.
    #[arg(long, value_name = "FORM")]
    pub(crate) fallback: Option<String>,
    /// Number N in the annotation flyte.secrets/sN (default: 0).
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<u64>,
    /// Annotation format.
    #[arg(short, long, value_name = "FORMAT", default_value = "ampoule")]
    pub(crate) output: RequestOutput,
}

/// Splits `NAME=VALUE`.
fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
