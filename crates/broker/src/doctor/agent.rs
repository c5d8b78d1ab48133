//! Claude Code: where it is, whether it can be used, whether it is logged in.

use std::io::Read;
use std::path::Path;

use clsess_claude::login::{self, Signs, Way};
use clsess_claude::record::Home;
use clsess_claude::version::RECORDED;
use clsess_proto::Driver;

use super::Check;
use crate::session::{Agents, found_agent};
use crate::store::Env;

/// Bytes of a file of the client that are read; one that is longer is not its.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The program, and how it is logged in, for an agent with this environment in this
/// directory.
pub async fn agent(env: &Env, cwd: &Path, configured: Option<&str>) -> Vec<Check> {
    vec![program(env, cwd, configured).await, login(env, cwd)]
}

async fn program(env: &Env, cwd: &Path, configured: Option<&str>) -> Check {
    const NAME: &str = "claude";
    match found_agent(&Agents::default(), env, cwd, configured, Driver::Stream).await {
        Ok((program, version)) => {
            let newer = if version > RECORDED {
                format!("; {RECORDED} was measured")
            } else {
                String::new()
            };
            Check::ok(NAME, format!("{} is {version}{newer}", program.display()))
        }
        Err(failure) => Check::failed(NAME, failure),
    }
}

fn login(env: &Env, cwd: &Path) -> Check {
    let home = Home::new(env, cwd);
    let files = home.as_ref().map(Home::settings_path).into_iter();
    let files = files.chain([login::MANAGED_SETTINGS.into()]);
    let settings: Vec<_> = files.map(|file| bytes_of(&file)).collect();
    let record = home.as_ref().map(|home| bytes_of(home.record_path()));
    let ways = login::ways(&Signs {
        env,
        settings: &settings,
        record: &record.unwrap_or_default(),
        credentials: home.is_some_and(|home| is_filled(&home.credentials_path())),
    });
    judged(&ways)
}

/// What the ways come to.
fn judged(ways: &[Way]) -> Check {
    const NAME: &str = "login";
    const HOW: &str = "run claude, then /login; or set CLAUDE_CODE_OAUTH_TOKEN (claude setup-token) \
         or ANTHROPIC_API_KEY for clsess new";
    let certain: Vec<_> = ways
        .iter()
        .filter(|way| **way != Way::Account)
        .map(|way| words(*way))
        .collect();
    match (certain.is_empty(), ways.is_empty()) {
        (false, _) => Check::ok(NAME, certain.join(", ")),
        (true, false) => {
            let message = "the agent's record names an account, but there is no .credentials.json";
            Check::warning(NAME, message).hint(HOW)
        }
        (true, true) => Check::problem(NAME, "the agent is not logged in").hint(HOW),
    }
}

/// The name of a way, never what it holds.
fn words(way: Way) -> String {
    match way {
        Way::Variable(name) => format!("{name} is set"),
        Way::Setting(name) => format!("{name} is set in the agent's settings"),
        Way::Helper => "apiKeyHelper is in the agent's settings".to_owned(),
        Way::Credentials => "there is a .credentials.json of /login".to_owned(),
        Way::RecordedKey => "the agent's record holds a key".to_owned(),
        Way::Account => "the agent's record names an account".to_owned(),
    }
}

/// What is in the file, as far as it can be read.
fn bytes_of(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(file) {
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    bytes
}

fn is_filled(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn an_account_alone_proves_nothing() {
        assert_eq!(judged(&[]).status, Status::Problem);
        assert_eq!(judged(&[Way::Account]).status, Status::Warning);
        let both = judged(&[Way::Credentials, Way::Account]);
        assert_eq!(both, Check::ok("login", words(Way::Credentials)));
        let two = judged(&[Way::Variable("ANTHROPIC_API_KEY"), Way::Helper]);
        let message = "ANTHROPIC_API_KEY is set, apiKeyHelper is in the agent's settings";
        assert_eq!(two, Check::ok("login", message));
    }
}
