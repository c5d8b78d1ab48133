//! From the bytes of a line to its [`Line`].

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    AssistantLine, BadLine, Block, Denial, Event, EventLine, InitLine, Json, Lifecycle, Line,
    QuestionLine, RateLimit, ResponseLine, ResultLine, RetryLine, State, ToolResult, UserLine,
};
use crate::json::{Raw, array, count, flag, number, object, text, uuid, word};

/// Reads one line, with or without its line end.
pub fn parse(line: &[u8]) -> Result<Line, BadLine> {
    let line = line.trim_ascii();
    match line.first() {
        None => return Err(BadLine::Empty),
        Some(b'{') => {}
        // serde would fill a struct from an array, by position
        Some(_) => return Err(BadLine::NotAnObject),
    }
    let head: Head<'_> = serde_json::from_slice(line).map_err(|e| BadLine::Json(e.to_string()))?;
    let Some(kind) = text(head.kind) else {
        return Ok(Line::Other);
    };
    let subagent = head.parent_tool_use_id.is_some();
    Ok(match kind.as_str() {
        "stream_event" => Line::Event(EventLine {
            subagent,
            event: event(&head),
        }),
        "assistant" => body(line, |b| assistant(b, subagent)),
        "user" => body(line, |b| user(b, subagent)),
        "result" => body(line, result),
        "system" => match text(head.subtype).as_deref() {
            Some(subtype) => body(line, |b| system(subtype, b)),
            None => Line::Other,
        },
        "command_lifecycle" => body(line, lifecycle),
        "control_request" => body(line, request),
        "control_response" => body(line, response),
        "control_cancel_request" => match body_of(line).and_then(|b| text(b.request_id)) {
            Some(request_id) => Line::Cancel { request_id },
            None => Line::Other,
        },
        "conversation_reset" => body(line, |b| Line::Reset {
            conversation: uuid(b.new_conversation_id),
        }),
        "rate_limit_event" => body(line, rate_limit),
        _ => Line::Other,
    })
}

/// What decides the kind of a line, and all that a text delta needs.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    subtype: Raw<'a>,
    #[serde(borrow)]
    parent_tool_use_id: Raw<'a>,
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    abandoned_blocks: Raw<'a>,
}

/// The top-level fields of all other lines.
#[derive(Deserialize)]
#[allow(non_snake_case)] // the client's own spelling
struct Body<'a> {
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    subtype: Raw<'a>,
    #[serde(borrow)]
    session_id: Raw<'a>,
    #[serde(borrow)]
    user_message_uuids: Raw<'a>,
    #[serde(borrow)]
    user_message_uuid: Raw<'a>,
    #[serde(borrow)]
    is_error: Raw<'a>,
    #[serde(borrow)]
    result: Raw<'a>,
    #[serde(borrow)]
    errors: Raw<'a>,
    #[serde(borrow)]
    stop_reason: Raw<'a>,
    #[serde(borrow)]
    terminal_reason: Raw<'a>,
    #[serde(borrow)]
    api_error_status: Raw<'a>,
    #[serde(borrow)]
    api_error_type: Raw<'a>,
    #[serde(borrow)]
    api_error: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    total_cost_usd: Raw<'a>,
    #[serde(borrow)]
    model_usage_since_last_result: Raw<'a>,
    #[serde(borrow)]
    duration_ms: Raw<'a>,
    #[serde(borrow)]
    ttft_ms: Raw<'a>,
    #[serde(borrow)]
    num_turns: Raw<'a>,
    #[serde(borrow)]
    permission_denials: Raw<'a>,
    #[serde(borrow)]
    local_command: Raw<'a>,
    #[serde(borrow)]
    origin: Raw<'a>,
    #[serde(borrow)]
    is_api_error_message: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
    #[serde(borrow)]
    aborted: Raw<'a>,
    #[serde(borrow)]
    isSynthetic: Raw<'a>,
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    permissionMode: Raw<'a>,
    #[serde(borrow)]
    claude_code_version: Raw<'a>,
    #[serde(borrow)]
    state: Raw<'a>,
    #[serde(borrow)]
    attempt: Raw<'a>,
    #[serde(borrow)]
    max_retries: Raw<'a>,
    #[serde(borrow)]
    retry_delay_ms: Raw<'a>,
    #[serde(borrow)]
    error_status: Raw<'a>,
    #[serde(borrow)]
    tasks: Raw<'a>,
    #[serde(borrow)]
    task_id: Raw<'a>,
    #[serde(borrow)]
    command_uuid: Raw<'a>,
    #[serde(borrow)]
    request_id: Raw<'a>,
    #[serde(borrow)]
    request: Raw<'a>,
    #[serde(borrow)]
    response: Raw<'a>,
    #[serde(borrow)]
    new_conversation_id: Raw<'a>,
    #[serde(borrow)]
    rate_limit_info: Raw<'a>,
}

fn body_of(line: &[u8]) -> Option<Body<'_>> {
    serde_json::from_slice(line).ok()
}

fn body(line: &[u8], make: impl FnOnce(&Body<'_>) -> Line) -> Line {
    body_of(line).map_or(Line::Other, |body| make(&body))
}

impl Body<'_> {
    /// The user lines that a line belongs to.
    fn uuids(&self) -> Vec<Uuid> {
        let mut uuids: Vec<Uuid> = array(self.user_message_uuids)
            .into_iter()
            .filter_map(|u| uuid(Some(u)))
            .collect();
        if uuids.is_empty() {
            uuids.extend(uuid(self.user_message_uuid));
        }
        uuids
    }
}

fn status(raw: Raw<'_>) -> Option<u16> {
    count(raw)?.try_into().ok()
}

fn event(head: &Head<'_>) -> Event {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, rename = "type")]
        kind: Raw<'a>,
        #[serde(borrow)]
        delta: Raw<'a>,
    }
    #[derive(Deserialize)]
    struct Delta<'a> {
        #[serde(borrow, rename = "type")]
        kind: Raw<'a>,
        #[serde(borrow)]
        text: Raw<'a>,
        #[serde(borrow)]
        thinking: Raw<'a>,
    }
    let Some(fields) = object::<Fields<'_>>(head.event) else {
        return Event::Other;
    };
    match word(fields.kind).as_deref() {
        Some("content_block_delta") => {
            let Some(delta) = object::<Delta<'_>>(fields.delta) else {
                return Event::Other;
            };
            match word(delta.kind).as_deref() {
                Some("text_delta") => text(delta.text).map_or(Event::Other, Event::Text),
                Some("thinking_delta") => Event::Thinking(text(delta.thinking).unwrap_or_default()),
                _ => Event::Other,
            }
        }
        Some("content_block_stop") => Event::BlockStop,
        Some("message_start") => Event::MessageStart,
        Some("message_stop") => Event::MessageStop {
            abandoned: head.abandoned_blocks.is_some(),
        },
        _ => Event::Other,
    }
}

/// The fields of a content block, of the model's or of ours.
#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    text: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    input: Raw<'a>,
    #[serde(borrow)]
    tool_use_id: Raw<'a>,
    #[serde(borrow)]
    is_error: Raw<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    content: Raw<'a>,
}

fn assistant(b: &Body<'_>, subagent: bool) -> Line {
    let Some(message) = object::<Message<'_>>(b.message) else {
        return Line::Other;
    };
    Line::Assistant(Box::new(AssistantLine {
        message_id: text(message.id),
        model: text(message.model),
        blocks: blocks(message.content),
        subagent,
        api_error: flag(b.is_api_error_message).unwrap_or(false),
        error: text(b.error),
        aborted: flag(b.aborted).unwrap_or(false),
    }))
}

pub(crate) fn blocks(content: Raw<'_>) -> Vec<Block> {
    if let Some(text) = text(content) {
        return vec![Block::Text(text)];
    }
    array(content).into_iter().map(block).collect()
}

pub(crate) fn block(raw: &RawValue) -> Block {
    let known = || {
        let content = object::<Content<'_>>(Some(raw))?;
        Some(match text(content.kind)?.as_str() {
            "text" => Block::Text(text(content.text)?),
            "thinking" => Block::Thinking,
            "tool_use" => Block::Tool {
                id: text(content.id)?,
                name: text(content.name)?,
                input: Json::of(content.input?),
            },
            kind if kind.ends_with("tool_result") => Block::Result,
            _ => return None,
        })
    };
    known().unwrap_or(Block::Other)
}

fn user(b: &Body<'_>, subagent: bool) -> Line {
    let content = object::<Message<'_>>(b.message).and_then(|message| message.content);
    let result = |raw| {
        let content = object::<Content<'_>>(Some(raw))?;
        (text(content.kind)? == "tool_result").then_some(ToolResult {
            id: text(content.tool_use_id)?,
            is_error: flag(content.is_error).unwrap_or(false),
        })
    };
    let results = array(content).into_iter().filter_map(result).collect();
    Line::User(UserLine {
        subagent,
        synthetic: flag(b.isSynthetic).unwrap_or(false),
        results,
    })
}

fn result(b: &Body<'_>) -> Line {
    #[derive(Deserialize)]
    struct Origin<'a> {
        #[serde(borrow)]
        kind: Raw<'a>,
    }
    Line::Result(Box::new(ResultLine {
        subtype: text(b.subtype),
        is_error: flag(b.is_error).unwrap_or(false),
        text: text(b.result),
        errors: array(b.errors)
            .into_iter()
            .filter_map(|e| text(Some(e)))
            .collect(),
        stop_reason: text(b.stop_reason),
        terminal_reason: text(b.terminal_reason),
        api_status: status(b.api_error_status),
        api_error_type: text(b.api_error_type),
        api_error: text(b.api_error),
        usage: b.usage.map(Json::of),
        total_cost_usd: number(b.total_cost_usd),
        cost_usd: cost(b.model_usage_since_last_result),
        duration_ms: count(b.duration_ms),
        ttft_ms: count(b.ttft_ms),
        num_turns: count(b.num_turns),
        session_id: uuid(b.session_id),
        denials: array(b.permission_denials)
            .into_iter()
            .filter_map(denial)
            .collect(),
        uuids: b.uuids(),
        local_command: b.local_command.is_some(),
        origin: object::<Origin<'_>>(b.origin).and_then(|origin| text(origin.kind)),
    }))
}

/// The sum over the models of `{"model": {"costUSD": …}}`.
fn cost(raw: Raw<'_>) -> Option<f64> {
    #[derive(Deserialize)]
    struct Model {
        #[serde(rename = "costUSD")]
        cost: f64,
    }
    let models: std::collections::BTreeMap<String, Model> = object(raw)?;
    // a sum of nothing would be -0.0
    Some(models.values().fold(0.0, |sum, model| sum + model.cost))
}

fn denial(raw: &RawValue) -> Option<Denial> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        tool_name: Raw<'a>,
        #[serde(borrow)]
        tool_input: Raw<'a>,
    }
    let fields: Fields<'_> = object(Some(raw))?;
    Some(Denial {
        tool: text(fields.tool_name)?,
        input: fields.tool_input.map(Json::of),
    })
}

fn system(subtype: &str, b: &Body<'_>) -> Line {
    let small = |raw| count(raw).unwrap_or(0).try_into().unwrap_or(u32::MAX);
    match subtype {
        "init" => Line::Init(InitLine {
            session_id: uuid(b.session_id),
            model: text(b.model),
            permission_mode: text(b.permissionMode),
            version: text(b.claude_code_version),
            uuids: b.uuids(),
        }),
        "session_state_changed" => Line::State(match text(b.state).as_deref() {
            Some("running") => State::Running,
            Some("requires_action") => State::RequiresAction,
            Some("idle") => State::Idle,
            _ => State::Other,
        }),
        "status" => Line::Status { uuids: b.uuids() },
        "api_retry" => Line::Retry(RetryLine {
            attempt: small(b.attempt),
            max: small(b.max_retries),
            delay_ms: count(b.retry_delay_ms).unwrap_or(0),
            status: status(b.error_status),
            error: text(b.error),
        }),
        "task_started" => match text(b.task_id) {
            Some(id) => Line::TaskStarted { id },
            None => Line::Other,
        },
        "background_tasks_changed" => Line::BackgroundTasks {
            count: array(b.tasks).len(),
        },
        _ => Line::Other,
    }
}

fn lifecycle(b: &Body<'_>) -> Line {
    let Some(uuid) = uuid(b.command_uuid) else {
        return Line::Other;
    };
    let state = match text(b.state).as_deref() {
        Some("queued") => Lifecycle::Queued,
        Some("started") => Lifecycle::Started,
        Some("completed") => Lifecycle::Completed,
        Some("cancelled") => Lifecycle::Cancelled,
        _ => Lifecycle::Other,
    };
    Line::Lifecycle { uuid, state }
}

fn request(b: &Body<'_>) -> Line {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        subtype: Raw<'a>,
        #[serde(borrow)]
        tool_name: Raw<'a>,
        #[serde(borrow)]
        input: Raw<'a>,
        #[serde(borrow)]
        description: Raw<'a>,
        #[serde(borrow)]
        permission_suggestions: Raw<'a>,
        #[serde(borrow)]
        tool_use_id: Raw<'a>,
        #[serde(borrow)]
        agent_id: Raw<'a>,
    }
    let (Some(request_id), Some(fields)) = (text(b.request_id), object::<Fields<'_>>(b.request))
    else {
        return Line::Other;
    };
    let subtype = text(fields.subtype).unwrap_or_default();
    match (subtype.as_str(), text(fields.tool_name), fields.input) {
        ("can_use_tool", Some(tool), Some(input)) => Line::Question(Box::new(QuestionLine {
            request_id,
            tool,
            input: Json::of(input),
            description: text(fields.description),
            suggestions: fields.permission_suggestions.map(Json::of),
            tool_use_id: text(fields.tool_use_id),
            agent_id: text(fields.agent_id),
        })),
        _ => Line::OtherRequest {
            request_id,
            subtype,
        },
    }
}

fn response(b: &Body<'_>) -> Line {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        subtype: Raw<'a>,
        #[serde(borrow)]
        request_id: Raw<'a>,
        #[serde(borrow)]
        error: Raw<'a>,
        #[serde(borrow)]
        response: Raw<'a>,
    }
    let Some(fields) = object::<Fields<'_>>(b.response) else {
        return Line::Other;
    };
    let Some(request_id) = text(fields.request_id) else {
        return Line::Other;
    };
    let error = match text(fields.subtype).as_deref() {
        Some("success") => None,
        _ => Some(text(fields.error).unwrap_or_else(|| "refused without a reason".to_owned())),
    };
    Line::Response(Box::new(ResponseLine {
        request_id,
        error,
        response: fields.response.map(Json::of),
    }))
}

fn rate_limit(b: &Body<'_>) -> Line {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        status: Raw<'a>,
        #[serde(borrow, rename = "resetsAt")]
        resets_at: Raw<'a>,
        #[serde(borrow, rename = "rateLimitType")]
        kind: Raw<'a>,
    }
    object::<Fields<'_>>(b.rate_limit_info).map_or(Line::Other, |fields| {
        Line::RateLimit(RateLimit {
            status: text(fields.status),
            resets_at: count(fields.resets_at),
            kind: text(fields.kind),
        })
    })
}
