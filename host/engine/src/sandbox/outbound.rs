//! HTTP requests of guests: over TLS, to granted hosts, at addresses that plugins may call.
//!
//! | module | task |
//! | --- | --- |
//! | [`grant`] | the hosts that a plugin can call, and the certificates that it trusts |
//! | [`gate`] | checks each request of a guest before any I/O |
//! | [`resolve`] | resolves a host to addresses |
//! | [`exchange`] | connects to the checked address, and sends the request |
//! | [`answers`] | answers requests instead of their hosts, in tests |
//! | [`budget`] | counts the calls and bytes of one admission |
//!
//! A redirect is an ordinary response: the host does not follow it, and checks the next request of
//! the guest like any other. Each request has its own connection, so that a connection carries no
//! data of one pod to the next.

pub(crate) mod answers;
pub(crate) mod budget;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod grant;
pub(crate) mod resolve;
