//! Fields of all that is shown: times, and words that have numbers in shared memory.

use crate::time::UnixTime;
use serde::Serializer;

/// Writes a time as RFC 3339 has it.
pub(super) fn rfc3339<S: Serializer>(time: &UnixTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// Writes a time as RFC 3339 has it, or `null`.
pub(super) fn rfc3339_or_null<S: Serializer>(
    time: &Option<UnixTime>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}

/// Makes an enum of words, each with its number in shared memory: 0 stands for none of them.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$of:meta])* $variant:ident = $number:literal, $word:literal;)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Gives the word that stands for it in every form.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Gives its number in shared memory.
            #[allow(dead_code, reason = "not all of them are kept there")]
            pub(crate) fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// Finds what has a number.
            #[allow(dead_code, reason = "not all of them are kept there")]
            pub(crate) fn of(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.number() == number)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }
    };
}
pub(super) use words;
