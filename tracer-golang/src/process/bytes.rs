//! Fields in bytes of the target. A field that the bytes do not hold reads as 0, which no check of a
//! struct as a whole lets pass.

pub(super) fn u64_at(bytes: &[u8], offset: u32) -> u64 {
    field(bytes, offset).map_or(0, u64::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: u32) -> u32 {
    field(bytes, offset).map_or(0, u32::from_le_bytes)
}

pub(super) fn u16_at(bytes: &[u8], offset: u32) -> u16 {
    field(bytes, offset).map_or(0, u16::from_le_bytes)
}

pub(super) fn u8_at(bytes: &[u8], offset: u32) -> u8 {
    field(bytes, offset).map_or(0, u8::from_le_bytes)
}

fn field<const N: usize>(bytes: &[u8], offset: u32) -> Option<[u8; N]> {
    bytes.get(offset as usize..)?.first_chunk().copied()
}
