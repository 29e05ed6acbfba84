//! Foreign bytes that were made to hurt. The fuzz targets of `fuzz/` are replayed here on their whole
//! corpus, which every input that ever did harm is a part of, without a sanitizer.

#[path = "../../fuzz/src/image.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of it is used here")]
mod image;
#[path = "../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "it is public in its own crate")]
mod targets;
#[path = "../../fuzz/src/world.rs"]
#[allow(unreachable_pub, reason = "it is public in its own crate")]
mod world;

use arbitrary::Unstructured;
use image::{Choices, FUNCTIONS, Image};
use tracer_common::Hook;
use tracer_golang::binary::{GoBinary, LayoutOrigin, SiteError, Vaddr};
use tracer_model::snapshot::State;
use world::World;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus.join(target)).expect("the corpus is committed") {
        let path = entry.expect("the corpus can be listed").path();
        println!("{}", path.display());
        run(&std::fs::read(path).expect("an input"));
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
}

macro_rules! replay {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), targets::$target);
        }
    )*};
}

replay!(
    elf, build_info, pclntab, dwarf, code, types, values, process
);

/// What the fuzzer changes is right before it does: else it would never get beyond the first check.
#[test]
fn the_made_up_program_is_a_program() {
    for choices in [
        Choices::default(),
        Choices {
            pie: true,
            ..Choices::default()
        },
        Choices {
            stripped: true,
            ..Choices::default()
        },
        Choices {
            stripped: true,
            pie: true,
            ..Choices::default()
        },
        Choices {
            arm64: true,
            ..Choices::default()
        },
    ] {
        let image = Image::build(&choices);
        assert!(image.bytes.len() < 11_000, "{}", image.bytes.len());
        let places = image.places.clone();
        let binary =
            GoBinary::parse(image.bytes).unwrap_or_else(|error| panic!("{choices:?}: {error}"));
        assert_eq!(binary.layout_origin(), LayoutOrigin::Table);
        assert_eq!(binary.layout(), image::layout(binary.arch()));
        assert_eq!(binary.is_stripped(), choices.stripped);
        assert_eq!(binary.main_path(), Some("example.org/made-up"));
        let variables = binary.variables();
        assert_eq!(variables.allgs, Vaddr(places["runtime.allgs"]));
        assert_eq!(variables.allglen, Vaddr(places["runtime.allglen"]));
        let table = binary.pclntab();
        assert_eq!(table.len(), FUNCTIONS.len());
        let function = table.lookup("main.main").expect("it is there");
        assert_eq!(function.entry, Vaddr(places["main.main"]));
        let inside = Vaddr(function.entry.0 + 64);
        let names: Vec<_> = table
            .frames(inside)
            .iter()
            .map(|f| f.function.to_string())
            .collect();
        assert_eq!(names, ["runtime.goexit", "main.main"]);
        assert_eq!(function.sp_delta(inside), Some(8));
        let live = function.live_slots(inside).expect("its maps can be read");
        assert_eq!(live.objects.as_ref(), [(-16, 16)]);
        if !choices.arm64 {
            let sites = binary.hook_sites().map(|sites| sites.len());
            assert_eq!(sites, Ok(Hook::ALL.len()));
        }
    }
}

#[test]
fn the_made_up_process_is_a_process() {
    let snapshot = World::new(&mut Unstructured::new(&[]))
        .read()
        .expect("it is sound");
    assert!(snapshot.errors.is_empty(), "{:?}", snapshot.errors);
    assert_eq!((snapshot.goroutines.len(), snapshot.channels.len()), (7, 2));
    let waiting = snapshot
        .goroutines
        .iter()
        .filter(|g| g.state == State::Waiting);
    assert_eq!(waiting.count(), 5);
    assert!(snapshot.goroutines.iter().all(|g| !g.moving));
    let full = snapshot
        .channels
        .iter()
        .find(|channel| channel.cap == 2)
        .expect("it is there");
    assert_eq!(&*full.elem_type, "int");
    assert_eq!((full.values.len(), full.send_waiting.len()), (2, 2));
}

/// As profile-guided optimisation may do it: a probe on the function would miss those calls.
#[test]
fn a_hook_that_is_inlined_is_refused() {
    let mut gofunc = image::gofunc();
    // The name of the inlined call: the second one in the table of names.
    gofunc[44] = FUNCTIONS[0].len() as u8 + 1;
    let image = Image::build(&Choices {
        gofunc: Some(&gofunc),
        ..Choices::default()
    });
    let binary = GoBinary::parse(image.bytes).expect("it can be read");
    let refused = binary.hook_site(Hook::ChanSend).expect_err("it is inlined");
    assert!(matches!(refused, SiteError::Inlined { .. }), "{refused}");
    assert!(refused.to_string().contains("-pgo"), "{refused}");
    assert!(binary.hook_site(Hook::ChanRecv).is_ok());
}
