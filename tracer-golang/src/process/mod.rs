//! What the process says.

pub mod memory;
