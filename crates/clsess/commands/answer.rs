//! `clsess approve`, `deny` and `answer`.

use clsess_proto::{Failure, Question, Reply, Request};

use super::questions::{asked, asked_at_once};
use crate::cli::{Answer, Approve, Deny};
use crate::client::{Client, Start, unexpected};
use crate::output::{Output, plain, print, print_json};
use crate::surroundings::Surroundings;

/// The shortest beginning of a question's id that `answer` takes for one: a word of an answer
/// is not by accident the beginning of an id.
const SHORTEST: usize = 8;

pub async fn approve(
    approve: Approve,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let client = Client::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Approve {
        session: approve.name,
        question: approve.id,
        always: approve.always,
    };
    tell(client, request, "approved", approve.json, output).await
}

pub async fn deny(deny: Deny, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    let client = Client::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Deny {
        session: deny.name,
        question: deny.id,
        message: deny.message,
    };
    tell(client, request, "denied", deny.json, output).await
}

pub async fn answer(
    answer: Answer,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    let mut texts = answer.texts;
    let open = asked(&mut client, Some(answer.name.clone())).await?;
    let named = texts.len() > 1 && names_one(&open, &texts[0]);
    let question = match open.as_slice() {
        _ if named => Some(texts.remove(0)),
        // The one that was looked at, not one that comes meanwhile.
        [one] => Some(one.id.clone()),
        _ => None,
    };
    let request = Request::Answer {
        session: answer.name,
        question,
        texts: as_many_as_asked(&open, texts),
    };
    tell(client, request, "answered", answer.json, output).await
}

fn names_one(open: &[Question], word: &str) -> bool {
    word.len() >= SHORTEST && open.iter().any(|question| question.id.starts_with(word))
}

/// The words of one answer are joined, as those of a prompt are; where several questions are
/// asked at once, each has a word of its own.
fn as_many_as_asked(open: &[Question], texts: Vec<String>) -> Vec<String> {
    let several = |question: &Question| asked_at_once(question) > 1;
    if open.iter().any(several) {
        texts
    } else {
        vec![texts.join(" ")]
    }
}

async fn tell(
    mut client: Client,
    request: Request,
    done: &str,
    json: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let question = match client.call(request).await? {
        Reply::Answered { question } => question,
        other => return Err(unexpected(&other)),
    };
    if json {
        print_json(&question);
    } else if !output.quiet {
        // What was answered: another question may have come since one was looked at.
        let first = question.text.lines().next().unwrap_or_default();
        print(&format!("{done}: {}\n", plain(first)));
    }
    Ok(0)
}
