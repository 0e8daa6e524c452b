//! Enums that go through a socket or a pipe as a byte.

/// Makes such an enum, and the inverse of `as u8`: what stands in the list can be read, and nothing
/// else.
macro_rules! numbered {
    (
        $(#[$about:meta])*
        pub enum $Name:ident { $($(#[$doc:meta])* $one:ident $(= $number:literal)?,)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $Name {
            $($(#[$doc])* $one $(= $number)?,)*
        }

        impl $Name {
            /// The inverse of `as u8`.
            pub fn from_byte(byte: u8) -> Option<Self> {
                [$($Name::$one,)*].into_iter().find(|one| *one as u8 == byte)
            }
        }
    };
}

pub(crate) use numbered;

#[cfg(test)]
mod tests {
    numbered! {
        /// From 5 on.
        pub enum Few {
            /// 5
            First = 5,
            /// 6
            Second,
        }
    }

    #[test]
    fn bytes_come_back_as_what_they_were() {
        for one in [Few::First, Few::Second] {
            assert_eq!(Few::from_byte(one as u8), Some(one));
        }
        assert_eq!([0, 4, 7, 255].map(Few::from_byte), [None; 4]);
    }
}
