//! `ampoule console`: forwards a local port to the console of a replica with `kubectl`, and prints
//! how to open it.
//!
//! The console itself is part of the webhook (`server.console`).

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use super::output;
use crate::args::ConsoleArgs;

pub(crate) fn console(args: &ConsoleArgs) -> anyhow::Result<ExitCode> {
    output::print(&instructions(args))?;
    if args.print {
        return Ok(ExitCode::SUCCESS);
    }
    let status = Command::new("kubectl").args(forwarding(args)).status();
    let status = status.context("cannot run kubectl; --print prints the command")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments of `kubectl`.
fn forwarding(args: &ConsoleArgs) -> [String; 5] {
    let ports = format!("{}:{}", local_port(args), args.port);
    ["--namespace".to_owned(), args.namespace.clone(), "port-forward".to_owned(), args.target.clone(), ports]
}

fn local_port(args: &ConsoleArgs) -> u16 {
    args.local_port.unwrap_or(args.port)
}

fn instructions(args: &ConsoleArgs) -> String {
    let (address, forward) = (format!("http://127.0.0.1:{}/", local_port(args)), forwarding(args).join(" "));
    let open = if args.print {
        format!("Run this command, and open {address}\n\n  kubectl {forward}\n")
    } else {
        format!("Open {address} while this command runs.\n")
    };
    format!("{open}\nSign in with a token of your own, such as the output of:\n\n  kubectl create token ACCOUNT\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_have_the_address_and_the_commands() {
        let mut args = ConsoleArgs {
            namespace: "ampoule".to_owned(),
            target: "deployment/ampoule".to_owned(),
            port: 9445,
            local_port: None,
            print: true,
        };
        let expected = "\
Run this command, and open http://127.0.0.1:9445/

  kubectl --namespace ampoule port-forward deployment/ampoule 9445:9445

Sign in with a token of your own, such as the output of:

  kubectl create token ACCOUNT
";
        assert_eq!(instructions(&args), expected);
        (args.local_port, args.print) = (Some(8080), false);
        let expected = "Open http://127.0.0.1:8080/ while this command runs.\n\nSign in";
        assert!(instructions(&args).starts_with(expected), "{}", instructions(&args));
        assert_eq!(forwarding(&args)[4], "8080:9445");
    }
}
