//! What can be set.

/// A setting, by the name of its flag.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The variable that stands for the flag.
    pub(crate) variable: &'static str,
    /// Of `record` alone.
    recording: bool,
}

const fn key(name: &'static str, variable: &'static str) -> Key {
    Key {
        name,
        variable,
        recording: false,
    }
}

const fn of_record(name: &'static str, variable: &'static str) -> Key {
    Key {
        recording: true,
        ..key(name, variable)
    }
}

/// Everything that can be set.
pub(crate) const KEYS: [Key; 23] = [
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
];

impl Key {
    /// Whether a command has it.
    pub(crate) fn is_of(&self, command: &str) -> bool {
        !self.recording || command == "record"
    }

    /// Its name as the parser of flags has it.
    pub(crate) fn id(&self) -> String {
        self.name.replace('-', "_")
    }
}
