//! `clsess questions`, and a question as people are shown it.

use clsess_proto::{Failure, Question, QuestionKind, Reply, Request};
use serde_json::json;

use crate::cli::Questions;
use crate::output::{brief, plain, print, print_json};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(questions: Questions, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let asked = asked(&mut link, questions.name).await?;
    if questions.json {
        print_json(&json!({ "questions": asked }));
    } else {
        let shown: Vec<String> = asked.iter().map(shown).collect();
        print(&shown.join("\n"));
    }
    Ok(0)
}

/// The open questions.
///
/// # Errors
/// Of the broker.
pub async fn asked(link: &mut Link, session: Option<String>) -> Result<Vec<Question>, Failure> {
    match link.call(Request::Questions { session }).await? {
        Reply::Questions { questions } => Ok(questions),
        other => Err(unexpected(&other)),
    }
}

/// A question with all that it takes to answer it.
fn shown(question: &Question) -> String {
    let Question { id, session, .. } = question;
    format!("{session}  {id}\n{}", words(question, &short(id)))
}

/// The beginning of a question's id that stands for it.
#[must_use]
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// How many answers it wants.
#[must_use]
pub fn asked_at_once(question: &Question) -> usize {
    let asked = question
        .input
        .get("questions")
        .and_then(|asked| asked.as_array());
    asked.map_or(1, Vec::len)
}

/// The question, its options, and what to type.
#[must_use]
pub fn words(question: &Question, id: &str) -> String {
    let Question {
        session,
        text,
        tool,
        ..
    } = question;
    let lines = text.lines().map(|line| format!("  {}\n", plain(line)));
    let mut words: String = lines.collect();
    for (number, option) in (1..).zip(&question.options) {
        words += &format!("  {number}. {}\n", plain(option));
    }
    let id = if id.is_empty() {
        String::new()
    } else {
        format!(" {id}")
    };
    words
        + &match question.kind {
            QuestionKind::Question => {
                let texts = vec!["TEXT"; asked_at_once(question)].join(" ");
                format!("hint: clsess answer {session}{id} {texts}\n")
            }
            QuestionKind::Plan => {
                format!("hint: clsess approve {session}{id}; clsess deny {session}{id} -m TEXT\n")
            }
            QuestionKind::Dialog => format!("hint: clsess attach {session}\n"),
            QuestionKind::Permission | QuestionKind::Unknown => format!(
                "  {} {}\nhint: clsess approve {session}{id}; clsess deny {session}{id}\n",
                plain(tool),
                brief(&question.input)
            ),
        }
}
