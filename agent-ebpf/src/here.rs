//! The node that the verdict is about.

use crate::{Address, Home, Mode, Tables};

/// The node: what is known of it at once, and where that is not known, in full.
pub(crate) struct Here<'t, T> {
    home: Option<&'t Home>,
    pub(crate) tables: &'t T,
}

impl<'t, T: Tables> Here<'t, T> {
    #[inline(always)]
    pub(crate) fn at(tables: &'t T) -> Self {
        Self { home: tables.home(), tables }
    }

    #[inline(always)]
    pub(crate) fn mode(&self) -> Mode {
        let node = self.home.and_then(Home::node).or_else(|| self.tables.node());
        node.map_or(Mode::Off, |node| node.mode(|| self.tables.now()))
    }

    #[inline(always)]
    pub(crate) fn is_local(&self, address: Address) -> bool {
        self.home.is_some_and(|home| home.has(address)) || self.tables.is_local(address)
    }

    #[inline(always)]
    pub(crate) fn spares(&self, source: Address) -> bool {
        !self.home.is_some_and(Home::spares_nobody) && self.tables.is_never_dropped(source)
    }
}
