//! The Debug Adapter Protocol's messages, as far as they are used here.
//!
//! Names and meanings are the specification's (<https://microsoft.github.io/debug-adapter-protocol/specification>).
//! Where a client may leave something out it is left out or has a default here.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::Failure;

/// What a client asks.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) seq: i64,
    pub(crate) command: String,
    /// An object, or `null` where there is none.
    pub(crate) arguments: Json,
}

impl Request {
    /// Understands a message. `None` for one that asks nothing: an answer, which nobody waits for here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(message: &[u8]) -> Result<Option<Request>, String> {
        #[derive(Deserialize)]
        struct Message {
            seq: i64,
            r#type: String,
            command: Option<String>,
            #[serde(default)]
            arguments: Json,
        }
        let message: Message =
            serde_json::from_slice(message).map_err(|error| error.to_string())?;
        match (&*message.r#type, message.command) {
            ("request", Some(command)) => Ok(Some(Request {
                seq: message.seq,
                command,
                arguments: message.arguments,
            })),
            ("request", None) => Err("a request without a command".to_owned()),
            ("response" | "event", _) => Ok(None),
            (other, _) => Err(format!("a message of type `{other}`")),
        }
    }

    /// The arguments as what the command takes.
    ///
    /// # Errors
    /// They are not that.
    pub(crate) fn arguments<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Refusal> {
        let given = match &self.arguments {
            Json::Null => &Json::Object(serde_json::Map::new()),
            given => given,
        };
        T::deserialize(given).map_err(|error| {
            Refusal::new(format!(
                "the arguments of `{}` are wrong: {error}",
                self.command
            ))
        })
    }
}

/// Why a request is not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A word that the specification knows, where it has one for this.
    word: Option<&'static str>,
    text: String,
}

impl Refusal {
    pub(crate) fn new(text: impl Into<String>) -> Refusal {
        Refusal {
            word: None,
            text: text.into(),
        }
    }

    /// What can only be asked of a snapshot, while there is none.
    pub(crate) fn not_stopped() -> Refusal {
        Refusal {
            word: Some("notStopped"),
            text: "there is no snapshot to look into: pause takes one".to_owned(),
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::new(failure.to_string())
    }
}

/// What is said to a client, but for its number.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Message {
    Response {
        request_seq: i64,
        command: String,
        success: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
    },
    Event {
        event: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
    },
}

/// The answer to a request.
pub(crate) type Answer = Result<Option<Box<RawValue>>, Refusal>;

/// A body; what is made here has nothing that JSON lacks.
pub(crate) fn body(value: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

impl Message {
    pub(crate) fn answer(request: &Request, answer: Answer) -> Message {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Error<'a> {
            id: u32,
            format: &'a str,
            show_user: bool,
        }
        let (message, body) = match answer {
            Ok(body) => (None, body),
            Err(refusal) => {
                let error = Error {
                    id: 1,
                    format: &refusal.text,
                    show_user: true,
                };
                let body = body(&serde_json::json!({ "error": error }));
                (Some(refusal.word.map_or(refusal.text, str::to_owned)), body)
            }
        };
        Message::Response {
            request_seq: request.seq,
            command: request.command.clone(),
            success: message.is_none(),
            message,
            body,
        }
    }

    pub(crate) fn event(event: &'static str, value: &impl Serialize) -> Message {
        Message::Event {
            event,
            body: body(value),
        }
    }

    /// Text for the client's console. `important` is shown to the user at once.
    pub(crate) fn output(category: &'static str, text: &str) -> Message {
        let output = format!("{}\n", text.trim_end_matches('\n'));
        Message::event(
            "output",
            &serde_json::json!({ "category": category, "output": output }),
        )
    }
}

/// Where messages go.
pub(crate) trait Outbox {
    /// # Errors
    /// The client is gone.
    fn send(&mut self, message: &Message) -> io::Result<()>;
}

/// What this adapter can do, and what it never does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    supports_configuration_done_request: bool,
    supports_delayed_stack_trace_loading: bool,
    supports_completions_request: bool,
    #[serde(rename = "supportsANSIStyling")]
    supports_ansi_styling: bool,
    support_terminate_debuggee: bool,
    support_suspend_debuggee: bool,
    supports_terminate_request: bool,
    supports_restart_request: bool,
    supports_step_back: bool,
    supports_set_variable: bool,
    supports_evaluate_for_hovers: bool,
    supports_function_breakpoints: bool,
    supports_single_thread_execution_requests: bool,
}

impl Capabilities {
    pub(crate) const OURS: Capabilities = Capabilities {
        supports_configuration_done_request: true,
        supports_delayed_stack_trace_loading: true,
        supports_completions_request: true,
        supports_ansi_styling: true,
        support_terminate_debuggee: false,
        support_suspend_debuggee: false,
        supports_terminate_request: false,
        supports_restart_request: false,
        supports_step_back: false,
        supports_set_variable: false,
        supports_evaluate_for_hovers: false,
        supports_function_breakpoints: false,
        supports_single_thread_execution_requests: false,
    };
}

/// What the client can do.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Client {
    #[serde(rename = "linesStartAt1")]
    pub(crate) lines_start_at_1: bool,
    #[serde(rename = "columnsStartAt1")]
    pub(crate) columns_start_at_1: bool,
    pub(crate) path_format: Option<String>,
    pub(crate) supports_variable_type: bool,
    pub(crate) supports_variable_paging: bool,
    #[serde(rename = "supportsANSIStyling")]
    pub(crate) supports_ansi_styling: bool,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            lines_start_at_1: true,
            columns_start_at_1: true,
            path_format: None,
            supports_variable_type: false,
            supports_variable_paging: false,
            supports_ansi_styling: false,
        }
    }
}

/// A goroutine.
#[derive(Debug, Serialize)]
pub(crate) struct Thread {
    pub(crate) id: u64,
    pub(crate) name: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Threads {
    pub(crate) threads: Vec<Thread>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StackTraceArguments {
    pub(crate) thread_id: i64,
    #[serde(default)]
    pub(crate) start_frame: Option<u64>,
    /// 0 is all.
    #[serde(default)]
    pub(crate) levels: Option<u64>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StackFrame {
    pub(crate) id: i64,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instruction_pointer_reference: Option<String>,
    /// `subtle` is not what a person looks for, `label` is no frame at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) presentation_hint: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) path: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) variables_reference: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) indexed_variables: Option<usize>,
    /// Whether it is opened only when somebody asks.
    pub(crate) expensive: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScopesArguments {
    pub(crate) frame_id: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VariablesFilter {
    Indexed,
    Named,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VariablesArguments {
    pub(crate) variables_reference: i64,
    #[serde(default)]
    pub(crate) filter: Option<VariablesFilter>,
    #[serde(default)]
    pub(crate) start: Option<usize>,
    /// 0 is all.
    #[serde(default)]
    pub(crate) count: Option<usize>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) typ: Option<String>,
    /// 0 if there is nothing inside.
    pub(crate) variables_reference: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) named_variables: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) indexed_variables: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evaluate_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EvaluateArguments {
    pub(crate) expression: String,
    /// `repl`, `watch`, `hover` and others.
    #[serde(default)]
    pub(crate) context: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evaluated {
    pub(crate) result: String,
    pub(crate) variables_reference: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CompletionsArguments {
    pub(crate) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DisconnectArguments {
    pub(crate) terminate_debuggee: bool,
}

/// Of any of the requests that set breakpoints: how many.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BreakpointsArguments {
    pub(crate) breakpoints: Vec<serde::de::IgnoredAny>,
    /// In place of `breakpoints`, from clients of old.
    pub(crate) lines: Vec<serde::de::IgnoredAny>,
    pub(crate) filters: Vec<serde::de::IgnoredAny>,
    pub(crate) filter_options: Vec<serde::de::IgnoredAny>,
}

/// A breakpoint that will never be hit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Breakpoint {
    pub(crate) verified: bool,
    pub(crate) message: &'static str,
}
