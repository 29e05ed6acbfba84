//! One client's session: what it asks in, answers and events out. No I/O but the [`Outbox`], no clock, no
//! threads.
//!
//! Two things are unlike other debuggers. The program is never stopped: `pause` takes a picture of it, which
//! is what the client then looks around in, and `continue` drops that. And whatever would need a stopped
//! program, or would change it, is refused with what to use in its place.

use std::io;

use serde_json::json;
use tracer_model::detect::Verdict;
use tracer_model::snapshot::Snapshot;

use super::config::{Config, Policy};
use super::console::{self, Question};
use super::look::{Attacher, Target};
use super::picture::{Picture, Unused};
use super::protocol::{
    Answer, Breakpoint, BreakpointsArguments, Capabilities, Client, CompletionsArguments,
    DisconnectArguments, EvaluateArguments, Evaluated, Message, Outbox, Refusal, Request,
    ScopesArguments, StackTraceArguments, Threads, VariablesArguments, body,
};
use super::threads::{self, Marks, Names};
use super::variables::View;
use crate::text::{count, safe};

/// Bytes of an answer in the console at most.
const MOST_TEXT: usize = 256 << 10;

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Go,
    End,
}

/// A session with one client.
pub(crate) struct Session<'a> {
    attacher: &'a dyn Attacher,
    policy: Policy,
    state: State,
}

enum State {
    New,
    Initialized(Client),
    Attached(Box<Attached>),
}

/// A session that has a program.
struct Attached {
    client: Client,
    config: Config,
    target: Box<dyn Target>,
    /// What the client looks around in, if it paused.
    picture: Option<Picture>,
    /// Numbers that no picture has used yet.
    unused: Unused,
    /// Whether the client was told that the program has ended, and then that there is nothing left.
    told_end: bool,
    terminated: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(attacher: &'a dyn Attacher, policy: Policy) -> Session<'a> {
        Session {
            attacher,
            policy,
            state: State::New,
        }
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn take(&mut self, message: &[u8], out: &mut dyn Outbox) -> io::Result<Next> {
        match Request::parse(message) {
            Ok(Some(request)) => self.handle(&request, out),
            Ok(None) => Ok(Next::Go),
            // There is no number that an answer could name.
            Err(why) => {
                let text = format!("gotrace got what is no request: {why}");
                out.send(&Message::output("stderr", &text))?;
                Ok(Next::Go)
            }
        }
    }

    /// To be called now and then: tells the client when the program has ended.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn tick(&mut self, out: &mut dyn Outbox) -> io::Result<()> {
        match &mut self.state {
            State::Attached(attached) => attached.notice_end(out),
            _ => Ok(()),
        }
    }

    fn handle(&mut self, request: &Request, out: &mut dyn Outbox) -> io::Result<Next> {
        let command = &*request.command;
        if command == "disconnect" {
            let asked: DisconnectArguments = request.arguments().unwrap_or_default();
            if asked.terminate_debuggee {
                let text = "the program was not terminated: gotrace never ends what it looks at. It runs on";
                out.send(&Message::output("important", text))?;
            }
            out.send(&Message::answer(request, Ok(None)))?;
            return Ok(Next::End);
        }
        if let Some(why) = refused(command) {
            out.send(&Message::answer(request, Err(Refusal::new(why))))?;
            return Ok(Next::Go);
        }
        match (&mut self.state, command) {
            (State::New, "initialize") => {
                let client = client(request);
                let answer = client.as_ref().map(|_| body(&Capabilities::OURS));
                out.send(&Message::answer(request, answer.map_err(Clone::clone)))?;
                if let Ok(client) = client {
                    self.state = State::Initialized(client);
                }
            }
            (_, "initialize") => refuse(request, "`initialize` comes once", out)?,
            (State::New, _) => refuse(request, "`initialize` comes first", out)?,
            (State::Initialized(client), "attach") => {
                let opened = Config::parse(&request.arguments, self.policy).and_then(|config| {
                    let target = self.attacher.attach(&config).map_err(said)?;
                    Ok((config, target))
                });
                match opened {
                    Ok((config, target)) => {
                        let attached = Attached {
                            client: client.clone(),
                            config,
                            target,
                            picture: None,
                            unused: Unused::default(),
                            told_end: false,
                            terminated: false,
                        };
                        out.send(&Message::answer(request, Ok(None)))?;
                        attached.introduce(out)?;
                        self.state = State::Attached(Box::new(attached));
                    }
                    Err(refusal) => out.send(&Message::answer(request, Err(refusal)))?,
                }
            }
            (State::Initialized(_), command) if is_known(command) => {
                refuse(request, "`attach` comes first", out)?;
            }
            (State::Attached(_), "attach") => {
                refuse(request, "this session is attached already", out)?;
            }
            (State::Attached(attached), _) => attached.handle(request, out)?,
            (State::Initialized(_), _) => refuse(request, &unknown(command), out)?,
        }
        Ok(Next::Go)
    }
}

/// What the client of `initialize` can do.
fn client(request: &Request) -> Result<Client, Refusal> {
    let client: Client = request.arguments()?;
    match client.path_format.as_deref() {
        None | Some("path") => Ok(client),
        Some(other) => Err(Refusal::new(format!(
            "gotrace names files by their path: `pathFormat` is to be `path`, not `{other}`"
        ))),
    }
}

fn refuse(request: &Request, why: &str, out: &mut dyn Outbox) -> io::Result<()> {
    out.send(&Message::answer(request, Err(Refusal::new(why))))
}

fn said(error: anyhow::Error) -> Refusal {
    Refusal::new(format!("{error:#}"))
}

fn unknown(command: &str) -> String {
    let command: String = command.chars().take(40).collect();
    format!("`{command}` is no request that gotrace knows")
}

/// Whether an attached session takes this.
fn is_known(command: &str) -> bool {
    const KNOWN: &[&str] = &[
        "completions",
        "configurationDone",
        "continue",
        "evaluate",
        "pause",
        "scopes",
        "setBreakpoints",
        "setDataBreakpoints",
        "setExceptionBreakpoints",
        "setFunctionBreakpoints",
        "setInstructionBreakpoints",
        "source",
        "stackTrace",
        "threads",
        "variables",
    ];
    KNOWN.contains(&command)
}

/// Why something is never done, and what to use in its place.
fn refused(command: &str) -> Option<&'static str> {
    Some(match command {
        "launch" => {
            "gotrace starts no program for an editor: start it, then attach with `\"request\": \"attach\"` and \
             `processId` or `processName` (`gotrace run -- CMD` traces one from its beginning)"
        }
        "next" | "stepIn" | "stepOut" | "stepBack" | "reverseContinue" | "restartFrame"
        | "goto" | "gotoTargets" | "stepInTargets" => {
            "gotrace never stops the program, so it cannot be stepped: continue and pause again to see how it is now, \
             or record it (`gotrace record --level full`) to see in order what happened (`gotrace replay --events`)"
        }
        "setVariable" | "setExpression" | "writeMemory" => {
            "gotrace writes nothing into the program: it reads memory alone"
        }
        "restart" | "terminate" | "terminateThreads" => {
            "gotrace never ends or restarts the program: `disconnect` leaves it as it is; to end it, send it a signal \
             (`kill PID`)"
        }
        _ => return None,
    })
}

/// Why no breakpoint is ever hit.
const NO_BREAKPOINT: &str = "gotrace never stops the program, so this is never hit: pause shows who is here now, \
                             `gotrace record --level full` what happens";

impl Attached {
    /// Says to what it is attached, and that the client may go on.
    fn introduce(&self, out: &mut dyn Outbox) -> io::Result<()> {
        let (pid, name) = self.target.process();
        let mut process = json!({
            "name": name,
            "isLocalProcess": self.target.is_live(),
            "startMethod": "attach",
        });
        if self.target.is_live() {
            process["systemProcessId"] = pid.into();
        }
        out.send(&Message::event("process", &process))?;
        let what = match self.target.is_live() {
            true => format!(
                "gotrace looks at {name} (pid {pid}), which runs on all the time: pause takes a snapshot, continue drops \
                 it. Type `help` for what can be asked"
            ),
            false => format!(
                "gotrace shows {name} as it was recorded. Type `help` for what can be asked"
            ),
        };
        out.send(&Message::output("console", &what))?;
        out.send(&Message::event("initialized", &json!({})))
    }

    fn handle(&mut self, request: &Request, out: &mut dyn Outbox) -> io::Result<()> {
        let answer = match &*request.command {
            "configurationDone" => {
                out.send(&Message::answer(request, Ok(None)))?;
                return match self.config.stop_on_entry {
                    true => self.pause("entry", out),
                    false => Ok(()),
                };
            }
            "pause" => {
                out.send(&Message::answer(request, Ok(None)))?;
                return self.pause("pause", out);
            }
            "continue" => {
                self.drop_picture();
                let answer = Ok(body(&json!({ "allThreadsContinued": true })));
                out.send(&Message::answer(request, answer))?;
                return self.notice_end(out);
            }
            "threads" => self.threads(out)?,
            "stackTrace" => self.stack_trace(request),
            "scopes" => self.scopes(request),
            "variables" => self.variables(request),
            "evaluate" => self.evaluate(request),
            "completions" => completions(request),
            "setBreakpoints"
            | "setFunctionBreakpoints"
            | "setExceptionBreakpoints"
            | "setDataBreakpoints"
            | "setInstructionBreakpoints" => breakpoints(request),
            "source" => Err(Refusal::new(
                "gotrace has no source code: say where it is by `substitutePath` in the launch configuration, such as \
                 [{\"from\": \"${workspaceFolder}\", \"to\": \"/build/shop\"}]",
            )),
            command => Err(Refusal::new(unknown(command))),
        };
        out.send(&Message::answer(request, answer))
    }

    fn drop_picture(&mut self) {
        if let Some(picture) = self.picture.take() {
            self.unused = picture.unused();
        }
    }

    /// Takes a picture and tells the client.
    fn pause(&mut self, reason: &'static str, out: &mut dyn Outbox) -> io::Result<()> {
        let look = match self.target.look() {
            Ok(look) => look,
            Err(error) => {
                let text = format!("no snapshot: {error:#}");
                out.send(&Message::output("important", &text))?;
                return self.notice_end(out);
            }
        };
        self.drop_picture();
        let picture = Picture::new(look, &self.config, self.target.symbols(), self.unused);
        let told = self.told(&picture);
        out.send(&Message::output("console", &self.styled(&told)))?;
        let at = self.target.clock().rfc3339(picture.snapshot().started);
        let runs = match self.target.is_live() {
            true => "the program runs on",
            false => "as recorded",
        };
        let mut stopped = json!({
            "reason": reason,
            "description": format!("a snapshot; {runs}"),
            "text": format!("a snapshot of {at}; {runs}"),
            "allThreadsStopped": true,
            "preserveFocusHint": false,
        });
        if let Some(goid) = picture.focus() {
            stopped["threadId"] = goid.0.into();
        }
        self.picture = Some(picture);
        out.send(&Message::event("stopped", &stopped))
    }

    /// What a picture shows at first sight, and what it does not.
    fn told(&self, picture: &Picture) -> String {
        let snapshot = picture.snapshot();
        let mut text = self.target.heading(snapshot);
        let findings = picture.findings();
        match &picture.look.findings {
            Err(why) => text.push_str(&format!("\nwho is stuck is not known: {why}")),
            Ok(_) if findings.is_empty() => {
                text.push_str("\nno goroutine is deadlocked or leaked, as far as memory tells");
            }
            Ok(_) => {
                let of = |verdict| findings.iter().filter(|it| it.verdict == verdict).count();
                let sure: Vec<String> = Verdict::ALL
                    .into_iter()
                    .rev()
                    .filter(|verdict| of(*verdict) > 0)
                    .map(|verdict| format!("{} {}", of(verdict), verdict.name()))
                    .collect();
                let found = count(findings.len(), "finding");
                text.push_str(&format!(
                    "\n{found} ({}): `deadlocks` tells them",
                    sure.join(", ")
                ));
            }
        }
        if picture.left_out > 0 {
            let more = count(picture.left_out, "goroutine");
            text.push_str(&format!("\n{more} more are not listed (`maxGoroutines`)"));
        }
        for error in snapshot.errors.iter().take(10) {
            text.push_str(&format!("\nnot read: {}", safe(error)));
        }
        if let Some(more) = snapshot
            .errors
            .len()
            .checked_sub(10)
            .filter(|more| *more > 0)
        {
            text.push_str(&format!("\nand {more} more not read"));
        }
        text
    }

    /// Goroutines of the picture, or as they are now.
    fn threads(&mut self, out: &mut dyn Outbox) -> io::Result<Answer> {
        if let Some(picture) = &self.picture {
            let threads = picture.threads(self.target.symbols());
            return Ok(Ok(body(&Threads { threads })));
        }
        let snapshot = match self.target.glance() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.notice_end(out)?;
                return Ok(Err(said(error)));
            }
        };
        let symbols = self.target.symbols();
        let marks = Marks::default();
        let mut chosen = threads::choose(&snapshot, &self.config.filter, symbols, &[], &marks);
        chosen.truncate(self.config.threads);
        let threads = Names::new(&snapshot, symbols).threads(&chosen, &[], &marks, &[]);
        Ok(Ok(body(&Threads { threads })))
    }

    fn stack_trace(&mut self, request: &Request) -> Answer {
        let asked: StackTraceArguments = request.arguments()?;
        let picture = self.picture.as_mut().ok_or_else(Refusal::not_stopped)?;
        let symbols = self.target.symbols();
        let (frames, total) = picture.stack(&asked, symbols, &self.config, &self.client)?;
        Ok(body(
            &json!({ "stackFrames": frames, "totalFrames": total }),
        ))
    }

    fn scopes(&mut self, request: &Request) -> Answer {
        let asked: ScopesArguments = request.arguments()?;
        let picture = self.picture.as_mut().ok_or_else(Refusal::not_stopped)?;
        let scopes = picture.scopes(asked.frame_id, &self.config)?;
        Ok(body(&json!({ "scopes": scopes })))
    }

    fn variables(&mut self, request: &Request) -> Answer {
        let asked: VariablesArguments = request.arguments()?;
        let picture = self.picture.as_mut().ok_or_else(Refusal::not_stopped)?;
        let view = View {
            symbols: self.target.symbols(),
            clock: self.target.clock(),
            client: &self.client,
        };
        let variables = picture.variables(&asked, view)?;
        Ok(body(&json!({ "variables": variables })))
    }

    fn evaluate(&mut self, request: &Request) -> Answer {
        let asked: EvaluateArguments = request.arguments()?;
        let question = Question::parse(&asked.expression)?;
        let is_console = asked.context.as_deref() == Some("repl");
        // Where there is one line for it, a channel is what one can open.
        if let (Question::Channel(address), false) = (&question, is_console) {
            let picture = self.picture.as_mut().ok_or_else(Refusal::not_stopped)?;
            let number = picture.channel_number(*address);
            let view = View {
                symbols: self.target.symbols(),
                clock: self.target.clock(),
                client: &self.client,
            };
            let found = number.and_then(|number| picture.channel_variable(number, view));
            return match found {
                Some(found) => Ok(body(&Evaluated {
                    result: found.value,
                    variables_reference: found.variables_reference,
                })),
                None => Err(Refusal::new(format!(
                    "there is no channel {address} in this snapshot"
                ))),
            };
        }
        let mut text = self.answer(&question)?;
        if text.len() > MOST_TEXT {
            let end = (0..=MOST_TEXT)
                .rev()
                .find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(0));
            text.push_str("\n… and more than fits here");
        }
        Ok(body(&Evaluated {
            result: self.styled(text.trim_end_matches('\n')),
            variables_reference: 0,
        }))
    }

    /// The answer to a question, of the picture or of how everything is now.
    fn answer(&mut self, question: &Question<'_>) -> Result<String, Refusal> {
        match question {
            Question::Help => return Ok(console::help()),
            Question::Why(goid) => return self.target.why(*goid).map_err(said),
            _ => {}
        }
        let fresh = match (&self.picture, question) {
            (Some(_), _) => None,
            (None, Question::Goroutines(_) | Question::Goroutine(_)) => {
                let snapshot = self.target.glance().map_err(said)?;
                Some((snapshot, Err(String::new())))
            }
            (None, _) => {
                let look = self.target.look().map_err(said)?;
                Some((look.snapshot, look.findings))
            }
        };
        let symbols = self.target.symbols();
        let (snapshot, findings): (&Snapshot, _) = match (&fresh, &self.picture) {
            (Some((snapshot, findings)), _) => (snapshot, findings),
            (None, Some(picture)) => (picture.snapshot(), &picture.look.findings),
            (None, None) => return Err(Refusal::not_stopped()),
        };
        let told = match findings {
            Ok(findings) => Ok(&findings[..]),
            Err(why) => Err(Refusal::new(format!("who is stuck is not known: {why}"))),
        };
        match question {
            Question::Goroutines(more) => {
                console::goroutines(snapshot, &self.config.filter, more, symbols)
            }
            Question::Goroutine(goid) => console::goroutine(snapshot, *goid, symbols),
            Question::Channels => Ok(console::channels(snapshot)),
            Question::Channel(address) => console::channel(snapshot, *address, symbols),
            Question::Deadlocks => Ok(console::findings(told?, None, symbols)),
            Question::Leaks => Ok(console::findings(told?, Some(snapshot), symbols)),
            Question::Help | Question::Why(_) => Ok(console::help()),
        }
    }

    /// Text with its styles, if the client shows them.
    fn styled(&self, text: &str) -> String {
        match self.client.supports_ansi_styling {
            true => text.to_owned(),
            false => anstream::adapter::strip_str(text).to_string(),
        }
    }

    /// Tells the client once when the program has ended. A picture of it stays until it is dropped.
    fn notice_end(&mut self, out: &mut dyn Outbox) -> io::Result<()> {
        let nothing_new = self.terminated || self.told_end && self.picture.is_some();
        if nothing_new || !self.target.has_ended() {
            return Ok(());
        }
        if !self.told_end {
            self.told_end = true;
            let stays = match self.picture {
                Some(_) => "; the snapshot of it stays until you continue",
                None => "",
            };
            let text = format!("the program has ended{stays}");
            out.send(&Message::output("console", &text))?;
        }
        if self.picture.is_some() {
            return Ok(());
        }
        self.terminated = true;
        out.send(&Message::event("terminated", &json!({})))
    }
}

fn completions(request: &Request) -> Answer {
    let asked: CompletionsArguments = request.arguments()?;
    let begin = asked.text.trim_start();
    let fitting = console::WORDS
        .iter()
        .filter(|(word, _)| word.starts_with(begin));
    let targets: Vec<_> = fitting
        .map(|(word, what)| json!({ "label": word, "detail": what, "type": "keyword" }))
        .collect();
    Ok(body(&json!({ "targets": targets })))
}

/// Every breakpoint as one that is not there.
fn breakpoints(request: &Request) -> Answer {
    let asked: BreakpointsArguments = request.arguments()?;
    let exceptions = asked.filters.len() + asked.filter_options.len();
    let number = asked.breakpoints.len().max(asked.lines.len()) + exceptions;
    let none = Breakpoint {
        verified: false,
        message: NO_BREAKPOINT,
    };
    Ok(body(&json!({ "breakpoints": vec![none; number] })))
}

#[cfg(test)]
mod tests;
