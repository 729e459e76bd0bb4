//! The spellings of Flyte's own program: `webhook`, with Flyte's configuration and a flag for each of its keys that is one value.
//!
//! Only the spelling is Flyte's: behind it is `serve`, and `init-certs`.

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
    /// See to it that the Secret of the configuration holds a certificate, and make one if it has none that serves.
    #[command(alias = "init-cert")]
    InitCerts,
    /// Remove the webhook's registration.
    Uninstall,
}

/// The configuration in Flyte's terms. Before or behind the subcommand.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FlyteArgs {
    /// Flyte's configuration files: a path, or a pattern in quotes; may be given more than once, a later file wins.
    #[arg(id = "globs", long = "config", value_name = "GLOB", global = true)]
    globs: Vec<String>,
    /// The version of Flyte whose ways to keep; without it, it follows from the keys.
    #[arg(long, global = true)]
    profile: Option<ProfileName>,
    #[command(flatten)]
    flags: KeyFlags,
}

/// A flag for each key; keys and values as they were given.
#[derive(Clone, Debug, Default)]
struct KeyFlags(Vec<(String, String)>);

// === impl FlyteArgs ===

impl From<FlyteArgs> for ConfigSource {
    fn from(args: FlyteArgs) -> Self {
        let FlyteArgs { globs, profile, flags: KeyFlags(flags) } = args;
        Self::Flyte(FlyteSource { globs, flags, profile })
    }
}

// === impl KeyFlags ===

impl clap::Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        FLYTE_FLAGS.iter().fold(command, |command, (key, is_switch)| {
            let arg = Arg::new(*key).long(*key).value_name("VALUE").action(ArgAction::Set).global(true);
            let arg = arg.help_heading("Keys of Flyte's configuration, each instead of what the files say");
            // As Go's flags: --key or --key=false, and never --key false.
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
        let WebhookArgs { config, command, .. } =
            Program::try_parse_from([&["webhook"], words].concat()).unwrap_or_else(|error| panic!("{error}")).webhook;
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let source = FlyteSource {
            globs: globs.iter().map(|glob| (*glob).to_owned()).collect(),
            flags: flags.iter().map(owned).collect(),
            profile: None,
        };
        assert_eq!(ConfigSource::from(config), ConfigSource::Flyte(source), "{words:?}");
        assert_eq!(command.is_some(), init_certs, "{words:?}");
    }

    #[test]
    fn flags_are_taken_as_flyte_takes_them_before_and_behind_the_subcommand() {
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
