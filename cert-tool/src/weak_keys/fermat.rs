//! Fermat's method: factors that are close together are found from the square root upwards.

use std::sync::LazyLock;

use dashu_int::UBig;
use dashu_int::ops::SquareRootRem as _;

use super::residues::Modulus;

/// The integer square root of a number, and what is left.
pub(super) fn square_root(number: &UBig) -> (UBig, UBig) {
    number.sqrt_rem()
}

/// Tells whether Fermat's method finds the factors of an odd number in a hundred rounds. Each looks at the square of
/// the next number above the root, less the number: is that a square too?
pub(super) fn finds_factors(number: &UBig, root: &UBig) -> bool {
    let (number_residue, root_residue) = (FILTER.residue(number), FILTER.residue(root));
    let mut left = ROUNDS;
    for rounds in FILTERS {
        left &= rounds(number_residue, root_residue);
        if left == 0 {
            return false;
        }
    }
    (0..u128::BITS).filter(|round| left >> round & 1 == 1).any(|round| {
        let above = root + round;
        square_root(&(above.sqr() - number)).1 == UBig::ZERO
    })
}

/// The rounds, one bit each, in which the difference is a square modulo a small number.
fn rounds_modulo<const MODULUS: u64>(number: u64, root: u64) -> u128 {
    let (number, root) = (number % MODULUS, root % MODULUS);
    let is_square = |round: &u64| {
        let above = root + round;
        squares(MODULUS) >> ((above * above + MODULUS - number) % MODULUS) & 1 == 1
    };
    // Rounds repeat themselves.
    let every = const { every(MODULUS) };
    (0..MODULUS).filter(is_square).fold(0, |rounds, round| rounds | every << round)
}

/// The remainders of squares, one bit each.
const fn squares(modulus: u64) -> u64 {
    let (mut squares, mut root) = (0, 0);
    while root < modulus {
        squares |= 1 << (root * root % modulus);
        root += 1;
    }
    squares
}

/// The multiples of a number, one bit each.
const fn every(number: u64) -> u128 {
    let (mut multiples, mut multiple) = (0, 0);
    while multiple < u128::BITS as u64 {
        multiples |= 1 << multiple;
        multiple += number;
    }
    multiples
}

/// The rounds that the CA/Browser Forum asks for: from 1 to 100.
const ROUNDS: u128 = (1 << 101) - 2;
/// Few numbers that are no square have the remainder of one modulo each of these.
const FILTERS: [fn(u64, u64) -> u128; 11] = [
    rounds_modulo::<16>,
    rounds_modulo::<9>,
    rounds_modulo::<5>,
    rounds_modulo::<7>,
    rounds_modulo::<11>,
    rounds_modulo::<13>,
    rounds_modulo::<17>,
    rounds_modulo::<19>,
    rounds_modulo::<23>,
    rounds_modulo::<29>,
    rounds_modulo::<31>,
];
static FILTER: LazyLock<Modulus> =
    LazyLock::new(|| Modulus::new(16 * 9 * 5 * 7 * 11 * 13 * 17 * 19 * 23 * 29 * 31));
