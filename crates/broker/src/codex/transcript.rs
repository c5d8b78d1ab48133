//! Why a turn has failed, which no hook tells: it stands in Codex's transcript.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

/// Bytes at the end of a transcript that are looked through.
const LOOKED_AT: u64 = 256 * 1024;
/// Bytes of a message that are kept.
const MAX_MESSAGE: usize = 4096;

#[derive(Deserialize)]
struct Line {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    r#type: String,
    turn_id: Option<String>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    message: String,
}

/// What the transcript at `path` says of the error that has ended this turn.
#[must_use]
pub fn error(path: &Path, turn: &str) -> Option<String> {
    let end = end_of(path).ok()?;
    end.split(|byte| *byte == b'\n')
        .rev()
        .find_map(|line| error_in(line, turn))
}

/// The error of this turn that a line of the transcript tells.
#[must_use]
pub fn error_in(line: &[u8], turn: &str) -> Option<String> {
    let payload = serde_json::from_slice::<Line>(line).ok()?.payload;
    let ours = payload.r#type == "task_complete" && payload.turn_id.as_deref() == Some(turn);
    let mut message = payload.error.filter(|_| ours)?.message;
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Some(message)
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT)))?;
    let mut end = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut end)?;
    Ok(end)
}
