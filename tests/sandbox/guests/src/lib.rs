//! Hostile guests for the sandbox tests.
//! Filled in next.
