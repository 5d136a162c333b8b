//! What is done about a drop.

/// What is done about a drop, from the weakest to the strongest.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// Nothing is looked at.
    Off = 0,
    /// It is counted and reported, and the packet passes.
    Audit = 1,
    /// The packet is dropped.
    Enforce = 2,
}

impl Mode {
    /// The mode of a record's byte; an array that the agent has not written yet is zero, thus off.
    #[inline(always)]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Off,
            1 => Self::Audit,
            _ => Self::Enforce,
        }
    }

    /// The one that does less.
    #[inline(always)]
    pub const fn weaker(self, other: Self) -> Self {
        if (self as u8) < other as u8 { self } else { other }
    }

    /// The word that the configuration and the command line use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}
