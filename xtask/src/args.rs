//! The command line of `cargo xtask`.
//! A command that fails prints one error with its causes and exits with 1. A usage error exits with
//! 2, as usual with clap.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::image::{self, BuildProfile};
use crate::{bench, bless, budget, check, demo, docs, fuzz, plugins, release, setup, test};

/// The commands of this project. Each installs the tools that it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install the tools of all other commands (each command also does this for itself).
    Setup {
        /// Only the tools of `demo`, without etcd, kube-apiserver and Flyte's SDKs.
        #[arg(long)]
        demo_only: bool,
    },
    /// Build and start the server, send it a pod, and show the pod before and after the mutation.
    Demo {
        /// Keep the server running and print a `curl` command for it; Ctrl-C stops it.
        #[arg(long)]
        serve: bool,
        /// Open the console with sample traffic, and print its address; Ctrl-C stops it.
        #[arg(long, conflicts_with = "serve")]
        console: bool,
    },
    /// Run all tests, including those against a real API server.
    Test {
        /// Run only tests with this text in their name.
        filter: Option<String>,
        /// Run only one part of the tests.
        #[arg(long, value_name = "PART")]
        only: Option<test::Part>,
    },
    /// Check format, lints, documentation, licences and sources of crates; every warning is an
    /// error, advisories are reported.
    Check,
    /// Build the book into `target/book`, and check the links of every Markdown file.
    Docs,
    /// Rewrite the snapshots of our own output with the current output.
    Bless {
        /// Run only tests with this text in their name.
        filter: Option<String>,
    },
    /// Run the benchmarks, and write a report with tables and plots to `target/bench`.
    Bench {
        /// Take few samples, too imprecise to publish: two minutes instead of twenty, after the
        /// build.
        #[arg(long)]
        quick: bool,
        /// Run only parts with this text in their name (calls, values, fairness, tls, life, pod),
        /// or benchmarks of `calls` with this text in their name. `soak` runs only when it is
        /// named: ten minutes of load, reloads and new certificates.
        filter: Option<String>,
    },
    /// Compare the cost of an admission with `tests/budget/budget.yaml`, in instructions and
    /// ratios.
    Budget {
        /// Count instructions only. The ratios need the static binary of a release.
        #[arg(long)]
        instructions_only: bool,
    },
    /// Search for input that breaks a reader, a parser or the edits (`tests/fuzz`).
    Fuzz {
        /// Duration of the run of each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Run only this target.
        target: Option<String>,
    },
    /// Build the plugins of this repository as components, and print their paths.
    Plugins,
    /// Build the container image, start it as a cluster would, and print the path of its archive.
    Image {
        /// If this machine cannot build images, print the reason and succeed after the check of the
        /// binary.
        #[arg(long)]
        where_possible: bool,
        /// Profile of the binary.
        #[arg(long, value_enum, default_value_t = BuildProfile::Release)]
        profile: BuildProfile,
    },
    /// Build and check everything that a release publishes, in `target/release-artifacts`; sign and
    /// publish nothing.
    Release {
        /// Build although tracked files have changes that are not committed.
        #[arg(long)]
        allow_modified: bool,
        /// Build only for this target; may be given more than once (default: all).
        #[arg(long = "target", value_name = "TARGET")]
        targets: Vec<String>,
        /// The repository on GitHub that publishes the release, for the manifest of `kubectl
        /// ampoule` (default: no manifest).
        #[arg(long, value_name = "OWNER/NAME")]
        repository: Option<String>,
    },
}

// === impl Args ===

impl Args {
    /// Reads the command line, runs the command and returns the exit code.
    pub(crate) fn parse_and_run() -> ExitCode {
        match Self::parse().run() {
            Ok(code) => code,
            Err(error) => {
                anstream::eprintln!("{}error{}: {error:#}", crate::progress::BAD, crate::progress::BAD.render_reset());
                ExitCode::FAILURE
            }
        }
    }

    fn run(self) -> Result<ExitCode> {
        match self.command {
            None => {
                Self::command().print_help()?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Setup { demo_only }) => {
                setup::ensure(if demo_only { setup::Scope::Demo } else { setup::Scope::Everything })?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Demo { serve, console }) => demo::run(demo::Mode::from_flags(serve, console)),
            Some(Command::Test { filter, only }) => test::run(filter.as_deref(), only),
            Some(Command::Check) => check::run(),
            Some(Command::Docs) => docs::run(),
            Some(Command::Bless { filter }) => bless::run(filter.as_deref()),
            Some(Command::Bench { quick, filter }) => {
                bench::run(if quick { bench::Samples::Quick } else { bench::Samples::Full }, filter.as_deref())
            }
            Some(Command::Budget { instructions_only }) => {
                budget::run(if instructions_only { budget::Measures::Instructions } else { budget::Measures::All })
            }
            Some(Command::Fuzz { seconds, target }) => fuzz::run(seconds, target.as_deref()),
            Some(Command::Plugins) => plugins::run(),
            Some(Command::Image { where_possible, profile }) => {
                let tools = if where_possible { image::Tools::WherePossible } else { image::Tools::Required };
                image::run(tools, profile)
            }
            Some(Command::Release { allow_modified, targets, repository }) => {
                release::run(&release::Options { allow_modified, targets, repository })
            }
        }
    }
}
