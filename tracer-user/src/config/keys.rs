//! What can be set.

/// Which commands have a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// `run` and `record`.
    Trace,
    /// `record`.
    Record,
    /// `agent`.
    Agent,
}

/// A setting, by the name of its flag.
#[derive(Debug)]
pub(crate) struct Key {
    /// Of the flag.
    pub(crate) flag: &'static str,
    /// The variable that stands for the flag.
    pub(crate) variable: &'static str,
    of: Of,
}

const fn key(flag: &'static str, variable: &'static str) -> Key {
    Key {
        flag,
        variable,
        of: Of::Trace,
    }
}

const fn of_record(flag: &'static str, variable: &'static str) -> Key {
    Key {
        of: Of::Record,
        ..key(flag, variable)
    }
}

const fn of_agent(flag: &'static str, variable: &'static str) -> Key {
    Key {
        of: Of::Agent,
        ..key(flag, variable)
    }
}

/// Everything that can be set.
pub(crate) static KEYS: [Key; 49] = [
    key("level", "GOTRACE_LEVEL"),
    key("budget", "GOTRACE_BUDGET"),
    key("interval", "GOTRACE_INTERVAL"),
    key("trend-window", "GOTRACE_TREND_WINDOW"),
    key("event-ring", "GOTRACE_EVENT_RING"),
    key("listen", "GOTRACE_LISTEN"),
    key("token-file", "GOTRACE_TOKEN_FILE"),
    key("tls-cert", "GOTRACE_TLS_CERT"),
    key("tls-key", "GOTRACE_TLS_KEY"),
    key("allow-host", "GOTRACE_ALLOW_HOST"),
    key("insecure-listen", "GOTRACE_INSECURE_LISTEN"),
    key("values", "GOTRACE_VALUES"),
    key("expose-values", "GOTRACE_EXPOSE_VALUES"),
    key("ring", "GOTRACE_RING"),
    key("ring-to", "GOTRACE_RING_TO"),
    key("after", "GOTRACE_AFTER"),
    key("on-goroutines", "GOTRACE_ON_GOROUTINES"),
    key("on-growth", "GOTRACE_ON_GROWTH"),
    key("on-full", "GOTRACE_ON_FULL"),
    key("on-metric", "GOTRACE_ON_METRIC"),
    of_record("max-size", "GOTRACE_MAX_SIZE"),
    of_record("max-age", "GOTRACE_MAX_AGE"),
    of_record("encrypt-to", "GOTRACE_ENCRYPT_TO"),
    of_agent("name", "GOTRACE_AGENT_NAME"),
    of_agent("deny", "GOTRACE_AGENT_DENY"),
    of_agent("level", "GOTRACE_AGENT_LEVEL"),
    of_agent("budget", "GOTRACE_AGENT_BUDGET"),
    of_agent("node-budget", "GOTRACE_AGENT_NODE_BUDGET"),
    of_agent("interval", "GOTRACE_AGENT_INTERVAL"),
    of_agent("cpu", "GOTRACE_AGENT_CPU"),
    of_agent("trend-window", "GOTRACE_AGENT_TREND_WINDOW"),
    of_agent("scan", "GOTRACE_AGENT_SCAN"),
    of_agent("no-sandbox", "GOTRACE_AGENT_NO_SANDBOX"),
    of_agent("listen", "GOTRACE_AGENT_LISTEN"),
    // A token is of who asks, not of what is asked.
    of_agent("token-file", "GOTRACE_TOKEN_FILE"),
    of_agent("tls-cert", "GOTRACE_AGENT_TLS_CERT"),
    of_agent("tls-key", "GOTRACE_AGENT_TLS_KEY"),
    of_agent("allow-host", "GOTRACE_AGENT_ALLOW_HOST"),
    of_agent("insecure-listen", "GOTRACE_AGENT_INSECURE_LISTEN"),
    of_agent("values", "GOTRACE_AGENT_VALUES"),
    of_agent("expose-values", "GOTRACE_AGENT_EXPOSE_VALUES"),
    // As the downward API of Kubernetes is used everywhere.
    of_agent("node", "NODE_NAME"),
    of_agent("kube-api", "GOTRACE_AGENT_KUBE_API"),
    of_agent("kube-token-file", "GOTRACE_AGENT_KUBE_TOKEN_FILE"),
    of_agent("kube-ca", "GOTRACE_AGENT_KUBE_CA"),
    of_agent("namespace", "GOTRACE_AGENT_NAMESPACE"),
    of_agent("deny-namespace", "GOTRACE_AGENT_DENY_NAMESPACE"),
    of_agent("selector", "GOTRACE_AGENT_SELECTOR"),
    of_agent("events", "GOTRACE_AGENT_EVENTS"),
];

/// The table of a file with the settings of the agent.
pub(super) const AGENT: &str = "agent";

impl Key {
    /// Whether a command has it.
    pub(crate) fn is_of(&self, command: &str) -> bool {
        match self.of {
            Of::Trace => matches!(command, "run" | "record"),
            Of::Record => command == "record",
            Of::Agent => command == "agent",
        }
    }

    /// A command that has it, and its help.
    pub(crate) const fn command(&self) -> &'static str {
        match self.of {
            Of::Trace | Of::Record => "record",
            Of::Agent => "agent",
        }
    }

    /// In which table of a file it is: none, or one of a command's own.
    pub(super) const fn table(&self) -> Option<&'static str> {
        match self.of {
            Of::Trace | Of::Record => None,
            Of::Agent => Some(AGENT),
        }
    }

    /// As one says it, with its table.
    pub(crate) fn name(&self) -> String {
        match self.table() {
            Some(table) => format!("{table}.{}", self.flag),
            None => self.flag.to_owned(),
        }
    }

    /// Its name as the parser of flags has it.
    pub(crate) fn id(&self) -> String {
        self.flag.replace('-', "_")
    }
}
