//! How fast a terminal takes a file, beside vt100 alone: `cargo run --release -p clsess-vt --example
//! speed FILE...`. The file's bytes are fed in pieces of 64 KiB.

#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::num::NonZeroU16;
use std::time::Instant;

use clsess_vt::{Size, Terminal};

fn main() {
    for name in std::env::args().skip(1) {
        let bytes = std::fs::read(&name).unwrap();
        let (mut ours, mut alone): (f64, f64) = (0.0, 0.0);
        for _ in 0..3 {
            let mut terminal = Terminal::new(Size { rows: 24, cols: 80 }, 10_000);
            ours = ours.max(speed(&bytes, |piece| drop(terminal.feed(piece))));
            let (rows, cols) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(80).unwrap());
            let mut parser = vt100::Parser::new(rows, cols, 100);
            alone = alone.max(speed(&bytes, |piece| parser.process(piece)));
        }
        println!("{name}: {ours:.0} MB/s, vt100 alone {alone:.0} MB/s");
    }
}

fn speed(bytes: &[u8], mut feed: impl FnMut(&[u8])) -> f64 {
    let start = Instant::now();
    bytes.chunks(65536).for_each(&mut feed);
    bytes.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
}
