//! Which of two versions is older.

use std::cmp::Ordering;

/// Compares versions as deb-version(7) does within each part: digits by their number, letters before other
/// characters, and `~` before everything, even the end. So 1.9 < 1.10, and 1.0~rc1 < 1.0 < 1.0.1.
///
/// ```
/// use sluice_switch::fleet::version::order;
///
/// assert!(order("1.9", "1.10").is_lt());
/// assert!(order("1.0~rc1", "1.0").is_lt());
/// assert!(order("2024a", "2024.1").is_lt());
/// ```
pub fn order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let text = |s: &[u8]| s.iter().take_while(|c| !c.is_ascii_digit()).count();
        let (x, y) = (text(a), text(b));
        let weights = |s: &[u8], n| s[..n].iter().map(|c| weight(*c)).chain([0]).collect::<Vec<_>>();
        let by_text = weights(a, x).cmp(&weights(b, y));
        if by_text.is_ne() {
            return by_text;
        }
        (a, b) = (&a[x..], &b[y..]);
        let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let (x, y) = (digits(a), digits(b));
        let number = |s: &[u8], n| {
            let zeros = s[..n].iter().take_while(|c| **c == b'0').count();
            (n - zeros, s[zeros..n].to_vec())
        };
        let by_number = number(a, x).cmp(&number(b, y));
        if by_number.is_ne() {
            return by_number;
        }
        (a, b) = (&a[x..], &b[y..]);
    }
    Ordering::Equal
}

/// The end of a text weighs 0.
fn weight(c: u8) -> i32 {
    match c {
        b'~' => -1,
        c if c.is_ascii_alphabetic() => c.into(),
        c => i32::from(c) + 256,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_debians() {
        let sorted = [
            "0", "1.0~~", "1.0~~a", "1.0~", "1.0~rc1", "1.0~rc2", "1.0", "1.0a", "1.0+b1", "1.0-1", "1.0.1",
            "1.2", "1.09", "1.10", "1.10.0", "2024a", "2024.1", "v1", "v2",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(order(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert!(order("1.01", "1.1").is_eq());
        assert!(order("1.99999999999999999999", "1.100000000000000000000").is_lt());
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[a0-2.~+]{0,6}", b in "[a0-2.~+]{0,6}", c in "[a0-2.~+]{0,6}") {
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                prop_assert!(order(&a, &c).is_le());
            }
        }
    }
}
