//! What requests beyond the sandbox need: granted hosts, name resolution, and budgets.
//!
//! | module | task |
//! | --- | --- |
//! | [`grant`] | the hosts that a plugin can call, and the certificates that it trusts |
//! | [`resolve`] | resolves a host to addresses |
//! | [`answers`] | answers requests instead of their hosts, in tests |
//! | [`budget`] | counts the calls and bytes of one admission |
//!
//! [`guest_http`](super::guest_http) sends the requests.

pub(crate) mod answers;
pub(crate) mod budget;
pub(crate) mod grant;
pub(crate) mod resolve;
