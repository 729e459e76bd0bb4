//! `ampoule config convert`: prints what Flyte's configuration files amount to, as a file of this program.
//!
//! What is as it is by default is left out, but for the profile and the injectors. No plugin is loaded.

use std::process::ExitCode;

use super::{load, output};
use crate::args::ConvertArgs;
use ampoule_components::builtins::Builtins;
use ampoule_config::{ConfigSource, FlyteSource};

pub(crate) fn config_convert(args: ConvertArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let ConvertArgs { flyte_config: globs, profile } = args;
    let source = ConfigSource::Flyte(FlyteSource { globs, flags: Vec::new(), profile });
    let config = load(&source, builtins)?;
    output::print(&output::yaml(&config.concise())?)?;
    Ok(ExitCode::SUCCESS)
}
