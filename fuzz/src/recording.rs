//! The target for what reads recordings.

use tracer_record::{Keys, Recording};

/// A recording. If the first byte is odd, what follows is a whole file. Else it is blocks, each a kind, a
/// size in two bytes and the payload, whose headers and checksums are right.
pub fn recording(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else {
        return;
    };
    let file = if flags & 1 != 0 {
        rest.to_vec()
    } else {
        blocks(rest)
    };
    // Each entry takes at least a byte of the file.
    let most = file.len();
    let Ok(mut recording) = Recording::of_bytes(file, Keys::none()) else {
        return;
    };
    let (first, last) = recording.span();
    for at in [first, last] {
        let segment = recording.segment_at(at);
        assert!(segment < recording.segments());
        assert!(recording.entries(segment).count() <= most);
    }
}

fn blocks(mut input: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some((&kind, rest)) = input.split_first()
        && let Some((size, rest)) = rest.split_first_chunk()
        && let Some((payload, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))
    {
        input = rest;
        let start = file.len();
        file.extend(b"GoTR");
        file.extend([kind, 0, 0, 0]);
        let size = (payload.len() as u32).to_le_bytes();
        file.extend([size, size].concat());
        file.extend((start as u64).to_le_bytes());
        file.extend((start as u64 + 1).to_le_bytes());
        file.extend(crc32c::crc32c(payload).to_le_bytes());
        let checksum = crc32c::crc32c(&file[start..]);
        file.extend(checksum.to_le_bytes());
        file.extend(payload);
    }
    file
}
