//! Attacks that once ended or blocked the process, each with its bound.
//!
//! The numbers are those of the hostile review that found them. During each attack, a second client
//! is served, and the process stays below the memory limit of the chart.
//!
//! | number | module |
//! | --- | --- |
//! | 1, 2 | [`small_inputs`] |
//! | 3 | [`long_mutations`] |
//! | 4 | [`slow_clients`] |
//! | 5 | [`config_maps`] |
//! | 6 | [`log_and_start`] |
//! | 7 | [`forged_reviews`], and `tests/e2e/clients.rs` |
//! | 8 | [`service_account`] |
//! | 9 | [`policy_rules`] |
//! | 10 | [`plugin_edits`] |
//! | 11 | [`messages`] |
//! | 12 | [`audit_trail`] |
//! | 13 | [`confusing_text`] |

mod all_at_once;
mod attacker;
mod audit_trail;
mod config_maps;
mod confusing_text;
mod forged_reviews;
mod log_and_start;
mod long_mutations;
mod messages;
mod plugin_edits;
mod policy_rules;
mod service_account;
mod slow_clients;
mod small_inputs;
mod support;
