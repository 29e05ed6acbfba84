//! Looking several times: one read of a live heap proves nothing.

use std::time::{Duration, Instant};

use tracer_model::detect::{CALM_PROOF, CLEAN_PROOF};

use crate::failure::Failure;

/// How many passes are made at least.
const PASSES: usize = CLEAN_PROOF as usize;
/// How many at most, if goroutines that run keep these from being proof: some may be caught running.
const MAX_PASSES: usize = 3 * CALM_PROOF as usize;
/// How long they may take, unless somebody is less patient.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Between two of them, at most: whoever runs for a moment has done so. Chance keeps in time with nobody.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes as many passes as it takes, but none more when `patience` is over: goroutines that ran meanwhile ask for more.
/// `pass` also tells whether nothing is left to be proven. Returns what the last one made, and how many there were.
///
/// # Errors
/// The first of a pass.
pub(crate) fn passes<T>(
    live: bool,
    patience: Duration,
    mut pass: impl FnMut() -> Result<(T, bool), Failure>,
) -> Result<(T, usize), Failure> {
    let began = Instant::now();
    let mut last = pass()?;
    let mut made = 1;
    while live && (made < PASSES || !last.1 && made < MAX_PASSES && began.elapsed() < patience) {
        if made >= PASSES {
            std::thread::sleep(PAUSE.mul_f64(fastrand::f64()));
        }
        last = pass()?;
        made += 1;
    }
    Ok((last.0, made))
}
