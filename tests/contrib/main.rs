//! What is in `contrib`: everything there runs as it is written, in the program that it is for.
//!
//! What holds for every editor is in `cases.rs`, and run in the real Neovim and the real Emacs, which
//! have no terminal and a home of their own. The task of VS Code, which is not there, is run as its
//! documentation says; the line for cron by the real cron; the units' command as systemd would; the page
//! in the real Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/terminal.rs"]
#[allow(dead_code, reason = "one test needs a terminal")]
mod terminal;

mod browser;
mod cases;
mod driver;
mod editor;
mod emacs;
mod jobs;
mod vscode;
mod web;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines that README.md has people type, in the block below the line that begins so.
fn install_lines(of: &str) -> String {
    let readme = read("README.md");
    let below = readme.split_once(&format!("\n{of}")).expect(of).1;
    let block = below.split_once("\n```").unwrap().1;
    let lines = block.split_once('\n').unwrap().1;
    lines.split_once("\n```").unwrap().0.to_owned()
}

/// Makes all cases tests of an editor.
macro_rules! all_cases_of {
    ($editor:ident) => {
        cases_of!($editor {
            an_answer_comes_byte_for_byte,
            a_prompt_arrives_byte_for_byte_and_is_in_no_argument,
            a_text_of_a_hundred_kilobytes_goes_behind_the_prompt,
            the_editor_is_free_while_an_answer_comes,
            a_prompt_is_taken_back,
            what_went_wrong_is_told_with_its_hint,
            prompts_that_wait_for_each_other_do_not_mix,
            a_denied_question_is_told,
            a_question_is_answered_from_the_editor,
            states_come_from_one_process,
            a_project_names_its_session,
            the_end_of_the_editor_ends_what_it_waits_for,
        });
    };
}

macro_rules! cases_of {
    ($editor:ident { $($case:ident,)* }) => {
        $(
            #[test]
            fn $case() {
                let Some(world) = crate::harness::World::real() else { return };
                crate::cases::$case::<$editor<'_>>(&world);
            }
        )*
    };
}

use {all_cases_of, cases_of};
