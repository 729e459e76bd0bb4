//! HTTP requests of guests: over TLS, to granted hosts, at addresses that plugins may call.
//!
//! | module | task |
//! | --- | --- |
//! | [`gate`] | checks each request of a guest before any I/O |
//! | [`exchange`] | connects to the checked address, and sends the request |
//! | [`credential`] | attaches the host's credential |
//!
//! A redirect is an ordinary response: the host does not follow it, and checks the next request of
//! the guest like any other. Each request has its own connection, so that a connection carries no
//! data of one pod to the next.

pub(crate) mod credential;
pub(crate) mod exchange;
pub(crate) mod gate;
