//! [`Line`]: the straight line through some points with the least sum of squares, and how much of
//! the points it explains.

/// A straight line.
pub(crate) struct Line {
    /// What y grows by for each unit of x.
    pub(crate) slope: f64,
    /// The coefficient of determination, R²: 1 if all points are on the line.
    pub(crate) explained: f64,
}

// === impl Line ===

impl Line {
    /// The line through at least two points with different x.
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|point| of(point.0 - x, point.1 - y)).sum::<f64>();
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        Self { slope: xy / xx, explained: xy * xy / (xx * yy) }
    }
}
