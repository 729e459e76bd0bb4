//! `ampoule config convert`: converts Flyte's configuration files to Ampoule's format.
//!
//! Keys with default values are omitted, except for the profile and the injectors. No plugin is
//! loaded.

use std::process::ExitCode;

use super::{output, setup::load_config};
use crate::args::ConvertArgs;
use ampoule_components::builtins::Builtins;
use ampoule_config::{ConfigSource, FlyteSource};

pub(crate) fn config_convert(args: ConvertArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let source = FlyteSource { globs: args.flyte_config, flags: Vec::new(), profile: args.profile };
    let config = load_config(&ConfigSource::Flyte(source), builtins)?;
    output::print(&output::yaml(&config.concise())?)?;
    Ok(ExitCode::SUCCESS)
}
