//! Numbers that stand for things of a snapshot, as long as that is there.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The protocol's references are below this.
const END: i64 = i32::MAX as i64;

/// Things by their numbers. A thing that was numbered already keeps its number, so that there are never
/// more than a snapshot has things, however often somebody asks.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    first: i64,
    things: Vec<T>,
    numbers: FxHashMap<T, i64>,
}

impl<T: Clone + Eq + Hash> Handles<T> {
    /// None yet; numbers begin with `first`, which is above those of before, or with 1 if these have
    /// used up half of what there is.
    pub(crate) fn new(first: i64) -> Handles<T> {
        Handles {
            first: if first > END / 2 { 1 } else { first.max(1) },
            things: Vec::new(),
            numbers: FxHashMap::default(),
        }
    }

    /// The number of a thing; 0, which stands for nothing, if there is none left.
    pub(crate) fn number(&mut self, thing: &T) -> i64 {
        if let Some(number) = self.numbers.get(thing) {
            return *number;
        }
        let number = self.next();
        if number >= END {
            return 0;
        }
        self.things.push(thing.clone());
        self.numbers.insert(thing.clone(), number);
        number
    }

    /// What a number stands for.
    pub(crate) fn get(&self, number: i64) -> Option<&T> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.things.get(index)
    }

    /// The first number that is not used yet.
    pub(crate) fn next(&self) -> i64 {
        let used = i64::try_from(self.things.len()).unwrap_or(END);
        self.first.saturating_add(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_do_not_come_back() {
        let mut handles = Handles::new(0);
        assert_eq!((handles.number(&'a'), handles.number(&'b')), (1, 2));
        assert_eq!(handles.number(&'a'), 1);
        let mut later = Handles::new(handles.next());
        assert_eq!(later.number(&'c'), 3);
        for number in [1, 2, 4, 0, -1, i64::MIN, i64::MAX] {
            assert_eq!(later.get(number), None, "{number}");
        }
        assert_eq!(later.get(3), Some(&'c'));
        assert_eq!(Handles::new(END - 1).number(&'d'), 1);
    }
}
