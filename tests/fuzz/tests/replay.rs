//! Every file of the corpus through its target, so that neither rots.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

use std::path::Path;

use clsess_claude::parse;
use clsess_fuzz::{POOL, TARGETS, Target};

fn replay(target: &str) {
    let run: Target = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut files = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display()); // shown where it fails
        run(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
    run(&[]);
}

#[test]
fn stream() {
    replay("stream");
}

#[test]
fn tracker() {
    replay("tracker");
}

#[test]
fn vt() {
    replay("vt");
}

#[test]
fn lines() {
    replay("lines");
}

#[test]
fn sse() {
    replay("sse");
}

#[test]
fn frames() {
    replay("frames");
}

#[test]
fn holder() {
    replay("holder");
}

/// A line that cannot be read would move all lines behind it to other numbers.
#[test]
fn every_line_of_the_pool_is_read() {
    assert!(POOL.lines().count() <= 224);
    for line in POOL.lines() {
        assert!(parse(line.as_bytes()).is_ok(), "{line}");
    }
}
