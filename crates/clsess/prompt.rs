//! The prompt: words, a file, stdin, byte for byte.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use clsess_proto::{ErrorCode, Failure, MAX_PROMPT, check_prompt};

/// The prompt that the command line means. stdin is read only when there is nothing
/// else, or where `-` stands for it: an inherited one never hangs a job.
///
/// # Errors
/// For what cannot be read, and for what is no prompt.
pub fn read(words: Vec<OsString>, file: Option<&Path>) -> Result<String, Failure> {
    let mut parts = Vec::new();
    let mut words = words;
    let stdin_last = words.last().is_some_and(|word| word == "-");
    if stdin_last {
        words.pop();
    }
    let nothing_else = words.is_empty() && file.is_none();
    if !words.is_empty() {
        parts.push(words.join(" ".as_ref()).into_vec());
    }
    match file {
        Some(path) if path == Path::new("-") => parts.push(stdin()?),
        Some(path) => parts.push(from_file(path)?),
        None => {}
    }
    if stdin_last || nothing_else {
        parts.push(stdin()?);
    }
    checked(parts.join(&b"\n\n"[..]))
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        eprintln!("clsess: reading the prompt from the terminal; end it with Ctrl-D");
    }
    bounded(input.lock()).map_err(|e| unreadable("stdin", &e))
}

fn from_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    File::open(path)
        .and_then(bounded)
        .map_err(|e| unreadable(&name, &e))
}

/// Reads a little more than is allowed, so that too much is seen and not cut.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_PROMPT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::new(
        ErrorCode::BadRequest,
        format!("cannot read the prompt from {what}: {error}"),
    )
}

fn checked(bytes: Vec<u8>) -> Result<String, Failure> {
    let prompt = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let message = format!("the prompt is not UTF-8 (byte {at})");
        Failure::new(ErrorCode::PromptInvalid, message)
            .hint("iconv -f latin1 -t utf-8 FILE | clsess send NAME")
    })?;
    check_prompt(&prompt)?;
    Ok(prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<String, Failure> {
        read(words.iter().map(OsString::from).collect(), None)
    }

    #[test]
    fn words_are_joined_and_nothing_is_touched() {
        assert_eq!(words(&["a", "b  c"]).unwrap(), "a b  c");
        assert_eq!(words(&["5", "-", "3"]).unwrap(), "5 - 3");
        assert_eq!(words(&[" x\t\n "]).unwrap(), " x\t\n ");
    }

    #[test]
    fn a_file_follows_the_words_after_a_blank_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, "body\n").unwrap();
        assert_eq!(
            read(vec!["head".into()], Some(&path)).unwrap(),
            "head\n\nbody\n"
        );
        assert_eq!(read(vec![], Some(&path)).unwrap(), "body\n");
    }

    #[test]
    fn what_is_no_prompt_is_told_by_its_name() {
        let code = |bytes: &[u8]| checked(bytes.to_vec()).unwrap_err().code;
        assert_eq!(code(b""), ErrorCode::PromptEmpty);
        assert_eq!(code(" \n\t\u{a0}".as_bytes()), ErrorCode::PromptEmpty);
        assert_eq!(code(b"a\0b"), ErrorCode::PromptInvalid);
        assert_eq!(code(b"a\xff"), ErrorCode::PromptInvalid);
        assert_eq!(code(&vec![b'x'; MAX_PROMPT + 1]), ErrorCode::PromptTooLong);
    }
}
