//! The man pages that are committed are those of this code, and what PROTOCOL.md says of bytes and
//! error codes is true.
//!
//! `make docs` (`UPDATE=1 cargo nextest run --test docs`) writes them again. The pages of the
//! commands are made of the argument parser; `man/src/PAGE.1.md` adds the sections that a parser
//! does not know. clsess-config(5) is `man/src/clsess-config.5.md`, clsess-protocol(7) is
//! PROTOCOL.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

#[path = "../../crates/clsess/cli.rs"]
#[allow(dead_code, missing_docs)]
mod cli;
mod example;
mod roff;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;

/// The options that every command has; they are described once, in clsess(1).
const GLOBAL: &str = "## GLOBAL OPTIONS\n\n`-S`, `-L`, `--config`, `-v`, `-q` and `--color` may \
     stand here too: see clsess(1).\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All generated files by their path in the repository.
fn generated() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let protocol = example::refreshed(&read("PROTOCOL.md"));
    let pages = command_pages();
    let mut names: Vec<String> = pages.keys().map(|name| format!("{name}(1)")).collect();
    names.extend(["clsess-config(5)", "clsess-protocol(7)"].map(str::to_owned));
    for (name, page) in pages {
        let see = see_also(&names, &format!("{name}(1)"));
        files.insert(format!("man/{name}.1").into(), page + &roff::body(&see));
    }
    for (name, section, about, source) in [
        (
            "clsess-config",
            5,
            "the configuration file of clsess",
            read("man/src/clsess-config.5.md"),
        ),
        (
            "clsess-protocol",
            7,
            "what crosses the socket of the clsess broker",
            protocol.replacen("\n\n", "\n\n## DESCRIPTION\n\n", 1),
        ),
    ] {
        let this = format!("{name}({section})");
        let page = roff::head(name, section)
            + &roff::name(name, about)
            + &roff::body(&source)
            + &roff::body(&see_also(&names, &this));
        files.insert(format!("man/{name}.{section}").into(), page);
    }
    files.insert("PROTOCOL.md".into(), protocol);
    files
}

fn see_also(names: &[String], this: &str) -> String {
    let family = |name: &str| match name.strip_prefix("clsess-broker-") {
        Some(_) => this.starts_with("clsess-broker"),
        None => true,
    };
    let others: Vec<_> = names
        .iter()
        .filter(|name| *name != this && family(name))
        .map(|name| format!("**{}**{}", &name[..name.len() - 3], &name[name.len() - 3..]))
        .collect();
    format!("## SEE ALSO\n\n{}\n", others.join(", "))
}

/// A page for the command and for each of its verbs, by name.
fn command_pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    collect_pages(cli::Cli::command(), "clsess", &mut pages);
    pages
}

fn collect_pages(command: clap::Command, words: &str, pages: &mut BTreeMap<String, String>) {
    let name = words.replace(' ', "-");
    let command = command
        .display_name(name.clone())
        .bin_name(words.to_owned())
        .disable_help_subcommand(true);
    for verb in command.get_subcommands() {
        let words = format!("{words} {}", verb.get_name());
        collect_pages(verb.clone(), &words, pages);
    }
    pages.insert(name.clone(), page(command, &name));
}

/// One page: what the parser knows, then what people have written.
fn page(command: clap::Command, name: &str) -> String {
    let has_verbs = command.has_subcommands();
    let is_root = name == "clsess";
    let has_more_to_say = command.get_long_about().is_some();
    let about = command
        .get_about()
        .expect("every command says what it is")
        .to_string();
    let begin = roff::head(name, 1) + &roff::name(name, &about) + &roff::body(&synopsis(&command));
    let man = clap_mangen::Man::new(command);
    let mut made = Vec::new();
    if has_more_to_say {
        man.render_description_section(&mut made).unwrap();
    }
    man.render_options_section(&mut made).unwrap();
    if has_verbs {
        man.render_subcommands_section(&mut made).unwrap();
    }
    // Each section begins with the same two lines for groff's apostrophes.
    let made = String::from_utf8(made)
        .unwrap()
        .replace(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n", "");
    let source = root().join(format!("man/src/{name}.1.md"));
    let written = fs::read_to_string(&source).unwrap_or_default();
    let global = if is_root { "" } else { GLOBAL };
    begin + &made + &roff::body(global) + &roff::body(&written)
}

/// What can be typed, on one line.
fn synopsis(command: &clap::Command) -> String {
    let values = |arg: &clap::Arg| match arg.get_value_names() {
        Some(names) if arg.get_action().takes_values() => names.join(" "),
        _ => String::new(),
    };
    let mut words = vec![format!("`{}`", command.get_bin_name().unwrap_or_default())];
    for option in command.get_opts() {
        let flag = match (option.get_short(), option.get_long()) {
            (Some(short), _) => format!("-{short}"),
            (None, Some(long)) => format!("--{long}"),
            (None, None) => continue,
        };
        let value = values(option);
        let gap = if value.is_empty() { "" } else { " " };
        words.push(format!("[`{flag}`{gap}*{value}*]").replace("**", ""));
    }
    for arg in command.get_positionals() {
        let name = values(arg);
        let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
        let name = format!("*{name}*{}", if many { "..." } else { "" });
        words.push(if arg.is_required_set() {
            name
        } else {
            format!("[{name}]")
        });
    }
    if command.has_subcommands() {
        words.push("*COMMAND*".to_owned());
    }
    format!("## SYNOPSIS\n\n{}\n", words.join(" "))
}

#[test]
fn the_committed_files_are_those_of_this_code() {
    let files = generated();
    if std::env::var_os("UPDATE").is_some_and(|v| !v.is_empty()) {
        for path in left_over(&files) {
            fs::remove_file(path).unwrap();
        }
        for (path, text) in &files {
            fs::create_dir_all(root().join(path).parent().unwrap()).unwrap();
            fs::write(root().join(path), text).unwrap();
        }
        return;
    }
    let stale = files
        .iter()
        .filter(|(path, text)| fs::read_to_string(root().join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.clone());
    let stale: Vec<_> = stale.chain(left_over(&files)).collect();
    assert!(stale.is_empty(), "run: make docs\nstale: {stale:?}");
}

/// Pages of what is no more.
fn left_over(files: &BTreeMap<PathBuf, String>) -> Vec<PathBuf> {
    let there = fs::read_dir(root().join("man")).into_iter().flatten();
    there
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .filter(|path| !files.contains_key(path.strip_prefix(root()).unwrap()))
        .collect()
}

#[test]
fn every_written_section_has_its_page() {
    let files = generated();
    for entry in fs::read_dir(root().join("man/src")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let page = PathBuf::from("man").join(file.strip_suffix(".md").unwrap());
        assert!(files.contains_key(&page), "man/src/{file} is of no page");
    }
}

#[test]
fn the_pages_are_sound() {
    let pages: Vec<PathBuf> = fs::read_dir(root().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert!(pages.len() > 10);
    for page in pages {
        let output = Command::new("groff")
            .args(["-k", "-t", "-man", "-ww", "-z", "-Tutf8"])
            .arg(&page)
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: there is no groff");
            return;
        };
        // What does not fit on a sheet of paper fits on a terminal.
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said
            .lines()
            .filter(|l| !l.contains("fit on one page"))
            .collect();
        assert!(output.status.success() && said.is_empty(), "{said:#?}");
    }
}

/// Rows `| code | exit |...` of a Markdown table, from the heading on.
fn exit_rows(text: &str, heading: &str) -> Vec<(String, u8)> {
    let rows = text.split_once(heading).expect(heading).1.lines().skip(1);
    let section = rows.take_while(|line| !line.starts_with("## "));
    section
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code = cells.next()?.trim_matches('`').to_owned();
            Some((code, cells.next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn the_protocol_names_every_error_code_and_its_exit_code() {
    let rows = exit_rows(&read("PROTOCOL.md"), "\n## Error codes");
    for (code, exit) in &rows {
        let known: clsess_proto::ErrorCode =
            serde_json::from_value(code.as_str().into()).expect("a string is a code");
        assert_ne!(known, clsess_proto::ErrorCode::Unknown, "{code}");
        assert_eq!(known.exit(), *exit, "{code}");
    }
    let source = read("crates/proto/src/error.rs");
    let variants = source
        .split_once("pub enum ErrorCode {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map(|(body, _)| body.lines())
        .expect("the enum")
        .map(str::trim)
        .filter(|line| line.ends_with(',') && !line.starts_with("//"));
    // All but `Unknown`, which is never sent.
    assert_eq!(rows.len(), variants.count() - 1);
}
