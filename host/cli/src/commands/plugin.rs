//! The commands for plugin authors: `new`, `build`, `test` and `bench`.
//!
//! Components run in the engine that `serve` uses, with its default limits.

mod answer;
mod bench;
mod build;
mod case;
mod given;
mod given_credential;
mod new;
mod result;
mod run;
mod schema;
mod sent;
mod test;
#[cfg(test)]
mod tests;
mod workbench;

pub(crate) use self::{bench::plugin_bench, build::plugin_build, new::plugin_new, test::plugin_test};
