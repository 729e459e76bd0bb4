//! Attacks that once ended or blocked the process, each with its bound.
//!
//! The numbers are those of the hostile review that found them. During each attack, a second client
//! is served, and the process stays below the memory limit of the chart.

mod all_at_once;
mod attacker;
mod audit_trail;
mod config_maps;
mod plugin_edits;
mod slow_clients;
mod small_inputs;
mod support;
