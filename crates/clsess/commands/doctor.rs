//! `clsess doctor`: what is wrong, and what to do about it. It starts no broker and
//! changes nothing.

use std::path::{Path, PathBuf};

use clsess_broker::doctor::{self, Check, Status};
use clsess_broker::{left, lock};
use clsess_proto::{Failure, VERSION, newer};
use serde_json::json;

use crate::cli::{AgentOptions, Doctor};
use crate::config::Config;
use crate::output::{Output, name_of, plain, print, print_json};
use clsess_client::client::{Client, Start};
use clsess_client::reach::{dies, no_broker};
use clsess_client::surroundings::Surroundings;

pub async fn run(
    options: &Doctor,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let checks = all(surroundings).await;
    if options.json {
        print_json(&json!({ "checks": checks }));
    } else {
        print(&lines(&checks, output.quiet));
    }
    let wrong = checks.iter().any(|check| check.status == Status::Problem);
    Ok(u8::from(wrong))
}

async fn all(surroundings: &Surroundings) -> Vec<Check> {
    let place = &surroundings.place;
    let cwd = std::env::current_dir().unwrap_or(PathBuf::from("/"));
    let mut checks = doctor::places(place);
    let (config, of_config) = config(surroundings);
    checks.extend(of_config);
    checks.push(doctor::lock(place));
    let (broker, process) = broker(surroundings).await;
    checks.push(broker);
    let activating = surroundings.activating.as_deref();
    checks.extend(doctor::service(&surroundings.label).await);
    checks.extend(doctor::logout(&surroundings.label, process, activating));

    // What an agent of a session that this command makes would have.
    let resolved = config.resolve(None, &AgentOptions::default()).ok();
    let of_config = resolved.iter().flat_map(|resolved| &resolved.env);
    let of_config = of_config.map(|(name, value)| (name.into(), value.into()));
    let ours = std::env::vars_os();
    let ours = ours.filter(|(name, _)| !resolved.iter().any(|it| sets(&it.env, name)));
    let env: Vec<_> = ours.chain(of_config).collect();
    let path = resolved
        .as_ref()
        .and_then(|it| it.settings.agent_path.as_deref());
    checks.extend(doctor::agent(&env, &cwd, path).await);
    checks.extend(doctor::sessions(place, process.is_some()));
    checks.push(doctor::leftovers(&env, &cwd));
    checks
}

fn sets(env: &std::collections::BTreeMap<String, String>, name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| env.contains_key(name))
}

/// The config, as far as it can be read.
fn config(surroundings: &Surroundings) -> (Config, Vec<Check>) {
    const NAME: &str = "config";
    let Some((file, _)) = &surroundings.config else {
        let none = Check::ok(NAME, "there is no home directory to have one in");
        return (Config::default(), vec![none]);
    };
    let dir = doctor::config_dir(file.parent().unwrap_or(Path::new("/")));
    let shown = file.display();
    let (config, check) = match Config::load(surroundings.config.as_ref()) {
        Ok(config) if file.exists() => (config, Check::ok(NAME, format!("{shown} can be read"))),
        Ok(config) => (
            config,
            Check::ok(NAME, format!("{shown} is not there, and need not be")),
        ),
        Err(failure) => (Config::default(), Check::failed(NAME, failure)),
    };
    (config, vec![dir, check])
}

/// Whether a broker runs, of which version; and its process.
async fn broker(surroundings: &Surroundings) -> (Check, Option<u32>) {
    const NAME: &str = "broker";
    let client = match Client::connect(surroundings, Start::Never).await {
        Ok(client) => client,
        Err(failure) if failure == no_broker() && lock::is_held(&surroundings.place.lock()) => {
            let message = "one is there, and listens nowhere where it is looked for";
            let hint = "if it has not just begun: clsess broker logs";
            return (Check::problem(NAME, message).hint(hint), None);
        }
        Err(failure) if failure == no_broker() => {
            if let Some(failure) = dies(surroundings) {
                return (Check::failed(NAME, failure), None);
            }
            let agents = left::agents(&surroundings.place);
            if agents > 0 {
                let plural = if agents == 1 { "" } else { "s" };
                let message =
                    format!("none runs, and {agents} agent{plural} of one that has died live on");
                let hint = "clsess broker start takes them up, clsess broker stop ends them";
                return (Check::warning(NAME, message).hint(hint), None);
            }
            let activating = surroundings.activating.as_deref();
            let by = match activating.is_some_and(Path::exists) {
                true => "systemd starts it for the first command that needs it",
                false => "the first command that needs it starts it",
            };
            return (Check::ok(NAME, format!("none runs; {by}")), None);
        }
        Err(failure) => return (Check::failed(NAME, failure), None),
    };
    let process = client.broker.as_ref().map(|broker| broker.pid);
    (running(&client.hello.version), process)
}

fn running(version: &str) -> Check {
    const NAME: &str = "broker";
    if version == VERSION {
        return Check::ok(NAME, format!("{version} runs"));
    }
    let message = format!("{version} runs, and this command is {VERSION}");
    let check = Check::warning(NAME, message);
    if newer(VERSION, version) {
        check.hint(
            "clsess broker upgrade: turns go on; so does the next command that needs a broker",
        )
    } else {
        check.hint("upgrade this command to the broker's version")
    }
}

/// A line for each check, and one for what to do.
fn lines(checks: &[Check], quiet: bool) -> String {
    let told = checks
        .iter()
        .filter(|check| !quiet || check.status == Status::Problem);
    told.map(|check| {
        let status = name_of(&check.status);
        let hint = check.hint.as_deref().map(plain);
        let hint = hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
        format!(
            "{status:<8} {}: {}\n{hint}",
            check.name,
            plain(&check.message)
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_of_another_version_is_told_of() {
        assert_eq!(running(VERSION).status, Status::Ok);
        assert_eq!(running("0.0.9").status, Status::Warning);
    }

    #[test]
    fn a_line_for_each_check() {
        let checks = [
            Check::ok("locks", "fine"),
            Check::warning("login", "old\x1b[2J").hint("look"),
            Check::problem("lock", "gone"),
        ];
        assert_eq!(
            lines(&checks, false),
            "ok       locks: fine\nwarning  login: old [2J\nhint: look\nproblem  lock: gone\n"
        );
        assert_eq!(lines(&checks, true), "problem  lock: gone\n");
    }
}
