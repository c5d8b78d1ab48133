//! What `clsess send` must hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

mod answer;
mod background;
mod ending;
mod errors;
mod exact;
mod order;
mod output;
mod readers;
mod unattended;
mod vanishing;
