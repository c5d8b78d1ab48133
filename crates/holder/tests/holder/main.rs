//! The holder as a real process, seen from where its broker sits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod ending;
mod harness;
mod holding;
mod starting;
mod succession;
