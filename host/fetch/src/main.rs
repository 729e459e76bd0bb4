//! The program `ampoule-fetch`: fetches the secrets of its pod, and ends. The webhook adds it to a
//! pod as the first init container.

use std::process::ExitCode;

fn main() -> ExitCode {
    ampoule_fetch::FetchArgs::parse_and_run()
}
