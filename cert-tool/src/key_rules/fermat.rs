//! Fermat's method: factors that are close together are found from the square root upwards.

use num_bigint::BigUint;

/// The integer square root of a number, and what is left.
pub(super) fn square_root(number: &BigUint) -> (BigUint, BigUint) {
    let root = number.sqrt();
    let rest = number - &root * &root;
    (root, rest)
}

/// Tells whether Fermat's method finds the factors of an odd number in a hundred rounds. Each looks at the square of
/// the next number above the root, less the number: is that a square too?
pub(super) fn finds_factors(number: &BigUint, root: &BigUint, rest: &BigUint) -> bool {
    let filter = |big: &BigUint| {
        let remainder = big % FILTER;
        remainder.iter_u64_digits().next().unwrap_or_default()
    };
    let lowest = |big: &BigUint| big.iter_u64_digits().next().unwrap_or_default();
    let (root_filter, rest_filter) = (filter(root), filter(rest));
    let (root_low, rest_low) = (lowest(root), lowest(rest));
    (1..=ROUNDS).any(|round| {
        // (root + round)² - number = 2·root·round + round² - rest
        let low = root_low.wrapping_mul(2 * round).wrapping_add(round * round).wrapping_sub(rest_low);
        if SQUARES_64 >> (low % 64) & 1 == 0 {
            return false;
        }
        let filtered = root_filter * 2 * round + round * round + FILTER - rest_filter;
        MODULI.iter().all(|modulus| may_be_square(filtered % modulus, *modulus)) && {
            let above = root + round;
            let difference = &above * &above - number;
            square_root(&difference).1 == BigUint::ZERO
        }
    })
}

fn may_be_square(residue: u64, modulus: u64) -> bool {
    (0..=modulus / 2).any(|root| root * root % modulus == residue)
}

/// The rounds that the CA/Browser Forum asks for.
const ROUNDS: u64 = 100;
/// The remainders of squares modulo 64, one bit each.
const SQUARES_64: u64 = {
    let (mut squares, mut root) = (0, 0_u64);
    while root < 64 {
        squares |= 1 << (root * root % 64);
        root += 1;
    }
    squares
};
/// Few numbers that are no square have the remainder of one modulo each of these.
const MODULI: [u64; 8] = [9, 5, 7, 11, 13, 17, 19, 23];
const FILTER: u64 = 9 * 5 * 7 * 11 * 13 * 17 * 19 * 23;
