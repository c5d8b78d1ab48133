//! A client in another language, written from PROTOCOL.md alone by somebody who had
//! not seen the code: `python/client.py`. Its own tests run against a broker and the
//! real Claude Code.

mod harness;

use harness::{CLSESS, World};

#[test]
fn the_python_client_passes_its_tests() {
    let Some(world) = World::real() else { return };
    let Ok(python) = which("python3") else {
        println!("skipped: there is no python3");
        return;
    };
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
    let args = ["-B", "-m", "unittest", "discover", "-s", tests];
    let done = world
        .program(&python, &args)
        .env("CLSESS_BIN", CLSESS)
        .run();
    assert_eq!(done.code, 0, "{}", done.stderr);
}

fn which(name: &str) -> Result<String, std::env::VarError> {
    let path = std::env::var("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found
        .map(|file| file.display().to_string())
        .ok_or(std::env::VarError::NotPresent)
}
