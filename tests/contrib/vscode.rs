//! The tasks of VS Code. It is not here: a task is run as its documentation and its source say, with
//! its variables put in, and the command behind the arguments of the shell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{CLSESS, Cmd, World};
use crate::{install_lines, read, root};

/// What VS Code puts in.
struct Window<'a> {
    world: &'a World,
    variables: BTreeMap<&'static str, String>,
}

impl<'a> Window<'a> {
    fn new(world: &'a World, prompt: &str) -> Self {
        let folder = world.project().to_str().unwrap().to_owned();
        let variables = [
            ("${workspaceFolder}", folder),
            ("${workspaceFolderBasename}", "project".to_owned()),
            ("${input:prompt}", prompt.to_owned()),
        ];
        Self {
            world,
            variables: variables.into(),
        }
    }

    fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.insert(variable, value.to_owned());
        self
    }

    fn resolved(&self, text: &str) -> String {
        let known = self.variables.iter();
        // One after the other would look for variables in what was put in.
        let whole = known.clone().find(|(name, _)| **name == text);
        let resolved = whole.map_or_else(|| text.to_owned(), |(_, value)| value.clone());
        assert!(whole.is_some() || !text.contains("${"), "{text}");
        resolved
    }

    /// The task as VS Code starts it.
    fn task(&self, label: &str) -> Cmd {
        let task = task(label);
        assert_eq!(task["type"], "shell");
        let options = &task["options"];
        let shell = &options["shell"];
        let arguments = shell["args"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&task["command"]]);
        let arguments: Vec<String> = arguments
            .map(|text| self.resolved(text.as_str().unwrap()))
            .collect();
        let program = shell["executable"].as_str().unwrap();
        let path = Path::new(CLSESS).parent().unwrap();
        let own = self
            .world
            .env()
            .into_iter()
            .find(|(name, _)| *name == "PATH")
            .unwrap()
            .1;
        let cmd = self
            .world
            .program(program, &arguments)
            .env("PATH", format!("{}:{own}", path.display()));
        let variables = options["env"].as_object().unwrap().iter();
        variables
            .fold(cmd, |cmd, (name, value)| {
                cmd.env(name, self.resolved(value.as_str().unwrap()))
            })
            .cwd(self.resolved(options["cwd"].as_str().unwrap()))
            .silent_stdin()
    }
}

fn tasks() -> Value {
    serde_json::from_str(&read("contrib/vscode/tasks.json")).unwrap()
}

fn task(label: &str) -> Value {
    let tasks = tasks();
    let mut all = tasks["tasks"].as_array().unwrap().iter();
    all.find(|task| task["label"] == label)
        .unwrap_or_else(|| panic!("{label}"))
        .clone()
}

const PROMPT: &str = "clsess: prompt";
const SELECTION: &str = "clsess: prompt with the selection";
const FILE: &str = "clsess: prompt with this file";

/// What a shell, printf and clsess could take for something else.
const HARD: &str = "-n \"$HOME\" `touch x` $(touch x) 'é' \\n %s ${file} 日本語 🎉";

#[test]
fn there_are_no_other_tasks_and_inputs() {
    let tasks = tasks();
    let labels = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["label"]);
    assert_eq!(labels.collect::<Vec<_>>(), [PROMPT, SELECTION, FILE]);
    assert_eq!(tasks["version"], "2.0.0");
    let inputs = json!([{"id": "prompt", "type": "promptString", "description": "Prompt"}]);
    assert_eq!(tasks["inputs"], inputs);
}

#[test]
fn they_are_put_where_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let install = install_lines("**VS Code**")
        .replace("~/src/clsess/contrib", root("contrib").to_str().unwrap());
    let installed = || {
        let mut shell = Command::new("bash");
        shell.args(["-c", &install]).current_dir(&dir);
        shell.status().unwrap();
        std::fs::read_to_string(dir.path().join(".vscode/tasks.json")).unwrap()
    };
    assert_eq!(installed(), read("contrib/vscode/tasks.json"));
    std::fs::write(dir.path().join(".vscode/tasks.json"), "{}").unwrap();
    assert_eq!(installed(), "{}");
}

#[test]
fn each_task_prints_the_answer_of_exactly_its_prompt() {
    let Some(world) = World::real() else { return };
    let selected = "\tone\n/two\n -n ${selectedText} \\ \"x\" %d\n\n  é\n".repeat(2000);
    assert!(selected.len() > 80_000 && selected.len() < 128 << 10);
    let file = world.root().join("a file 'of' $mine");
    std::fs::write(&file, &selected).unwrap();
    let file = file.to_str().unwrap();
    world
        .api
        .rule_repeat("-n", json!([{"text": "  the answer\n\nof it"}]));
    let behind = format!("{HARD}\n\n{selected}");
    for (label, prompt) in [(PROMPT, HARD), (SELECTION, &behind), (FILE, &behind)] {
        let window = Window::new(&world, HARD)
            .with("${selectedText}", &selected)
            .with("${file}", file);
        let before = world.api.next();
        let done = window.task(label).run().ok();
        assert_eq!(
            (done.text(), done.stderr.as_str()),
            ("  the answer\n\nof it\n", "")
        );
        assert!(world.api.prompts(before) == [prompt], "{label}");
        // The session is that of the folder, made by this.
        assert_eq!(
            left_in_the_environment(&world),
            Vec::<String>::new(),
            "{label}"
        );
        world.clsess(&["kill", "project"]).run().ok();
    }
    assert!(!world.project().join("x").exists());
}

/// What the agent of the folder's session has of a task in its environment.
fn left_in_the_environment(world: &World) -> Vec<String> {
    let agent = world.agent("project");
    let environment = std::fs::read(format!("/proc/{agent}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(environment.contains("HOME="), "{environment:?}");
    let of_a_task = ["PROMPT=", "TEXT=", "FILE=", "SESSION="];
    let left = environment
        .split('\0')
        .filter(|variable| of_a_task.iter().any(|name| variable.starts_with(name)));
    left.map(str::to_owned).collect()
}

#[test]
fn no_argument_has_the_prompt_and_a_failure_its_code() {
    let Some(world) = World::real() else { return };
    world
        .api
        .rule("secret", json!([{"text": "late", "hold": "h"}]));
    let window = Window::new(&world, "a secret").with("${selectedText}", "more that is secret");
    let running = window.task(SELECTION).spawn();
    world.api.wait_hold("h", 1);
    let tells = world
        .processes()
        .into_iter()
        .find(|(_, line)| line.contains("secret"));
    assert_eq!(tells, None);
    world.clsess(&["interrupt", "project"]).run().ok();
    let done = running.wait().fails(10);
    assert!(done.stderr.starts_with("clsess: "), "{}", done.stderr);
    world.api.release("h");
    let window = Window::new(&world, "hi").with("${workspaceFolderBasename}", "no name");
    let done = window.task(PROMPT).run().fails(2);
    assert!(done.stderr.starts_with("clsess: "), "{}", done.stderr);
}
