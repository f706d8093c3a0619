//! Figures of many values.

use std::time::Duration;

/// The value below which so many of a hundred lie, of at least one value: the nearest rank.
pub fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Spearman's rank correlation of the places that the same things have in two orders: 1 where both are the same,
/// 0 where they have nothing to do with each other. Of less than two there is none.
pub fn spearman(places: &[usize]) -> Option<f64> {
    let count = places.len() as f64;
    if places.len() < 2 {
        return None;
    }
    let squares: f64 = places
        .iter()
        .enumerate()
        .map(|(own, other)| (own as f64 - *other as f64).powi(2))
        .sum();
    Some(1.0 - 6.0 * squares / (count * (count * count - 1.0)))
}

/// Jain's index of fairness: 1 where all were given the same, one n-th where one of n was given all.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 {
        0.0
    } else {
        sum * sum / (shares.len() as f64 * squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_of_itself_and_minus_one_of_its_reverse() {
        assert_eq!(spearman(&[0, 1, 2, 3]), Some(1.0));
        assert_eq!(spearman(&[3, 2, 1, 0]), Some(-1.0));
        assert_eq!(spearman(&[0]), None);
    }

    #[test]
    fn who_is_given_nothing_costs_fairness() {
        assert!((jain(&[2.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[6.0, 0.0, 0.0]) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&[], 50), None);
    }
}
