//! The median of many figures, and how they spread.

/// Figures of one kind, sorted.
#[derive(Clone, Debug)]
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }
}

impl Figures {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one; not a number if there is none.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The figure below which this part of them lies, between two neighbours in proportion.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else { return f64::NAN };
        let at = part * last as f64;
        let (low, high) = (self.0[at.floor() as usize], self.0[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        let figures: Figures = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(figures.median(), 2.5);
        assert_eq!((figures.quantile(0.0), figures.quantile(1.0)), (1.0, 4.0));
    }

    #[test]
    fn of_no_figures_there_is_no_median() {
        assert!(Figures::from_iter([]).median().is_nan());
    }
}
