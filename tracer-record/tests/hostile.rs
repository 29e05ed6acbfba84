//! The fuzz target of `fuzz/`, replayed on its corpus without a sanitizer.

#[path = "../../fuzz/src/recording.rs"]
#[allow(unreachable_pub, reason = "it is public in its own crate")]
mod recording;

use std::path::Path;

#[test]
fn the_corpus_does_no_harm() {
    let corpus = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fuzz/corpus/recording"
    ));
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus is committed") {
        let path = entry.expect("the corpus can be listed").path();
        println!("{}", path.display());
        recording::recording(&std::fs::read(&path).expect("an input"));
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus is empty");
}

/// A few of the changes that a fuzzer makes, the same each time.
#[test]
fn changes_of_the_corpus_do_no_harm() {
    let corpus = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fuzz/corpus/recording"
    ));
    let seeds: Vec<Vec<u8>> = std::fs::read_dir(corpus)
        .expect("the corpus is committed")
        .map(|entry| std::fs::read(entry.expect("it can be listed").path()).expect("an input"))
        .collect();
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let mut input = dice.choice(&seeds).expect("there are some").clone();
        for _ in 0..dice.usize(1..6) {
            let at = dice.usize(..input.len());
            match dice.u8(..4) {
                0 => input[at] = dice.u8(..),
                1 => input[at] ^= 1 << dice.u8(..8),
                2 => input.truncate(at.max(1)),
                _ => {
                    let from = dice.usize(..input.len());
                    let part = input[from..]
                        .iter()
                        .copied()
                        .take(dice.usize(1..40))
                        .collect::<Vec<_>>();
                    input.splice(at..at, part);
                }
            }
        }
        recording::recording(&input);
    }
}
