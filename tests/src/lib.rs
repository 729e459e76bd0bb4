//! Stub.
//! Stub.
