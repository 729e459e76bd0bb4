//! `ampoule config schema`: prints the JSON Schema of the configuration file.
//!
//! Editors complete and check a configuration with it. The chart contains the same definitions.

use std::process::ExitCode;

use super::output;

pub(crate) fn config_schema() -> anyhow::Result<ExitCode> {
    output::print(&output::json(&ampoule_config::json_schema())?)?;
    Ok(ExitCode::SUCCESS)
}
