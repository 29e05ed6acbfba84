//! What each command says of itself, and of a recording that is kept beside this: compared letter by letter.
//! After a change that is meant: `TRYCMD=overwrite cargo test -p integration-tests --test golden`, and look at
//! what git says has changed.

use integration_tests::gotrace;

#[test]
fn help_and_text_are_as_they_were() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    trycmd::TestCases::new()
        .register_bin("gotrace", gotrace::program())
        // What the machine says must not be seen.
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("HOME", "/nonexistent")
        .case(directory.join("*.trycmd"))
        .run();
}
