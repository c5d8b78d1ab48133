//! What real programs wrote, as `record.py` caught it; the size is in the name: `vim.24x80.bin`.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use clsess_vt::Size;

/// Their names, sizes and bytes.
pub fn all() -> Vec<(String, Size, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((_, size)) = name.strip_suffix(".bin").and_then(|n| n.split_once('.')) else {
            continue;
        };
        let (rows, cols) = size.split_once('x').unwrap();
        let size = Size {
            rows: rows.parse().unwrap(),
            cols: cols.parse().unwrap(),
        };
        found.push((name, size, fs::read(path).unwrap()));
    }
    assert!(!found.is_empty());
    found.sort_by(|a: &(String, _, _), b| a.0.cmp(&b.0));
    found
}

/// Where to split one: some places. The small ones are split everywhere by a test of their own.
pub fn places(bytes: &[u8]) -> Vec<usize> {
    let step = match bytes.len() {
        0..1500 => 7,
        length => length / 60 + 1,
    };
    // not only at multiples of anything
    (0..bytes.len())
        .step_by(step)
        .map(|at| (at + at * 7919 % step).min(bytes.len()))
        .collect()
}
