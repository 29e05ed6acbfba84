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
