//! How the parts of an event are written: what repeats by its number in a table of the batch.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use tracer_model::event::{ChanOp, Fill};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::wait::{Direction, WaitObject, WaitReason};

use crate::varint::{Bytes, Malformed, put, put_bytes, put_step};

/// Distinct values in the order of their first use.
#[derive(Debug)]
pub(crate) struct Table<T> {
    numbers: FxHashMap<T, u64>,
    pub(crate) values: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            numbers: FxHashMap::default(),
            values: Vec::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Table<T> {
    fn number(&mut self, value: T) -> u64 {
        let values = &mut self.values;
        *self.numbers.entry(value).or_insert_with(|| {
            values.push(value);
            values.len() as u64 - 1
        })
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.values.clear();
    }

    fn get(&self, number: u64) -> Result<T, Malformed> {
        let index = usize::try_from(number).map_err(|_| Malformed)?;
        self.values.get(index).copied().ok_or(Malformed)
    }
}

/// The tables of a batch.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    goids: Table<u64>,
    addresses: Table<u64>,
    pub(crate) pcs: Table<u64>,
    reasons: Table<WaitReason>,
}

impl Tables {
    pub(crate) fn clear(&mut self) {
        let Tables {
            goids,
            addresses,
            pcs,
            reasons,
        } = self;
        goids.clear();
        addresses.clear();
        pcs.clear();
        reasons.clear();
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for numbers in [&self.goids, &self.addresses, &self.pcs] {
            put(out, numbers.values.len() as u64);
            let mut before = 0;
            for &number in &numbers.values {
                put_step(out, before, number);
                before = number;
            }
        }
        put(out, self.reasons.values.len() as u64);
        for reason in &self.reasons.values {
            match reason {
                WaitReason::Unknown(index) => put_bytes(out, format!("#{index}").as_bytes()),
                known => put_bytes(out, known.text().as_bytes()),
            }
        }
    }

    pub(crate) fn take(bytes: &mut Bytes<'_>) -> Result<Tables, Malformed> {
        let mut tables = Tables::default();
        for table in [&mut tables.goids, &mut tables.addresses, &mut tables.pcs] {
            let mut before = 0;
            for _ in 0..bytes.count()? {
                before = bytes.step(before)?;
                table.values.push(before);
            }
        }
        for _ in 0..bytes.count()? {
            let text = std::str::from_utf8(bytes.bytes()?).map_err(|_| Malformed)?;
            // A reason of a later gotrace, which nothing is concluded from.
            let unknown = || {
                let index = text.strip_prefix('#').and_then(|index| index.parse().ok());
                WaitReason::Unknown(index.unwrap_or(u8::MAX))
            };
            let reason = WaitReason::from_text(text).unwrap_or_else(unknown);
            tables.reasons.values.push(reason);
        }
        Ok(tables)
    }
}

/// A part of an event.
pub(crate) trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables);
    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed>;
}

macro_rules! numbered {
    ($($name:ident in $table:ident;)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
                put(out, tables.$table.number(self.0));
            }

            fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
                Ok($name(tables.$table.get(bytes.number()?)?))
            }
        }
    )*};
}

numbered! {
    Goid in goids;
    ChanAddr in addresses;
    Addr in addresses;
    // The runtime uses a g again for later goroutines.
    GAddr in addresses;
    Pc in pcs;
}

macro_rules! plain {
    ($($name:ident;)*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>, _: &mut Tables) {
                put(out, u64::from(*self));
            }

            fn take(bytes: &mut Bytes<'_>, _: &Tables) -> Result<Self, Malformed> {
                $name::try_from(bytes.number()?).map_err(|_| Malformed)
            }
        }
    )*};
}

plain! {
    u64;
    u32;
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>, _: &mut Tables) {
        out.push(u8::from(*self));
    }

    fn take(bytes: &mut Bytes<'_>, _: &Tables) -> Result<Self, Malformed> {
        match bytes.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Field for Ktime {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        self.0.put(out, tables);
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        Ok(Ktime(u64::take(bytes, tables)?))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        self.is_some().put(out, tables);
        if let Some(value) = self {
            value.put(out, tables);
        }
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        match bool::take(bytes, tables)? {
            true => Ok(Some(T::take(bytes, tables)?)),
            false => Ok(None),
        }
    }
}

impl<T: Field> Field for Box<[T]> {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        put(out, self.len() as u64);
        for value in self {
            value.put(out, tables);
        }
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        let count = bytes.count()?;
        (0..count).map(|_| T::take(bytes, tables)).collect()
    }
}

impl Field for WaitReason {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        put(out, tables.reasons.number(*self));
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        tables.reasons.get(bytes.number()?)
    }
}

impl Field for Direction {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        (*self == Direction::Receive).put(out, tables);
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        Ok(match bool::take(bytes, tables)? {
            false => Direction::Send,
            true => Direction::Receive,
        })
    }
}

impl Field for WaitObject {
    fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
        let (tag, address) = match *self {
            WaitObject::Chan {
                chan,
                direction: Direction::Send,
            } => (0, Addr(chan.0)),
            WaitObject::Chan {
                chan,
                direction: Direction::Receive,
            } => (1, Addr(chan.0)),
            WaitObject::Semaphore(address) => (2, address),
            WaitObject::Cond(address) => (3, address),
            WaitObject::Netpoll(address) => (4, address),
        };
        out.push(tag);
        address.put(out, tables);
    }

    fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
        let tag = bytes.byte()?;
        let address = Addr::take(bytes, tables)?;
        let chan = |direction| WaitObject::Chan {
            chan: ChanAddr(address.0),
            direction,
        };
        match tag {
            0 => Ok(chan(Direction::Send)),
            1 => Ok(chan(Direction::Receive)),
            2 => Ok(WaitObject::Semaphore(address)),
            3 => Ok(WaitObject::Cond(address)),
            4 => Ok(WaitObject::Netpoll(address)),
            _ => Err(Malformed),
        }
    }
}

/// Fields one after the other.
macro_rules! fields {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>, tables: &mut Tables) {
                let $name { $($field),* } = self;
                $($field.put(out, tables);)*
            }

            fn take(bytes: &mut Bytes<'_>, tables: &Tables) -> Result<Self, Malformed> {
                $(let $field = Field::take(bytes, tables)?;)*
                Ok($name { $($field),* })
            }
        }
    )*};
}

fields! {
    Fill { len, cap }
    ChanOp { chan, blocking, site, fill }
}
