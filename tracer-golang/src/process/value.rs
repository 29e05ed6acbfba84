//! Values of the target as JSON, by the runtime's own type data.
//!
//! Numbers are numbers, structs are objects in the order of their fields, pointers are followed, an
//! interface shows its dynamic value. `nil` is `null`. Where JSON has no word for it:
//!
//! - NaN and infinities are `"NaN"`, `"+Inf"`, `"-Inf"`; a complex number is `"(1+2i)"`.
//! - A channel, an `unsafe.Pointer`, a pointer that is not followed (too deep, or back to itself) is
//!   its address, `"0xc000012345"`. A function is its name, or its address if it has none.
//! - A byte slice or array is text, as a string is. Text that is cut is
//!   `{"$text": "begin", "$bytes": 1000}`, text that is not UTF-8 is `{"$escaped": "\\xff",
//!   "$bytes": 1}`.
//! - A dynamic value whose type is not a predeclared one is `{"$type": "*main.T", "$value": …}`.
//! - A list that is cut ends with `{"$more": 12}`, a map that is cut has a member `"$more"`.
//! - A map whose keys are neither strings nor integers is a list of `{"key": …, "value": …}`.
//! - What cannot be read or is implausible is `{"$error": "why"}`; the rest of the value stands.
//!
//! The target runs on meanwhile, so every length and pointer may be garbage.

use std::sync::Arc;

use serde_json::{Map, Number, Value as Json, json};
use tracer_model::ids::Addr;
use tracer_model::snapshot::Value;

use super::memory::TargetMemory;
use super::types::{EntryShape, MapShape, RUN_ENTRIES, Shape, Type, TypeError, Types, word};
use crate::layout::{BucketMap, MapLayout, SwissMap, SwissTable};

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pointers, slices, maps and interfaces followed, one inside the other.
    pub depth: u32,
    /// Elements of a slice, array or map.
    pub elements: u64,
    /// Bytes of a string.
    pub string_bytes: u64,
    /// Bytes read from the target for one value, besides those that it consists of itself.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            depth: 4,
            elements: 32,
            string_bytes: 512,
            total_bytes: 64 << 10,
        }
    }
}

/// Structs and arrays in each other; no real type comes near, a garbled one might not end.
const MAX_NESTING: u32 = 64;

/// Decodes values.
pub struct Decoder<'a, M: ?Sized> {
    memory: &'a M,
    types: &'a mut Types,
    function: &'a dyn Fn(Addr) -> Option<Arc<str>>,
    limits: Limits,
}

impl<'a, M: TargetMemory + ?Sized> Decoder<'a, M> {
    /// A decoder for values in `memory`. `function` names the function whose entry is at an address.
    pub fn new(
        memory: &'a M,
        types: &'a mut Types,
        function: &'a dyn Fn(Addr) -> Option<Arc<str>>,
        limits: Limits,
    ) -> Decoder<'a, M> {
        Decoder {
            memory,
            types,
            function,
            limits,
        }
    }

    /// The value of type `typ` that `bytes` hold.
    pub fn decode(&mut self, typ: Addr, bytes: &[u8]) -> Value {
        let typ = match self.types.get(self.memory, typ) {
            Ok(typ) => typ,
            Err(error) => return Value::Unreadable(error.to_string()),
        };
        if (bytes.len() as u64) < typ.size {
            return Value::Unreadable(format!(
                "{} bytes are no {} of {}",
                bytes.len(),
                typ.name,
                typ.size
            ));
        }
        Value::Decoded(self.walk().value(&typ, &bytes[..typ.size as usize]))
    }

    /// The value of type `typ` at `addr`.
    pub fn decode_at(&mut self, typ: Addr, addr: Addr) -> Value {
        let typ = match self.types.get(self.memory, typ) {
            Ok(typ) => typ,
            Err(error) => return Value::Unreadable(error.to_string()),
        };
        match self.walk().load(&typ, addr) {
            Ok(value) => Value::Decoded(value),
            Err(problem) => Value::Unreadable(problem),
        }
    }

    fn walk(&mut self) -> Walk<'_, M> {
        Walk {
            memory: self.memory,
            types: self.types,
            function: self.function,
            limits: self.limits,
            budget: self.limits.total_bytes,
            depth: 0,
            nesting: 0,
            above: Vec::new(),
        }
    }
}

/// The way through one value.
struct Walk<'a, M: ?Sized> {
    memory: &'a M,
    types: &'a mut Types,
    function: &'a dyn Fn(Addr) -> Option<Arc<str>>,
    limits: Limits,
    /// Bytes that may still be read.
    budget: u64,
    depth: u32,
    nesting: u32,
    /// The pointers being followed: address and type of what they point to.
    above: Vec<(Addr, Addr)>,
}

type Problem = String;

impl<M: TargetMemory + ?Sized> Walk<'_, M> {
    /// The value that `bytes` (of the type's size) hold; problems are part of it.
    fn value(&mut self, typ: &Type, bytes: &[u8]) -> Json {
        if self.nesting >= MAX_NESTING {
            return error("it is nested too deeply".to_owned());
        }
        self.nesting += 1;
        let value = self.shaped(typ, bytes);
        self.nesting -= 1;
        value.unwrap_or_else(error)
    }

    fn shaped(&mut self, typ: &Type, bytes: &[u8]) -> Result<Json, Problem> {
        Ok(match &typ.shape {
            Shape::Bool => match bytes.first() {
                Some(0) => Json::Bool(false),
                Some(1) => Json::Bool(true),
                other => return Err(format!("{other:?} is no bool")),
            },
            Shape::Int => json!(signed(bytes)),
            Shape::Uint => json!(unsigned(bytes)),
            Shape::Float => float(bytes),
            Shape::Complex => {
                let (re, im) = bytes.split_at(bytes.len() / 2);
                json!(format!("({}{}i)", plain_float(re), Signed(im)))
            }
            Shape::UnsafePointer | Shape::Chan(_) => address(word(bytes, 0)),
            Shape::Func => self.func(word(bytes, 0)),
            Shape::String => {
                let (at, len) = (word(bytes, 0), word(bytes, 8));
                self.text_at(at, len)?
            }
            Shape::Pointer(elem) => self.pointer(*elem, word(bytes, 0))?,
            Shape::Slice(elem) => {
                let [at, len, cap] = [0, 8, 16].map(|offset| word(bytes, offset));
                if at == 0 && len == 0 {
                    return Ok(Json::Null);
                }
                if len > cap {
                    return Err(format!("a slice of length {len} and capacity {cap}"));
                }
                let elem = self.typ(*elem)?;
                if is_byte(&elem) {
                    return self.text_at(at, len);
                }
                self.below(at, |walk| walk.elements_at(&elem, at, len))?
            }
            Shape::Array { elem, len } => {
                let elem = self.typ(*elem)?;
                if elem.size.checked_mul(*len) != Some(typ.size) {
                    return Err(format!("an array {} of {} bytes", typ.name, typ.size));
                }
                if is_byte(&elem) {
                    return Ok(self.text(bytes, *len));
                }
                self.elements(&elem, bytes, *len)
            }
            Shape::Struct(fields) => {
                let mut object = Map::new();
                for field in fields.iter().filter(|field| &*field.name != "_") {
                    object.insert(
                        field.name.to_string(),
                        match self.field(field.typ, field.offset, bytes) {
                            Ok(value) => value,
                            Err(problem) => error(problem),
                        },
                    );
                }
                Json::Object(object)
            }
            Shape::Interface { methods } => self.interface(*methods, bytes)?,
            Shape::Map(shape) => {
                let at = word(bytes, 0);
                if at == 0 {
                    return Ok(Json::Null);
                }
                self.below(at, |walk| walk.map(shape, at))?
            }
        })
    }

    fn field(&mut self, typ: Addr, offset: u64, bytes: &[u8]) -> Result<Json, Problem> {
        let typ = self.typ(typ)?;
        let end = offset.checked_add(typ.size);
        let bytes = end.and_then(|end| bytes.get(offset as usize..end as usize));
        let bytes = bytes.ok_or("the field lies outside of its struct")?;
        Ok(self.value(&typ, bytes))
    }

    /// What `then` says one level deeper, or the address if that is too deep.
    fn below(
        &mut self,
        at: u64,
        then: impl FnOnce(&mut Self) -> Result<Json, Problem>,
    ) -> Result<Json, Problem> {
        if self.depth >= self.limits.depth {
            return Ok(address(at));
        }
        self.depth += 1;
        let value = then(self);
        self.depth -= 1;
        value
    }

    fn pointer(&mut self, elem: Addr, at: u64) -> Result<Json, Problem> {
        if at == 0 {
            return Ok(Json::Null);
        }
        if self.above.contains(&(Addr(at), elem)) {
            return Ok(address(at));
        }
        let elem = self.typ(elem)?;
        self.below(at, |walk| {
            walk.above.push((Addr(at), elem.addr));
            let value = walk.load(&elem, Addr(at));
            walk.above.pop();
            value
        })
    }

    /// Reads a value from memory.
    fn load(&mut self, typ: &Type, at: Addr) -> Result<Json, Problem> {
        match &typ.shape {
            // Not all of a large array has to be read.
            Shape::Array { elem, len } => {
                let elem = self.typ(*elem)?;
                match is_byte(&elem) {
                    true => self.text_at(at.0, *len),
                    false => self.elements_at(&elem, at.0, *len),
                }
            }
            _ => {
                let bytes = self.bytes(at.0, typ.size)?;
                Ok(self.value(typ, &bytes))
            }
        }
    }

    fn interface(&mut self, methods: bool, bytes: &[u8]) -> Result<Json, Problem> {
        let (tab, data) = (word(bytes, 0), word(bytes, 8));
        if tab == 0 {
            return Ok(Json::Null);
        }
        let typ = match methods {
            true => {
                let at = tab.wrapping_add(u64::from(self.types.layout().itab.typ));
                word(&self.bytes(at, 8)?, 0)
            }
            false => tab,
        };
        let typ = self.typ(Addr(typ))?;
        let value = match typ.direct_iface {
            true => self.value(&typ, &data.to_le_bytes()),
            false => self.below(data, |walk| walk.load(&typ, Addr(data)))?,
        };
        Ok(match is_predeclared(&typ) {
            true => value,
            false => json!({ "$type": &*typ.name, "$value": value }),
        })
    }

    fn func(&mut self, closure: u64) -> Json {
        if closure == 0 {
            return Json::Null;
        }
        // A func value points to a funcval, whose first word is the code.
        match self.bytes(closure, 8) {
            Ok(code) => match (self.function)(Addr(word(&code, 0))) {
                Some(name) => json!(&*name),
                None => address(word(&code, 0)),
            },
            Err(problem) => error(problem),
        }
    }

    fn elements_at(&mut self, elem: &Type, at: u64, len: u64) -> Result<Json, Problem> {
        let shown = len.min(self.limits.elements);
        let size = shown
            .checked_mul(elem.size)
            .ok_or("its size is impossible")?;
        let bytes = self.bytes(at, size)?;
        Ok(self.elements(elem, &bytes, len))
    }

    /// Up to `len` elements of which `bytes` hold as many as are shown, or all.
    fn elements(&mut self, elem: &Type, bytes: &[u8], len: u64) -> Json {
        let shown = len.min(self.limits.elements);
        let mut list = Vec::new();
        for index in 0..shown {
            let begin = (index * elem.size) as usize;
            let Some(bytes) = bytes.get(begin..begin + elem.size as usize) else {
                break;
            };
            if !self.spend(1) {
                break;
            }
            list.push(self.value(elem, bytes));
        }
        let more = len - list.len() as u64;
        if more > 0 {
            list.push(json!({ "$more": more }));
        }
        Json::Array(list)
    }

    fn text_at(&mut self, at: u64, len: u64) -> Result<Json, Problem> {
        if len == 0 {
            return Ok(json!(""));
        }
        let bytes = self.bytes(at, len.min(self.limits.string_bytes))?;
        Ok(self.text(&bytes, len))
    }

    /// Text of `len` bytes that begins with `bytes`.
    fn text(&self, bytes: &[u8], len: u64) -> Json {
        let shown = &bytes[..bytes.len().min(self.limits.string_bytes as usize)];
        let cut = (shown.len() as u64) < len;
        let valid = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // The cut may have gone through a character.
            Err(error) if cut && error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        match valid {
            Some(text) if !cut => json!(text),
            Some(text) => json!({ "$text": text, "$bytes": len }),
            None => json!({ "$escaped": shown.escape_ascii().to_string(), "$bytes": len }),
        }
    }

    fn map(&mut self, shape: &MapShape, at: u64) -> Result<Json, Problem> {
        let layout = self.types.layout().map;
        let (Some(layout), Some(entries)) = (layout, shape.entries) else {
            return Err("the layout of maps is not known for this binary".to_owned());
        };
        let mut found = Entries {
            key: self.typ(shape.key)?,
            elem: self.typ(shape.elem)?,
            shape: entries,
            list: Vec::new(),
        };
        let count = match layout {
            MapLayout::Buckets { map, .. } => self.bucket_map(&map, at, &mut found)?,
            MapLayout::Swiss { map, table, .. } => self.swiss_map(&map, &table, at, &mut found)?,
        };
        let more = count.saturating_sub(found.list.len() as u64);
        Ok(match found.key.shape {
            Shape::String | Shape::Int | Shape::Uint => {
                let mut list: Vec<(String, Json)> = found
                    .list
                    .into_iter()
                    .map(|(key, value)| match key {
                        Json::String(key) => (key, value),
                        other => (other.to_string(), value),
                    })
                    .collect();
                list.sort_by(|a, b| a.0.cmp(&b.0));
                if more > 0 {
                    list.push(("$more".to_owned(), json!(more)));
                }
                Json::Object(list.into_iter().collect())
            }
            _ => {
                let mut list: Vec<Json> = found
                    .list
                    .into_iter()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect();
                if more > 0 {
                    list.push(json!({ "$more": more }));
                }
                Json::Array(list)
            }
        })
    }

    /// A map of Go 1.24 and later: one group, or a directory of tables of groups.
    fn swiss_map(
        &mut self,
        layout: &SwissMap,
        table: &SwissTable,
        at: u64,
        found: &mut Entries,
    ) -> Result<u64, Problem> {
        let header = self.bytes(at, u64::from(layout.size))?;
        let used = word(&header, layout.used);
        let directory = word(&header, layout.dir_ptr);
        let len = word(&header, layout.dir_len);
        if len == 0 {
            if used > RUN_ENTRIES {
                return Err(format!("a map of one group with {used} entries"));
            }
            if used > 0 {
                let group = self.bytes(directory, found.shape.size)?;
                self.run(&group, swiss_full, found);
            }
            return Ok(used);
        }
        let mut last = 0;
        for index in 0..len {
            if found.list.len() as u64 >= used.min(self.limits.elements) {
                break;
            }
            let at = index
                .checked_mul(8)
                .and_then(|offset| directory.checked_add(offset));
            let entry = word(&self.bytes(at.ok_or("an impossible directory")?, 8)?, 0);
            // A table may stand in several entries, which are neighbours.
            if entry == last {
                continue;
            }
            last = entry;
            let groups = self.bytes(entry.wrapping_add(u64::from(table.groups)), 16)?;
            let (data, mask) = (word(&groups, 0), word(&groups, 8));
            let size = found.shape.size;
            self.runs(
                data,
                mask.saturating_add(1),
                size,
                used,
                found,
                |walk, group, found| {
                    walk.run(group, swiss_full, found);
                    Ok(())
                },
            )?;
        }
        Ok(used)
    }

    /// A map of Go 1.23 and before: buckets with overflow chains, while growing also the old ones.
    fn bucket_map(
        &mut self,
        layout: &BucketMap,
        at: u64,
        found: &mut Entries,
    ) -> Result<u64, Problem> {
        /// `runtime.sameSizeGrow`
        const SAME_SIZE_GROW: u8 = 8;
        let header = self.bytes(at, u64::from(layout.size))?;
        let count = word(&header, layout.count);
        let byte = |offset: u32| header.get(offset as usize).copied().unwrap_or(0);
        let log = u32::from(byte(layout.log_buckets));
        let buckets = 1_u64.checked_shl(log).filter(|n| n.leading_zeros() > 16);
        let buckets = buckets.ok_or_else(|| format!("a map of 2^{log} buckets"))?;
        let old = match byte(layout.flags) & SAME_SIZE_GROW {
            0 => buckets / 2,
            _ => buckets,
        };
        for (at, n) in [
            (word(&header, layout.oldbuckets), old),
            (word(&header, layout.buckets), buckets),
        ] {
            if at != 0 && count > 0 {
                let size = found.shape.size;
                self.runs(at, n, size, count, found, |walk, bucket, found| {
                    walk.bucket(bucket, found)
                })?;
            }
        }
        Ok(count)
    }

    /// Visits `n` runs of entries, several at a time, until enough entries are found.
    fn runs(
        &mut self,
        first: u64,
        n: u64,
        size: u64,
        count: u64,
        found: &mut Entries,
        mut visit: impl FnMut(&mut Self, &[u8], &mut Entries) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let size = size.max(RUN_ENTRIES);
        // Large maps are sparse at worst, small ones should not cost a large read.
        let mut step = 1;
        let mut index = 0;
        while index < n {
            if found.list.len() as u64 >= count.min(self.limits.elements) {
                break;
            }
            let many = u64::min(step, n - index);
            let at = index
                .checked_mul(size)
                .and_then(|offset| first.checked_add(offset));
            let bytes = self.bytes(at.ok_or("an impossible bucket")?, many * size)?;
            for run in bytes.chunks_exact(size as usize) {
                visit(self, run, found)?;
            }
            index += many;
            step = (step * 2).min(16);
        }
        Ok(())
    }

    fn bucket(&mut self, bucket: &[u8], found: &mut Entries) -> Result<(), Problem> {
        /// `runtime.emptyOne`, `runtime.minTopHash`: between them are the marks of a bucket whose
        /// entries were moved to the new buckets.
        const EMPTY_ONE: u8 = 1;
        const MIN_TOP_HASH: u8 = 5;
        let mut bucket = bucket.to_vec();
        loop {
            if bucket
                .first()
                .is_some_and(|&top| top > EMPTY_ONE && top < MIN_TOP_HASH)
            {
                return Ok(());
            }
            self.run(&bucket, |top| top >= MIN_TOP_HASH, found);
            let overflow = word(&bucket, bucket.len() as u32 - 8);
            if overflow == 0 || found.list.len() as u64 >= self.limits.elements {
                return Ok(());
            }
            // The budget ends a chain that does not.
            bucket = self.bytes(overflow, found.shape.size)?;
        }
    }

    /// The entries of one bucket or group whose control byte says that they are there.
    fn run(&mut self, run: &[u8], full: impl Fn(u8) -> bool, found: &mut Entries) {
        let shape = found.shape;
        let (key, elem) = (Arc::clone(&found.key), Arc::clone(&found.elem));
        for index in 0..RUN_ENTRIES {
            if found.list.len() as u64 >= self.limits.elements {
                return;
            }
            if !run
                .get(index as usize)
                .is_some_and(|&control| full(control))
            {
                continue;
            }
            let key_at = shape.keys + index * shape.key_stride;
            let elem_at = shape.elems + index * shape.elem_stride;
            let key = self.entry(&key, run, key_at, shape.indirect_key);
            let elem = self.entry(&elem, run, elem_at, shape.indirect_elem);
            found.list.push((key, elem));
        }
    }

    fn entry(&mut self, typ: &Type, run: &[u8], at: u64, indirect: bool) -> Json {
        if indirect {
            let at = word(run, at as u32);
            return self.load(typ, Addr(at)).unwrap_or_else(error);
        }
        match run.get(at as usize..at.saturating_add(typ.size) as usize) {
            Some(bytes) => self.value(typ, bytes),
            None => error("the entry lies outside of its bucket or group".to_owned()),
        }
    }

    fn typ(&mut self, typ: Addr) -> Result<Arc<Type>, Problem> {
        self.types
            .get(self.memory, typ)
            .map_err(|error: TypeError| error.to_string())
    }

    fn bytes(&mut self, at: u64, len: u64) -> Result<Vec<u8>, Problem> {
        // A byte at least, so that what is empty cannot be asked for without end.
        if !self.spend(len.max(1)) {
            return Err(format!(
                "more than {} bytes were to be read",
                self.limits.total_bytes
            ));
        }
        let mut bytes = vec![0; len as usize];
        if len > 0 {
            self.memory
                .read(Addr(at), &mut bytes)
                .map_err(|error| error.to_string())?;
        }
        Ok(bytes)
    }

    fn spend(&mut self, bytes: u64) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                true
            }
            None => false,
        }
    }
}

/// The entries of a map found so far.
struct Entries {
    key: Arc<Type>,
    elem: Arc<Type>,
    shape: EntryShape,
    list: Vec<(Json, Json)>,
}

/// `internal/runtime/maps`: the high bit of a control byte means empty or deleted.
fn swiss_full(control: u8) -> bool {
    control & 0x80 == 0
}

fn error(problem: Problem) -> Json {
    json!({ "$error": problem })
}

fn address(at: u64) -> Json {
    match at {
        0 => Json::Null,
        at => json!(Addr(at).to_string()),
    }
}

fn is_byte(typ: &Type) -> bool {
    typ.size == 1 && typ.shape == Shape::Uint
}

/// Whether JSON's own form of the value tells all of its type that a reader needs.
fn is_predeclared(typ: &Type) -> bool {
    matches!(
        typ.shape,
        Shape::Bool | Shape::Int | Shape::Uint | Shape::Float | Shape::Complex | Shape::String
    ) && !typ.name.contains('.')
}

fn unsigned(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = bytes.len().min(8);
    word[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(word)
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (unsigned(bytes) << unused).cast_signed() >> unused
}

fn float(bytes: &[u8]) -> Json {
    // By way of the shortest text, so that a float32 of 0.1 is 0.1.
    let text = plain_float(bytes);
    match text.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Json::Number(number),
        None => Json::String(text),
    }
}

/// As Go prints it with `%v`, without an exponent.
fn plain_float(bytes: &[u8]) -> String {
    let (text, value) = match bytes.len() {
        4 => {
            let value = f32::from_bits(unsigned(bytes) as u32);
            (value.to_string(), f64::from(value))
        }
        _ => {
            let value = f64::from_bits(unsigned(bytes));
            (value.to_string(), value)
        }
    };
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => text,
    }
}

/// A float that is written with its sign.
struct Signed<'a>(&'a [u8]);

impl std::fmt::Display for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = plain_float(self.0);
        if !text.starts_with(['+', '-']) {
            f.write_str("+")?;
        }
        f.write_str(&text)
    }
}
