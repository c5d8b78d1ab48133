//! The commands that are answered at once, by `ok` or `error`.

use std::sync::Arc;

use clsess_proto::{ErrorCode, Failure, Question, Reply, Request};
use serde_json::{Map, Value, json};

use super::command::{About, Command};
use super::said::Line;
use super::session::Session;
use super::shared::Shared;
use crate::commands::answer::{decide, meant};
use crate::commands::events::Watch;
use crate::commands::questions::asked;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;

/// Does it and tells.
pub async fn run(shared: Arc<Shared>, session: Arc<Session>, about: About, command: Command) {
    // The semaphore is never closed.
    let _permit = shared.verbs.acquire().await;
    match answer(&shared, &session, command).await {
        Ok(body) => shared.said.say(&about, Line::Ok { body }).await,
        Err(failure) => {
            let failure = session.heard(failure).await;
            shared.said.fails(&about, &failure, None).await;
        }
    }
}

async fn answer(
    shared: &Shared,
    session: &Session,
    command: Command,
) -> Result<Map<String, Value>, Failure> {
    let mut link = Link::connect(&shared.surroundings, Start::IfMissing).await?;
    if let Command::Ls {} = command {
        return Ok(body(json!({ "sessions": link.rows().await? })));
    }
    let id = session.id(&mut link).await?;
    let told = match command {
        Command::Show {} => match link.call(Request::Show { session: id }).await? {
            Reply::Detail(detail) => json!({ "detail": detail }),
            other => return Err(unexpected(&other)),
        },
        Command::Interrupt {} => match link.call(Request::Interrupt { session: id }).await? {
            Reply::Interrupted { turn: Some(turn) } => json!({ "turn": turn }),
            Reply::Interrupted { turn: None } => json!({}),
            other => return Err(unexpected(&other)),
        },
        Command::Questions {} => json!({ "questions": asked(&mut link, Some(id)).await? }),
        Command::Approve { question, always } => {
            let decided = says(&mut link, &id, question, |session, question| {
                Request::Approve {
                    session,
                    question,
                    always,
                }
            });
            json!({ "question": decided.await? })
        }
        Command::Deny { question, message } => {
            let decided = says(&mut link, &id, question, |session, question| {
                Request::Deny {
                    session,
                    question,
                    message,
                }
            });
            json!({ "question": decided.await? })
        }
        Command::Answer { question, texts } => {
            let decided = says(&mut link, &id, question, |session, question| {
                Request::Answer {
                    session,
                    question,
                    texts,
                }
            });
            json!({ "question": decided.await? })
        }
        // They are not for here.
        _ => return Err(Failure::new(ErrorCode::Internal, "no such verb")),
    };
    Ok(body(told))
}

/// Decides a question: of the one that is open now, not of one that comes before this is asked
/// once more.
async fn says(
    link: &mut Link,
    session: &str,
    wanted: Option<String>,
    request: impl FnOnce(String, Option<String>) -> Request,
) -> Result<Question, Failure> {
    let open = asked(link, Some(session.to_owned())).await?;
    let question = meant(&open, wanted);
    decide(link, open, request(session.to_owned(), question)).await
}

fn body(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Tells all that happens, until no named session is left. `sessions`: as of
/// [`Command::Events`].
pub async fn events(
    shared: Arc<Shared>,
    session: Arc<Session>,
    about: About,
    sessions: Option<Vec<String>>,
) {
    let told = async {
        let names = match sessions {
            Some(names) => names,
            None => {
                let mut link = Link::connect(&shared.surroundings, Start::IfMissing).await?;
                vec![session.id(&mut link).await?]
            }
        };
        let mut watch = Watch::begin(&shared.surroundings, names, None).await?;
        shared.said.say(&about, Line::Ok { body: Map::new() }).await;
        while let Some(event) = watch.next().await? {
            shared.said.say(&about, Line::Event(&event)).await;
        }
        Ok(())
    };
    if let Err(failure) = told.await {
        shared.said.fails(&about, &failure, None).await;
    }
}
