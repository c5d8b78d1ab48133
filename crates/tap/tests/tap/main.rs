//! The tap between a client and a server that say exactly what the tests give them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod authority;
mod credentials;
mod faults;
mod outward;
mod passing;
mod support;
mod told;
