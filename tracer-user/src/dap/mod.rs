//! The Debug Adapter Protocol: VS Code, nvim-dap and other clients look into a program that runs on.
//!
//! [`session`] is the protocol's state, a pure function of what the client says and of what a
//! [`look::Target`] sees; [`serve`] has the streams. In between a [`picture::Picture`] is one look that is
//! held still while the client opens goroutines, channels and findings in it.

pub(crate) mod config;
mod console;
mod framing;
mod handles;
pub(crate) mod look;
pub(crate) mod peer;
mod picture;
mod protocol;
pub(crate) mod serve;
mod session;
mod stack;
mod threads;
mod value;
mod variables;
