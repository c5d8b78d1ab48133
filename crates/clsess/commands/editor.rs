//! `clsess editor FILE`: the external editor of an agent's interface.
//!
//! The agent starts it on what stands in its input box. When the broker has opened it, it says what
//! is to stand there; that is how prompts get into the interface unchanged. When a person has, or a
//! program that the agent runs, it is the person's own editor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clsess_broker::{EDITOR_DOOR, OWN_EDITOR};
use clsess_proto::{ErrorCode, Failure, Reply, Request};
use serde_bytes::ByteBuf;

use super::hook::Door;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;

/// What the agent's files are called. Measured: `claude-prompt-<uuid>.md`.
const OF_THE_BOX: &str = "claude-prompt-";

/// Edits the files.
///
/// # Errors
/// When there is no broker, no editor, or the file cannot be read or written.
pub async fn edit(files: Vec<OsString>) -> Result<u8, Failure> {
    if let Some(door) = door()
        && let [file] = &files[..]
        && of_the_box(Path::new(file))
        && ask(door, Path::new(file)).await?
    {
        return Ok(0);
    }
    Err(people(&files))
}

fn door() -> Option<Door> {
    let words = std::env::var(EDITOR_DOOR).ok()?;
    let words: Vec<String> = serde_json::from_str(&words).ok()?;
    Door::named(words.into_iter().map(OsString::from)).ok()
}

fn of_the_box(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_bytes();
    name.starts_with(OF_THE_BOX.as_bytes())
}

/// Whether the broker had something to say.
async fn ask(door: Door, file: &Path) -> Result<bool, Failure> {
    let failed = |error: io::Error| {
        let message = format!("{}: {error}", file.display());
        Failure::new(ErrorCode::Internal, message)
    };
    let text = ByteBuf::from(std::fs::read(file).map_err(failed)?);
    let mut link = Link::connect(&door.surroundings, Start::IfMissing).await?;
    match link.call(Request::Edit { text }).await? {
        Reply::Edited { text: Some(text) } => {
            // The agent makes it readable for everybody.
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(file, private).map_err(failed)?;
            std::fs::write(file, text).map_err(failed)?;
            Ok(true)
        }
        Reply::Edited { text: None } => Ok(false),
        other => Err(unexpected(&other)),
    }
}

/// Becomes the editor that the user has chosen; why it does not.
fn people(files: &[OsString]) -> Failure {
    let chosen = [OWN_EDITOR, "EDITOR"].map(std::env::var_os);
    let chosen = chosen.into_iter().flatten().find(|it| !it.is_empty());
    let chosen = chosen.unwrap_or_else(|| OsString::from("vi"));
    // As the agent splits it.
    let words = chosen.as_bytes().split(u8::is_ascii_whitespace);
    let mut words = words.filter(|word| !word.is_empty()).map(OsStr::from_bytes);
    let program = words.next().unwrap_or(OsStr::new("vi"));
    let error = Command::new(program)
        .args(words)
        .args(files)
        .env_remove("VISUAL")
        .envs(std::env::var_os(OWN_EDITOR).map(|own| ("VISUAL", own)))
        .exec();
    let message = format!("{}: {error}", program.display());
    Failure::new(ErrorCode::Internal, message)
}
