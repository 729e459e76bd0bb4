//! The command line of `cargo xtask`, and what each command calls.
//! A command that fails prints one error with its causes and ends with 1; a usage error ends with 2, as clap does it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::{bench, bless, budget, check, demo, fuzz, image, plugins, release, setup, test};

/// The commands of this project. Each installs what it needs by itself.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install everything that the other commands need (they call it themselves).
    Setup {
        /// Only what `demo` needs, without etcd, kube-apiserver and Flyte's SDKs.
        #[arg(long)]
        demo_only: bool,
    },
    /// Build and start the server, send it a pod, and show the pod before and after.
    Demo {
        /// Keep the server up and print a `curl` line for it; Ctrl-C ends it.
        #[arg(long)]
        serve: bool,
    },
    /// Run every test, those against a real API server included.
    Test {
        /// Run only the tests whose name contains this.
        filter: Option<String>,
        /// Run only one part of the tests.
        #[arg(long, value_name = "PART")]
        only: Option<test::Part>,
    },
    /// Check format, lints, documentation, licences and sources of crates; every warning is an error, advisories are reported.
    Check,
    /// Rewrite the snapshots of our own output from what the tests see now.
    Bless {
        /// Only the tests whose name contains this.
        filter: Option<String>,
    },
    /// Run the benchmarks, and make a report with tables and plots in `target/bench`.
    Bench {
        /// Few samples, too rough to quote: two minutes instead of twenty, once all is built.
        #[arg(long)]
        quick: bool,
        /// Run only the parts whose name contains this (calls, fairness, tls, life); or of `calls`, the benchmarks whose name does; or
        /// `soak`, which no other run has: ten minutes of load, reloads and new certificates.
        filter: Option<String>,
    },
    /// Hold what an admission costs to `tests/budget/budget.yaml`, by counts of instructions and by ratios.
    Budget,
    /// Look for input that breaks a reader, a parser or the edits (`tests/fuzz`).
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Run only this target.
        target: Option<String>,
    },
    /// Build the plugins of this repository into components, and say where they are.
    Plugins,
    /// Build the container image, start it as a cluster would, and say where its archive is.
    Image {
        /// Where no image can be made, say why and end well, once the binary for it was built and has started.
        #[arg(long)]
        where_possible: bool,
    },
    /// Build and check everything that a release publishes, in `target/release-artifacts`; sign and publish nothing.
    Release {
        /// Build although tracked files have changes that are not committed.
        #[arg(long)]
        allow_modified: bool,
        /// Build only for this target; may be given more than once (default: all).
        #[arg(long = "target", value_name = "TARGET")]
        targets: Vec<String>,
    },
}

// === impl Args ===

impl Args {
    /// Reads the command line, runs what it asks for and gives the exit code.
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
            Some(Command::Demo { serve }) => demo::run(if serve { demo::Mode::Serve } else { demo::Mode::Once }),
            Some(Command::Test { filter, only }) => test::run(filter.as_deref(), only),
            Some(Command::Check) => check::run(),
            Some(Command::Bless { filter }) => bless::run(filter.as_deref()),
            Some(Command::Bench { quick, filter }) => {
                bench::run(if quick { bench::Samples::Quick } else { bench::Samples::Full }, filter.as_deref())
            }
            Some(Command::Budget) => budget::run(),
            Some(Command::Fuzz { seconds, target }) => fuzz::run(seconds, target.as_deref()),
            Some(Command::Plugins) => plugins::run(),
            Some(Command::Image { where_possible }) => {
                image::run(if where_possible { image::Tools::WherePossible } else { image::Tools::Required })
            }
            Some(Command::Release { allow_modified, targets }) => {
                release::run(&release::Options { allow_modified, targets })
            }
        }
    }
}
