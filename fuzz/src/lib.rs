//! What the fuzz targets do with their input, as functions, so that the tests of `tracer-golang`
//! replay the corpus by them as well, without a sanitizer.

pub mod image;
pub mod recording;
pub mod targets;
pub mod world;

/// What one input may take, bytes: whoever asks for more ends the run.
pub const MAX_MEMORY: usize = 512 << 20;

#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, MAX_MEMORY);
