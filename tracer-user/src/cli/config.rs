//! What can be typed of settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// `--help` of `config`.
const CONFIG: &str = "A file of settings (TOML) says what `run` and `record`, and in a table of its own `agent`, take as \
    flags, by the flags' names:\n\n  \
    level = \"auto\"\n  \
    budget = 0.5\n  \
    listen = \"0.0.0.0:9477\"\n  \
    token-file = \"/etc/gotrace/token\"\n\n  \
    [agent]\n  \
    deny = [\"kubelet\", \"containerd*\"]\n\n\
    A flag counts before a variable (GOTRACE_LEVEL for --level, GOTRACE_AGENT_LEVEL of the agent), that before a file, that before the default. Without \
    --config there are /etc/gotrace/config.toml and, before that, gotrace/config.toml in $XDG_CONFIG_HOME or ~/.config. \
    Secrets are only ever named by their files.\n\n\
    Examples:\n  \
    gotrace config check /etc/gotrace/config.toml\n  \
    gotrace config show                                what holds, and who says so\n  \
    gotrace run --pid 4711 --config ./gotrace.toml";

#[derive(Debug, Args)]
#[command(after_help = CONFIG)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a file of settings is right, and if not, what is wrong in which line
    Check {
        /// The file [default: those that `run` would read]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List all settings with what holds and where that comes from
    Show {
        /// Read this file alone
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Text for people or one JSON document
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}
