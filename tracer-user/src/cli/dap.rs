//! What can be typed of the debug adapter.

use std::net::SocketAddr;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Without --listen it speaks the Debug Adapter Protocol on standard input and output, as editors start it. What to attach \
to, and what to show, the editor's launch configuration says (docs/dap.md):

  {\"type\": \"gotrace\", \"request\": \"attach\", \"name\": \"my service\", \"processName\": \"api*\"}

The program is never stopped: pause takes a snapshot to look around in, continue drops it.

Examples:
  gotrace dap                              as an editor starts it
  sudo gotrace dap --listen 127.0.0.1:4711   for an editor that is not root (\"debugServer\": 4711)")]
pub(crate) struct DapArgs {
    /// Serve clients that connect to this address, each on its own; only you and root are let in, and an
    /// address that others can reach needs --insecure-listen
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Let everybody in who can reach the address; they can open processes alone, no files, and values
    /// are sizes
    #[arg(long, requires = "listen")]
    pub(crate) insecure_listen: bool,
    /// Show everybody the values in channels as well: they can be secrets
    #[arg(long, requires = "insecure_listen", conflicts_with = "redact")]
    pub(crate) expose_values: bool,
    /// Show sizes in place of values, whatever the launch configuration says
    #[arg(long)]
    pub(crate) redact: bool,
}
