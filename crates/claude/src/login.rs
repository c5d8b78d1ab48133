//! In which ways the client may be logged in, as its files and variables tell it: that there is
//! something, never what.

use std::ffi::OsString;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Raw, object, text};

/// Where managed settings are, besides the user's own (`Home::settings_path`).
pub const MANAGED_SETTINGS: &str = "/etc/claude-code/managed-settings.json";

/// Variables that hold a credential.
const CREDENTIALS: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
];
/// Variables that choose another provider, which has its own way to log in.
const PROVIDERS: &[&str] = &[
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
];

/// A way to be logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A variable of the environment.
    Variable(&'static str),
    /// The same among the settings' `env`.
    Setting(&'static str),
    /// `apiKeyHelper` in the settings: a program that prints a key.
    Helper,
    /// `.credentials.json`, which `/login` writes.
    Credentials,
    /// A key in the record, which an earlier `/login` wrote.
    RecordedKey,
    /// The record names an account. What proves it is elsewhere: in `.credentials.json`, or in
    /// a keyring.
    Account,
}

/// What there is to go by.
#[derive(Clone, Copy, Debug)]
pub struct Signs<'a> {
    /// The client's environment.
    pub env: &'a [(OsString, OsString)],
    /// The settings files that there are.
    pub settings: &'a [Vec<u8>],
    /// The record (`Home::record_path`); empty when there is none.
    pub record: &'a [u8],
    /// Whether there is a file of credentials (`Home::credentials_path`).
    pub credentials: bool,
}

/// All ways that are there. Which one the client takes, and whether it still holds, is not known
/// before a turn.
#[must_use]
pub fn ways(signs: &Signs<'_>) -> Vec<Way> {
    let mut ways = Vec::new();
    for name in CREDENTIALS.iter().chain(PROVIDERS).copied() {
        let value = signs.env.iter().find(|(it, _)| it == name);
        if value.is_some_and(|(_, value)| !value.is_empty()) {
            ways.push(Way::Variable(name));
        }
        if signs.settings.iter().any(|file| sets(file, name)) {
            ways.push(Way::Setting(name));
        }
    }
    if signs.settings.iter().any(|file| has_helper(file)) {
        ways.push(Way::Helper);
    }
    if signs.credentials {
        ways.push(Way::Credentials);
    }
    let record = parsed::<Record<'_>>(signs.record);
    if record.as_ref().is_some_and(|record| is_text(record.key)) {
        ways.push(Way::RecordedKey);
    }
    if record.is_some_and(|record| object::<Account>(record.account).is_some()) {
        ways.push(Way::Account);
    }
    ways
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "primaryApiKey")]
    key: Raw<'a>,
    #[serde(borrow, rename = "oauthAccount")]
    account: Raw<'a>,
}

#[derive(Deserialize)]
struct Account {}

#[derive(Deserialize)]
struct Settings<'a> {
    #[serde(borrow, rename = "apiKeyHelper")]
    helper: Raw<'a>,
    #[serde(borrow)]
    env: Raw<'a>,
}

fn parsed<'a, T: Deserialize<'a>>(file: &'a [u8]) -> Option<T> {
    object(serde_json::from_slice::<&RawValue>(file).ok())
}

fn has_helper(settings: &[u8]) -> bool {
    parsed::<Settings<'_>>(settings).is_some_and(|settings| is_text(settings.helper))
}

fn sets(settings: &[u8], name: &str) -> bool {
    let env = parsed::<Settings<'_>>(settings).and_then(|settings| settings.env);
    let env = object::<std::collections::HashMap<String, &RawValue>>(env).unwrap_or_default();
    is_text(env.get(name).copied())
}

fn is_text(value: Raw<'_>) -> bool {
    text(value).is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(env: &[(&str, &str)], settings: &[&str], record: &str, credentials: bool) -> Vec<Way> {
        let env: Vec<_> = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let settings: Vec<_> = settings.iter().map(|s| s.as_bytes().to_vec()).collect();
        ways(&Signs {
            env: &env,
            settings: &settings,
            record: record.as_bytes(),
            credentials,
        })
    }

    #[test]
    fn each_way_by_itself() {
        assert_eq!(
            found(&[("ANTHROPIC_API_KEY", "k")], &[], "", false),
            [Way::Variable("ANTHROPIC_API_KEY")]
        );
        assert_eq!(
            found(&[("CLAUDE_CODE_USE_BEDROCK", "1")], &[], "", false),
            [Way::Variable("CLAUDE_CODE_USE_BEDROCK")]
        );
        let settings = r#"{"env":{"CLAUDE_CODE_OAUTH_TOKEN":"t"}}"#;
        assert_eq!(
            found(&[], &["{}", settings], "", false),
            [Way::Setting("CLAUDE_CODE_OAUTH_TOKEN")]
        );
        assert_eq!(
            found(&[], &[r#"{"apiKeyHelper":"~/key.sh"}"#], "", false),
            [Way::Helper]
        );
        assert_eq!(found(&[], &[], "", true), [Way::Credentials]);
        assert_eq!(
            found(&[], &[], r#"{"primaryApiKey":"k"}"#, false),
            [Way::RecordedKey]
        );
        assert_eq!(
            found(
                &[],
                &[],
                r#"{"oauthAccount":{"emailAddress":"a@b"}}"#,
                false
            ),
            [Way::Account]
        );
    }

    #[test]
    fn what_is_empty_or_of_another_kind_is_no_way() {
        let settings = [
            "",
            "[]",
            r#"{"apiKeyHelper":"","env":{"ANTHROPIC_API_KEY":""}}"#,
            r#"{"apiKeyHelper":1,"env":["ANTHROPIC_API_KEY"]}"#,
        ];
        for record in ["", "{", r#"{"primaryApiKey":"","oauthAccount":null}"#] {
            assert_eq!(
                found(&[("ANTHROPIC_API_KEY", "")], &settings, record, false),
                []
            );
        }
    }
}
