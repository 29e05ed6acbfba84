//! Optional ids that take no more room than the ids themselves: there are some for each goroutine, and
//! there may be many goroutines.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{GAddr, Goid, Ktime, Pc};

/// What a [`Maybe`] can hold: an id, an address, a time.
pub trait Word: Copy {
    /// The value of these 64 bits.
    fn from_word(word: u64) -> Self;
    /// Its 64 bits.
    fn into_word(self) -> u64;
}

macro_rules! words {
    ($($name:ident),*) => {$(
        impl Word for $name {
            fn from_word(word: u64) -> $name {
                $name(word)
            }

            fn into_word(self) -> u64 {
                self.0
            }
        }
    )*};
}

words!(GAddr, Goid, Ktime, Pc);

impl Word for u64 {
    fn from_word(word: u64) -> u64 {
        word
    }

    fn into_word(self) -> u64 {
        self
    }
}

/// An `Option` of 8 bytes in place of 16. The largest number is none: no id, address or time is so large.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Maybe<T>(u64, PhantomData<T>);

impl<T> Maybe<T> {
    /// Nothing.
    pub const NONE: Maybe<T> = Maybe(u64::MAX, PhantomData);
}

impl<T: Word> Maybe<T> {
    /// As an `Option`.
    pub fn get(self) -> Option<T> {
        (self.0 != u64::MAX).then(|| T::from_word(self.0))
    }

    /// This one, or else the other.
    #[must_use]
    pub fn or(self, other: Maybe<T>) -> Maybe<T> {
        match self.0 {
            u64::MAX => other,
            _ => self,
        }
    }

    /// Whether there is something.
    pub const fn is_some(self) -> bool {
        self.0 != u64::MAX
    }
}

impl<T> Default for Maybe<T> {
    fn default() -> Maybe<T> {
        Maybe::NONE
    }
}

impl<T: Word> From<Option<T>> for Maybe<T> {
    fn from(option: Option<T>) -> Maybe<T> {
        option.map_or(Maybe::NONE, Maybe::from)
    }
}

impl<T: Word> From<T> for Maybe<T> {
    fn from(value: T) -> Maybe<T> {
        Maybe(value.into_word(), PhantomData)
    }
}

impl<T: Word + fmt::Debug> fmt::Debug for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: Word + Serialize> Serialize for Maybe<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: Word + Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Maybe<T>, D::Error> {
        Option::deserialize(deserializer).map(Maybe::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_option_in_half_the_room() {
        assert_eq!(size_of::<Maybe<Goid>>(), 8);
        assert_eq!(Maybe::<Goid>::default().get(), None);
        for goid in [0, 1, u64::MAX - 1] {
            assert_eq!(Maybe::from(Goid(goid)).get(), Some(Goid(goid)));
        }
        assert_eq!(format!("{:?}", Maybe::from(Goid(7))), "Some(Goid(7))");
    }

    #[test]
    fn it_is_kept_as_an_option() {
        for option in [None, Some(Ktime(0)), Some(Ktime(12))] {
            let kept = serde_json::to_string(&option).expect("JSON");
            assert_eq!(
                serde_json::to_string(&Maybe::from(option)).expect("JSON"),
                kept
            );
            let again: Maybe<Ktime> = serde_json::from_str(&kept).expect("the same");
            assert_eq!(again.get(), option);
        }
    }
}
