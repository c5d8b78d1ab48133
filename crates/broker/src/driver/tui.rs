//! The TUI body: the agent's own interface, in a terminal that people may look at and type into.
//!
//! Its words are its hooks and its reports to the terminal (OSC 7501), line by line in [`Said`]. What
//! is for it is given by keys, and by what its hooks are answered. Nothing here knows what they mean.

use std::collections::VecDeque;
use std::fs::File;
use std::future::pending;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use clsess_claude::input::{Asked, asked};
use clsess_claude::tui::dialog::{mode, takes_prompts};
use clsess_claude::tui::hooks::NOTHING;
use clsess_claude::tui::prompt::representable;
use clsess_claude::tui::typing::Next;
use clsess_claude::tui::{Report, Typing, status};
use clsess_holder::protocol::{Start, Successor, Window};
use clsess_vt::Notice;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use uuid::Uuid;

use super::body::Body;
use super::callers::{Answer, Callers};
use super::held::StartError;
use super::inbox::Inbox;
use super::orphans::{self, Process};
use super::said::Said;
use super::stream::{BodyEvent, Found};
use super::terminal::{TerminalBody, TerminalEvent};
use crate::shown::{Shown, ShownEvent};
use crate::watch::Watch;

/// Processes of hooks that are known to have told something: one that is forgotten too soon holds up
/// the ends of turns for a while.
const MAX_TOLD: usize = 4096;
/// How long after its last report the interface may still be writing its transcript: one that is
/// ended earlier loses the turn (facts 2, corrections: 4 of 4 kept at 0.3 s).
const WRITES: Duration = Duration::from_millis(300);

/// How often it is looked whether the editor has given the terminal back, for the some 10 ms that
/// this takes: nothing tells.
const LOOKS: Duration = Duration::from_millis(1);

/// Bytes of an entry of the registry that are read; measured: 700.
const MAX_ENTRY: u64 = 64 * 1024;

/// When the registry is looked at again where the kernel gives no watch (it gives 128 to a user, and the
/// clients take some too). A client that tells its state to its terminal needs none.
const REFUSED: Duration = Duration::from_secs(1);

/// How long after its start a client has asked whether its terminal listens. Measured: 0.3 s.
const ASKS: Duration = Duration::from_secs(1);

/// A person's own editor, until its end.
struct Editor(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Editor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Editor")
    }
}

async fn ended(editor: Option<&mut Editor>) {
    match editor {
        Some(editor) => editor.0.as_mut().await,
        None => pending().await,
    }
}

/// Whether a process is one of our hooks: the program, `hook`, and where the broker is.
fn is_hook(pid: &str) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).skip(1);
    words.next() == Some(b"hook") && words.count() == 4
}

/// A client's entry in the registry of clients.
#[derive(Debug)]
struct Registry {
    dir: PathBuf,
    entry: PathBuf,
    /// Not before this: one that tells its state to its terminal asks first whether that listens, and
    /// does not hear the answer while its editor runs.
    from: Instant,
    /// What is watched: the directory, or what there is of the way to it. Absent where the kernel
    /// refuses.
    watched: Option<(PathBuf, Watch)>,
    /// What it was.
    last: Vec<u8>,
}

impl Registry {
    /// Sees to it that the directory is watched, or the last one on the way to it that there is.
    fn watch(&mut self) {
        // Once more behind each: the next one may have been made meanwhile.
        while let Some(there) = self.dir.ancestors().find(|dir| dir.is_dir()) {
            if self.watched.as_ref().is_some_and(|(dir, _)| dir == there) {
                return;
            }
            match Watch::for_writes(there) {
                Ok(watch) => self.watched = Some((there.to_owned(), watch)),
                Err(error) => {
                    tracing::warn!(dir = %there.display(), %error, "the clients' registry cannot be watched");
                    (self.watched, self.from) = (None, Instant::now() + REFUSED);
                    return;
                }
            }
        }
    }

    /// Watches and reads; what it is now, if that is news.
    fn look(&mut self) -> Option<Vec<u8>> {
        if self.from > Instant::now() {
            return None;
        }
        self.watch();
        let file = File::open(&self.entry).ok()?;
        let mut entry = Vec::new();
        file.take(MAX_ENTRY).read_to_end(&mut entry).ok()?;
        let news = entry != self.last && !entry.is_empty();
        news.then(|| {
            self.last.clone_from(&entry);
            entry
        })
    }
}

async fn of_registry(registry: Option<&mut Registry>) {
    let Some(registry) = registry else {
        return pending().await;
    };
    if registry.from > Instant::now() {
        return sleep_until(registry.from).await;
    }
    Watch::change(registry.watched.as_mut().map(|(_, watch)| watch)).await;
}

/// See the module.
#[derive(Debug)]
pub struct TuiBody {
    shown: Shown,
    program: Process,
    holder: Process,
    said: Said,
    /// What was put and not sent.
    put: Vec<Vec<u8>>,
    /// Nothing of it works in the background, which may ask something at any time.
    quiet: bool,
    typing: Typing,
    /// A person has opened theirs, and the interface stands still.
    editor: Option<Editor>,
    /// Until when what it waits for may take.
    types_by: Option<Instant>,
    /// What became of prompts that were not sent, to be told: of one at a time.
    not_sent: Option<(Uuid, bool)>,
    /// It does not take a prompt.
    stuck: bool,
    /// Hooks that wait.
    callers: Callers,
    /// The processes of the last ones that have told us something.
    told: VecDeque<u32>,
    /// Its entry in its registry, watched until it tells its state by itself.
    registry: Option<Registry>,
    /// The last report that an earlier broker may have heard, too.
    repeated: Option<Vec<u8>>,
    /// When it last reported something.
    reported: Option<Instant>,
    /// It is to be ended then: the grace in milliseconds, and whether by SIGTERM at once.
    ends: Option<(Instant, u32, bool)>,
    /// The permission mode that it showed then.
    last_mode: Option<&'static str>,
    closed: bool,
}

impl TuiBody {
    /// Starts an interface, whose holder keeps `port` and can be found in the session's directory `dir`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        dir: &Path,
        start: Start,
        successor: &Successor,
        history: usize,
        port: Option<OwnedFd>,
    ) -> Result<Self, StartError> {
        let said = Said::begin(dir).map_err(StartError::from)?;
        let window = start.window;
        let body = TerminalBody::start(dir, start, successor, port).await?;
        Ok(Self::around(body, said, window, history))
    }

    /// Finds the interface that an earlier broker has left in `dir`. `position` tells from what was
    /// written down up to where that broker has accounted for what the agent said.
    ///
    /// # Errors
    /// When there is one that does not do what it should.
    pub async fn find(
        dir: &Path,
        successor: &Successor,
        history: usize,
        position: impl FnOnce(&[u8]) -> u64,
    ) -> io::Result<Option<Found>> {
        let Some(found) = TerminalBody::find(dir, successor).await? else {
            return Ok(None);
        };
        let (program, holder) = (found.body.program(), found.body.holder());
        let mut shown = Shown::new(Window::default(), history);
        let notes = shown.take_up(found);
        let from = notes.as_deref().map_or(0, position);
        let said = Said::take_up(dir, from)?;
        let mut body = Self::made((program, holder), shown, said);
        body.typing = Typing::taken_up();
        Ok(Some(Found {
            body: Body::Tui(Box::new(body)),
            notes,
        }))
    }

    fn around(body: TerminalBody, said: Said, window: Window, history: usize) -> Self {
        let (program, holder) = (body.program(), body.holder());
        let mut shown = Shown::new(window, history);
        shown.runs(body);
        Self::made((program, holder), shown, said)
    }

    fn made((program, holder): (Process, Process), shown: Shown, said: Said) -> Self {
        Self {
            shown,
            program,
            holder,
            said,
            put: Vec::new(),
            quiet: false,
            typing: Typing::default(),
            editor: None,
            types_by: None,
            not_sent: None,
            stuck: false,
            callers: Callers::default(),
            told: VecDeque::new(),
            registry: None,
            repeated: None,
            reported: None,
            ends: None,
            last_mode: None,
            closed: false,
        }
    }

    /// The agent's process.
    #[must_use]
    pub fn agent(&self) -> Process {
        self.program
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        self.holder
    }

    /// Where the clients' registry is: what the client does is heard there, unless it tells that by
    /// itself. Those of 2.1.197 never do. `begins`: it has just been started.
    pub fn watch(&mut self, registry: PathBuf, begins: bool) {
        self.registry = Some(Registry {
            entry: registry.join(format!("{}.json", self.program.pid)),
            dir: registry,
            from: Instant::now() + if begins { ASKS } else { Duration::ZERO },
            watched: None,
            last: Vec::new(),
        });
        self.look_at_registry();
    }

    fn look_at_registry(&mut self) {
        let Some(entry) = self.registry.as_mut().and_then(Registry::look) else {
            return;
        };
        self.reported = Some(Instant::now());
        // Half of one is followed by the whole.
        if let Err(error) = self.said.registry(&entry) {
            tracing::debug!(%error, "an entry of the registry");
        }
    }

    /// Its input box is on the screen, and it is not known to be ready: that is all that one says whose
    /// registry does not tell.
    pub fn shows_input_box(&mut self) {
        if self.registry.is_none() {
            return;
        }
        if let Err(error) = self.said.input_box() {
            tracing::debug!(%error, "an input box");
        }
    }

    /// The permission mode that it showed when it was told to end.
    #[must_use]
    pub fn last_mode(&self) -> Option<&'static str> {
        self.last_mode
    }

    /// The terminal, and who looks at it.
    pub fn shown(&mut self) -> &mut Shown {
        &mut self.shown
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.shown.note(notes)
    }

    /// What it says.
    pub fn inbox(&mut self) -> &mut Inbox {
        self.said.inbox()
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn heard(&self) -> &Inbox {
        self.said.heard()
    }

    /// Whether it was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Keeps a line for it, as a stream's agent would be written it, until [`TuiBody::send`].
    pub fn put(&mut self, line: &[u8]) {
        self.put.push(line.to_vec());
    }

    /// As that of [`Typing`].
    pub fn knows_other_enter(&mut self, knows: bool) {
        self.typing.knows_other_enter(knows);
    }

    /// Whether nothing works in the background: no dialog comes up by itself then.
    pub fn is_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Takes back what was put last.
    pub fn take_back(&mut self) {
        self.put.pop();
    }

    /// Gives it what was put.
    pub fn send(&mut self) {
        for line in std::mem::take(&mut self.put) {
            match asked(&line) {
                Asked::Prompt { uuid, text } => {
                    // What cannot be carried was refused, and is not altered here.
                    let next = self
                        .typing
                        .begin(uuid, representable(&text).unwrap_or(&text));
                    self.follow(&next);
                }
                Asked::Interrupt => {
                    let next = self.typing.interrupt();
                    self.follow(&next);
                }
                Asked::Answer { request_id, answer } => {
                    if let Ok(id) = request_id.parse() {
                        self.answer(id, answer);
                    }
                }
                Asked::Other => {}
            }
        }
    }

    /// A prompt that an earlier broker may have typed, and that was not taken.
    pub fn type_again(&mut self, prompt: Uuid, text: &str) {
        let next = self
            .typing
            .resume(prompt, representable(text).unwrap_or(text));
        self.follow(&next);
    }

    /// Whether the last prompt may have been entered twice.
    #[must_use]
    pub fn is_retyped(&self) -> bool {
        self.typing.is_retyped()
    }

    /// Somebody types into it.
    pub fn is_touched(&mut self) {
        self.typing.is_touched();
    }

    /// It is ready. What takes longer the first time is done once, unless somebody looks.
    pub fn warm_up(&mut self) {
        if self.shown.attached() == 0 {
            let next = self.typing.warm();
            self.follow(&next);
        }
    }

    /// A prompt that was typed has been taken.
    pub fn is_taken(&mut self, prompt: Uuid) {
        let next = self.typing.is_taken(prompt);
        self.follow(&next);
    }

    /// A prompt that was typed is not sent: its hook was told so.
    pub fn is_stopped(&mut self, prompt: Uuid) {
        self.typing.is_stopped(prompt);
        self.follow(&Next::Keys(b""));
    }

    /// The running turn has ended.
    pub fn turn_is_over(&mut self) {
        self.typing.is_over();
        self.follow(&Next::Keys(b""));
    }

    /// Whether nobody else has typed since the prompt was entered that waits.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.typing.is_alone()
    }

    /// The prompt that was typed and not taken.
    #[must_use]
    pub fn undelivered(&self) -> Option<Uuid> {
        self.typing.waiting()
    }

    /// Its editor was opened on this; what is to be made of it, if it was opened by us.
    /// Otherwise `editor` becomes a person's own, and nothing is typed before it ends.
    pub fn edit(&mut self, there: &[u8], editor: Option<Process>) -> Option<Vec<u8>> {
        let text = self.typing.edit(&String::from_utf8_lossy(there));
        if text.is_none()
            && let Some(editor) = editor
        {
            self.typing.is_away(true);
            self.editor = Some(Editor(Box::pin(orphans::gone(editor))));
        }
        self.follow(&Next::Keys(b""));
        text.map(String::into_bytes)
    }

    fn follow(&mut self, next: &Next) {
        match next {
            Next::Keys(b"") => {}
            Next::Keys(keys) => self.shown.press(keys),
            Next::Paste(text) if self.takes_pastes() => {
                let keys = [b"\x1b[200~", text.as_bytes(), b"\x1b[201~\r"].concat();
                self.shown.press(&keys);
            }
            Next::Paste(_) => {
                let next = self.typing.is_not_pasted();
                return self.follow(&next);
            }
            Next::NotSent { uuid, altered } => self.not_sent = Some((*uuid, *altered)),
            Next::GiveUp => self.stuck = true,
        }
        // It would be lost, or typed into the editor.
        self.shown.hold_keys(self.typing.has_terminal());
        self.types_by = self.typing.bound().map(|bound| Instant::now() + bound);
    }

    /// Whether what is pasted now gets into its input box. Enter behind it would choose something in a
    /// dialog (facts 0.9), where the editor's does not.
    fn takes_pastes(&mut self) -> bool {
        self.quiet && self.shown.pastes() && takes_prompts(&self.shown.text())
    }

    /// Whether its editor has given the terminal back that was told something.
    fn look_at_terminal(&mut self) {
        let back = self.shown.body().is_some_and(TerminalBody::is_raw);
        if self.typing.awaits_terminal() && back {
            let next = self.typing.is_back();
            self.follow(&next);
        }
    }

    /// A hook comes, perhaps once more.
    pub fn hook(&mut self, id: Uuid, input: &[u8], process: Option<Process>, reply: Answer) {
        if self.told.len() == MAX_TOLD {
            self.told.pop_front();
        }
        self.told.extend(process.map(|process| process.pid));
        // Before it: what the registry says is older.
        self.look_at_registry();
        if self.callers.hook(id, input, &mut self.said, reply) {
            self.reported = Some(Instant::now());
        }
    }

    /// Whether the client has started hooks that have not told us anything yet.
    #[must_use]
    pub fn has_hooks_on_their_way(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.program.pid));
        let children = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children"));
            children.ok()
        });
        let children: Vec<String> = children.collect();
        let mut pids = children.iter().flat_map(|it| it.split_ascii_whitespace());
        pids.any(|pid| {
            let told = pid.parse().is_ok_and(|pid: u32| self.told.contains(&pid));
            !told && is_hook(pid)
        })
    }

    /// A hook that was heard is answered later.
    pub fn holds(&mut self, id: Uuid) {
        self.callers.holds(id);
    }

    /// A hook waits for nothing any more.
    pub fn let_go(&mut self, id: Uuid) {
        if self.callers.waits(id) {
            self.answer(id, NOTHING.into());
        }
    }

    /// What a hook is answered.
    pub fn answer(&mut self, id: Uuid, answer: Vec<u8>) {
        self.callers.answer(id, answer);
    }

    /// Asks for its end, which is put off as long as it may still be writing.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.closed = true;
        // Its screen is gone with it.
        self.last_mode = mode(&self.shown.text()).or(self.last_mode);
        let until = self.reported.map(|at| at + WRITES);
        match until.filter(|until| !now && *until > Instant::now()) {
            Some(until) => self.ends = Some((until, grace_ms, now)),
            None => self.end_now(grace_ms, now),
        }
    }

    fn end_now(&mut self, grace_ms: u32, now: bool) {
        self.ends = None;
        self.shown.end(grace_ms, now);
    }

    /// Gives the holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        self.shown.abandon();
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        loop {
            if let Some(event) = self.said.reads() {
                return event;
            }
            self.look_at_terminal();
            if let Some((prompt, altered)) = self.not_sent.take() {
                return BodyEvent::NotSent { prompt, altered };
            }
            if std::mem::take(&mut self.stuck) {
                return BodyEvent::Unreadable("it takes no prompt");
            }
            let ends = self.ends;
            let (types_by, looks) = (self.types_by, self.typing.awaits_terminal());
            let event = tokio::select! {
                event = self.shown.next() => event,
                () = ended(self.editor.as_mut()) => {
                    self.editor = None;
                    let next = self.typing.is_away(false);
                    self.follow(&next);
                    continue;
                }
                () = of_registry(self.registry.as_mut()) => {
                    self.look_at_registry();
                    continue;
                }
                // It may give the terminal back without a word.
                () = sleep(LOOKS), if looks => continue,
                () = sleep_until(types_by.unwrap_or_else(Instant::now)), if types_by.is_some() => {
                    let next = self.typing.overdue();
                    self.follow(&next);
                    continue;
                }
                () = sleep_until(ends.map_or_else(Instant::now, |(at, ..)| at)), if ends.is_some() => {
                    if let Some((_, grace_ms, now)) = ends {
                        self.end_now(grace_ms, now);
                    }
                    continue;
                }
            };
            match event {
                ShownEvent::Output => {
                    if let Err(error) = self.output() {
                        tracing::error!(pid = self.program.pid, %error, "the interface cannot be heard");
                        return BodyEvent::Unreadable("what it shows cannot be read");
                    }
                }
                ShownEvent::Body(TerminalEvent::Exited(_)) => return BodyEvent::Exited,
                ShownEvent::Body(TerminalEvent::Gone { exit, left }) => {
                    return BodyEvent::Gone { exit, left };
                }
                ShownEvent::Body(TerminalEvent::Unreadable(_)) => {
                    return BodyEvent::Unreadable("what it shows cannot be read");
                }
                ShownEvent::Typed(_) => {
                    self.typing.is_touched();
                    return BodyEvent::Looked;
                }
                ShownEvent::Nothing => return BodyEvent::Looked,
                ShownEvent::Body(_) | ShownEvent::Resized(_) => {}
            }
        }
    }

    /// Takes what it shows, and writes down what it reports.
    fn output(&mut self) -> io::Result<()> {
        let answered = |notice: &Notice| match status::report(&notice.0) {
            Some(Report::Asked) => status::ANSWER,
            _ => b"",
        };
        let notices = self.shown.output(answered, |_| {})?;
        let repeated = self.shown.body().is_some_and(TerminalBody::is_repeated);
        if !repeated && let Some(last) = self.repeated.take() {
            self.said.report(&last, None)?;
        }
        for notice in notices {
            match status::report(&notice.0) {
                // Of a level only the last word counts.
                Some(Report::Status(_)) if repeated => self.repeated = Some(notice.0),
                Some(Report::Status(_)) => {
                    self.reported = Some(Instant::now());
                    self.said.report(&notice.0, None)?;
                }
                Some(Report::Asked) => self.registry = None,
                None => {}
            }
        }
        Ok(())
    }
}
