//! Flyte's own command line: `webhook`, with Flyte's configuration files and a flag for each scalar
//! key.
//!
//! Only the syntax is Flyte's: the commands run `serve`, `init-certs` and `uninstall`.

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};

use ampoule_config::{ConfigSource, FLYTE_FLAGS, FlyteSource, ProfileName};
use ampoule_server::app::ProcessArgs;

/// `ampoule webhook`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WebhookArgs {
    #[command(flatten)]
    pub(crate) config: FlyteArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    #[command(subcommand)]
    pub(crate) command: Option<WebhookCommand>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Ensure that the configured Secret holds a valid certificate; issue one if necessary.
    #[command(alias = "init-cert")]
    InitCerts,
    /// Remove the webhook's registration.
    Uninstall,
}

/// The configuration in Flyte's format. The flags may precede or follow the subcommand.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FlyteArgs {
    /// Flyte's configuration files, as a path or a quoted pattern (repeatable; later files take
    /// precedence).
    #[arg(id = "globs", long = "config", value_name = "GLOB", global = true)]
    globs: Vec<String>,
    /// Flyte version to emulate (default: detected from the keys).
    #[arg(long, global = true)]
    profile: Option<ProfileName>,
    #[command(flatten)]
    flags: KeyFlags,
}

/// The flags that name configuration keys, as (key, value) pairs.
#[derive(Clone, Debug, Default)]
struct KeyFlags(Vec<(String, String)>);

// === impl FlyteArgs ===

impl From<FlyteArgs> for ConfigSource {
    fn from(args: FlyteArgs) -> Self {
        Self::Flyte(FlyteSource { globs: args.globs, flags: args.flags.0, profile: args.profile })
    }
}

// === impl KeyFlags ===

impl clap::Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        FLYTE_FLAGS.iter().fold(command, |command, (key, is_switch)| {
            let arg = Arg::new(*key).long(*key).value_name("VALUE").action(ArgAction::Set).global(true);
            let arg = arg.help_heading("Keys of Flyte's configuration (take precedence over the files)");
            // Go's flag syntax for booleans: --key or --key=false, never --key false.
            let arg =
                if *is_switch { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key: &str| matches.get_one::<String>(key).map(|value| (key.to_owned(), value.clone()));
        Ok(Self(FLYTE_FLAGS.iter().filter_map(|(key, _)| given(key)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        webhook: WebhookArgs,
    }

    fn check(words: &[&str], globs: &[&str], flags: &[(&str, &str)], init_certs: bool) {
        let program = Program::try_parse_from([&["webhook"], words].concat());
        let args = program.unwrap_or_else(|error| panic!("{error}")).webhook;
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let source = FlyteSource {
            globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
            flags: flags.iter().map(owned).collect(),
            profile: None,
        };
        assert_eq!(ConfigSource::from(args.config), ConfigSource::Flyte(source), "{words:?}");
        assert_eq!(args.command.is_some(), init_certs, "{words:?}");
    }

    #[test]
    fn accepts_flytes_flags_before_and_after_the_subcommand() {
        check(&[], &[], &[], false);
        check(&["--config", "/etc/flyte/config/*.yaml"], &["/etc/flyte/config/*.yaml"], &[], false);
        check(&["init-certs", "--config", "a"], &["a"], &[], true);
        check(&["--config=a", "--config=b", "init-cert"], &["a", "b"], &[], true);
        check(
            &["--webhook.localCert", "init-certs", "--webhook.certDir", "/certs", "--secrets.env-prefix=X_"],
            &[],
            &[("webhook.certDir", "/certs"), ("webhook.localCert", "true"), ("secrets.env-prefix", "X_")],
            true,
        );
        check(&["--webhook.localCert=false"], &[], &[("webhook.localCert", "false")], false);
    }
}
