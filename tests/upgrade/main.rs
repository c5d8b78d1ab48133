//! Another program takes the broker's place, under turns of the real client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
mod newer;
mod place;
mod programs;
mod turns;
mod unfit;
