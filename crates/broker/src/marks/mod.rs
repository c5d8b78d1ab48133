//! Semantic prompt marks (OSC 133, known from FinalTerm): how a shell or any other program that reads
//! commands tells its terminal where a prompt begins (`A`) and ends (`B`), and where the output of a
//! command begins (`C`) and ends (`D`, with its exit status).
//!
//! Pure functions on bytes: [`scan`] finds the marks, [`text`] makes an answer of the output,
//! [`tracker`] knows whose turn it is, [`line`] whether somebody else has typed, [`prompt`] how a prompt
//! is typed.

pub mod line;
pub mod prompt;
pub mod scan;
pub mod text;
pub mod tracker;

#[cfg(test)]
mod tests;
