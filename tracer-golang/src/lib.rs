//! All knowledge of Go: what a binary is, where its runtime keeps what, which instructions a probe
//! may sit on, and how to read a live target without stopping it. Nothing outside this crate names
//! a Go version, a runtime symbol or an offset.
//!
//! Two halves, one direction (`process` depends on `binary`, never the other way round):
//!
//! - [`binary`]: what the *file* says, once per build id: architecture, Go version, symbols,
//!   layouts, hook sites. No live process needed.
//! - [`process`]: what the *process* says, once per pid: load bias, memory, goroutines, channels.
//!
//! Everything read from foreign bytes is checked; what is not recognised is refused by name.

pub mod binary;
pub mod layout;
pub mod process;
