//! `clsess approve`, `deny` and `answer`.

use clsess_proto::{Failure, Question, Reply, Request};

use super::questions::{asked, asked_at_once};
use crate::cli::{Answer, Approve, Deny};
use crate::output::{Output, plain, print, print_json};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// The shortest beginning of a question's id that `answer` takes for one: a word of an answer
/// is not by accident the beginning of an id.
const SHORTEST: usize = 8;

pub async fn approve(
    approve: Approve,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let session = link.id_of(&approve.name).await?;
    let open = asked(&mut link, Some(session.clone())).await?;
    let request = Request::Approve {
        session,
        question: meant(&open, approve.id),
        always: approve.always,
    };
    tell(link, open, request, "approved", approve.json, output).await
}

pub async fn deny(deny: Deny, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let session = link.id_of(&deny.name).await?;
    let open = asked(&mut link, Some(session.clone())).await?;
    let request = Request::Deny {
        session,
        question: meant(&open, deny.id),
        message: deny.message,
    };
    tell(link, open, request, "denied", deny.json, output).await
}

pub async fn answer(
    answer: Answer,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let mut texts = answer.texts;
    let session = link.id_of(&answer.name).await?;
    let open = asked(&mut link, Some(session.clone())).await?;
    let named = texts.len() > 1 && names_one(&open, &texts[0]);
    let wanted = named.then(|| texts.remove(0));
    let request = Request::Answer {
        session,
        question: meant(&open, wanted),
        texts: as_many_as_asked(&open, texts),
    };
    tell(link, open, request, "answered", answer.json, output).await
}

/// The question's whole id: of the one that was looked at, not of one that comes meanwhile, or
/// before this is asked once more.
#[must_use]
pub fn meant(open: &[Question], wanted: Option<String>) -> Option<String> {
    let Some(wanted) = wanted else {
        return match open {
            [one] => Some(one.id.clone()),
            _ => None,
        };
    };
    let mut found = open.iter().filter(|it| it.id.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(one), None) if wanted.len() >= SHORTEST => Some(one.id.clone()),
        // The broker says what is wrong with it.
        _ => Some(wanted),
    }
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
    mut link: Link,
    open: Vec<Question>,
    request: Request,
    done: &str,
    json: bool,
    output: &Output,
) -> Result<u8, Failure> {
    let question = decide(&mut link, open, request).await?;
    if json {
        print_json(&question);
    } else if !output.quiet {
        // What was answered: another question may have come since one was looked at.
        let first = question.text.lines().next().unwrap_or_default();
        print(&format!("{done}: {}\n", plain(first)));
    }
    Ok(0)
}

/// Tells an agent; the question that is decided by it, one of those that were open.
///
/// # Errors
/// Of the broker.
pub async fn decide(
    link: &mut Link,
    open: Vec<Question>,
    request: Request,
) -> Result<Question, Failure> {
    let id = match &request {
        Request::Approve { question, .. }
        | Request::Deny { question, .. }
        | Request::Answer { question, .. } => question.clone(),
        _ => None,
    };
    match link.call(request).await? {
        Reply::Answered { question } => Ok(*question),
        // A broker that is gone has heard the same, and written it down.
        reply @ Reply::Done {} => {
            let said = open.into_iter().find(|it| Some(&it.id) == id.as_ref());
            said.ok_or_else(|| unexpected(&reply))
        }
        other => Err(unexpected(&other)),
    }
}
