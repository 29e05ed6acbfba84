//! Files as they should be, and as they should not.

mod common;

use std::path::PathBuf;

use common::{EVENTS, Named, event, file, snapshot};
use tracer_model::ids::{Ktime, Pc};
use tracer_model::symbol::Symbolizer as _;
use tracer_record::sink::{self, Limits, Ring};
use tracer_record::{Batch, Clock, Entry, Error, Item, Keyframe, Keys, Recording, Sink, Writer};

fn open(bytes: &[u8]) -> Result<Recording, Error> {
    Recording::of_bytes(bytes.to_vec(), Keys::none())
}

/// Every event that can be read, and whether something is missing.
fn read(bytes: &[u8]) -> (Vec<Item>, bool) {
    let mut recording = open(bytes).expect("something can be read");
    let (mut items, mut missing) = (Vec::new(), false);
    for entry in recording.entries(0) {
        match entry {
            Entry::Items(mut unpacked) => items.append(&mut unpacked.items),
            Entry::Missing(_) => missing = true,
            _ => {}
        }
    }
    (items, missing)
}

fn is_part_of(part: &[Item], whole: &[Item]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|item| rest.any(|other| other == item))
}

#[test]
fn what_is_written_is_read() {
    let bytes = file(3);
    let (items, missing) = read(&bytes);
    assert!(!missing);
    let expected: Vec<Item> = (0..6 * EVENTS)
        .map(|number| Item::Event(event(number)))
        .collect();
    assert_eq!(items, expected);

    let mut recording = open(&bytes).expect("it is one");
    assert_eq!(recording.segments(), 3);
    assert_eq!(
        recording.span(),
        (Ktime(0), Ktime(1000 * (6 * EVENTS - 1) + 10))
    );
    let symbols = recording.symbols();
    let reads: Vec<_> = recording
        .entries(0)
        .filter_map(|entry| match entry {
            Entry::Observation(read) => Some(*read),
            _ => None,
        })
        .collect();
    assert_eq!(reads.len(), 3);
    assert_eq!(reads[0], snapshot(1000 * (2 * EVENTS - 1)));
    for pc in [0, 1, 2, 5, 6] {
        assert_eq!(symbols.frames(Pc(pc)), Named.frames(Pc(pc)));
    }
    assert!(symbols.frames(Pc(3)).is_empty());
}

#[test]
fn each_segment_can_be_understood_by_itself() {
    let bytes = file(3);
    for (at, segment) in [
        (0, 0),
        (1000 * 2 * EVENTS - 1, 0),
        (1000 * 2 * EVENTS, 1),
        (u64::MAX, 2),
    ] {
        let mut recording = open(&bytes).expect("it is one");
        assert_eq!(recording.segment_at(Ktime(at)), segment, "{at}");
        let symbols = recording.symbols();
        let mut entries = recording.entries(segment);
        assert!(matches!(entries.next(), Some(Entry::Segment(_))));
        assert!(matches!(entries.next(), Some(Entry::Keyframe(_))));
        assert!(!symbols.frames(Pc(5)).is_empty(), "its symbols are there");
    }
}

#[test]
fn a_file_is_read_as_far_as_it_goes() {
    let bytes = file(2);
    let (whole, _) = read(&bytes);
    let mut before = 0;
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        match open(cut) {
            Err(error) => {
                assert!(matches!(error, Error::Empty), "{length}: {error}");
                assert_eq!(before, 0, "{length}");
            }
            Ok(_) => {
                let (items, _) = read(cut);
                assert!(whole.starts_with(&items), "{length}");
                assert!(items.len() >= before, "{length}");
                before = items.len();
            }
        }
    }
    assert_eq!(before, whole.len(), "the index alone is missing");
}

#[test]
fn a_bit_that_flips_costs_its_block_at_most() {
    let bytes = file(2);
    let (whole, _) = read(&bytes);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok(_) = open(&flipped) else {
            assert!(
                at < 300,
                "only what says what the file is may cost all: {at}"
            );
            continue;
        };
        let (items, missing) = read(&flipped);
        assert!(is_part_of(&items, &whole), "{at}");
        assert!(missing || items == whole, "{at}: a loss that is not said");
        // One batch of the four; or the first segment, if its beginning is not understood.
        let most = if at < 300 { 2 * EVENTS } else { EVENTS };
        assert!(items.len() as u64 + most >= whole.len() as u64, "{at}");
    }
}

#[test]
fn what_lies_between_is_skipped() {
    let bytes = file(1);
    let (whole, _) = read(&bytes);
    // Recordings one after the other, with and without something between.
    for between in [&[][..], b"something else altogether", &b"GoTR".repeat(20)] {
        let joined = [&bytes, between, &bytes].concat();
        let (items, missing) = read(&joined);
        assert_eq!(items, [&whole[..], &whole].concat(), "{between:?}");
        assert_eq!(missing, !between.is_empty());
        assert_eq!(open(&joined).expect("it is one").segments(), 2);
    }
}

#[test]
fn foreign_files_are_told_as_such() {
    for (bytes, foreign) in [
        (&[][..], false),
        (b"Go", false),
        (b"GoTR", false),
        (
            b"GoTR and nothing more than that, for longer than a header",
            false,
        ),
        (b"not one", true),
        (&[0; 4096], true),
    ] {
        match open(bytes) {
            Err(Error::Foreign) => assert!(foreign, "{bytes:?}"),
            Err(Error::Empty) => assert!(!foreign, "{bytes:?}"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{bytes:?} is no recording"),
        }
    }
}

struct Limited {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Limited {
    fn new() -> Limited {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Limited {
            path: directory.path().join("recording"),
            _directory: directory,
        }
    }
}

/// Segments of one batch each, a second apart, into a sink.
fn seconds<S: Sink>(sink: S, count: u64) -> S {
    let clock = Clock {
        kernel: Ktime(0),
        unix: 0,
    };
    let mut writer = Writer::new(sink, clock, "test", None);
    for second in 0..count {
        let at = Ktime(second * 1_000_000_000);
        let keyframe = Keyframe {
            at,
            ..Keyframe::default()
        };
        writer.keyframe(&keyframe, &Named).expect("there is room");
        let mut batch = Batch::new();
        batch.heard_until(at);
        writer
            .items(batch.pack().expect("there is one"), &Named)
            .expect("there is room");
    }
    writer.finish().expect("there is room")
}

#[test]
fn the_oldest_files_go() {
    for (limits, first) in [
        (Limits::default(), 0),
        (
            Limits {
                age: Some(5_000_000_000),
                ..Limits::default()
            },
            14,
        ),
        (
            Limits {
                bytes: Some(1),
                ..Limits::default()
            },
            19,
        ),
    ] {
        let limited = Limited::new();
        seconds(
            sink::directory(&limited.path, limits).expect("it is made"),
            20,
        );
        let recording = Recording::open(&limited.path, Keys::none()).expect("it is one");
        assert_eq!(recording.first_number(), first, "{limits:?}");
        assert_eq!(recording.segments() as u64, 20 - first, "{limits:?}");
    }
}

#[test]
fn a_ring_keeps_the_last_seconds() {
    let limited = Limited::new();
    let ring = seconds(Ring::new(5_000_000_000), 20);
    let bytes = ring.write_to(&limited.path).expect("it is written");
    let recording = Recording::open(&limited.path, Keys::none()).expect("it is one");
    assert_eq!(
        std::fs::metadata(&limited.path).expect("it is there").len(),
        bytes
    );
    assert_eq!(bytes, ring.bytes());
    assert_eq!(
        recording.span(),
        (Ktime(14_000_000_000), Ktime(19_000_000_000))
    );
}
