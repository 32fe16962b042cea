//! The rules for RSA keys.

use std::cmp::Ordering;

use dashu_int::UBig;
use dashu_int::monty::MontgomeryRepr;
use dashu_int::ops::BitTest as _;

use super::WeakKey;
use super::fermat;
use super::residues::{self, Residues};

/// Checks the size, the exponent and the cheap signs of weak primes. Both numbers are big-endian, without leading zeros.
pub(super) fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), WeakKey> {
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if !MODULUS_BITS.contains(&bits) {
        return Err(WeakKey::ModulusSize(bits));
    }
    if modulus.last().is_some_and(|last| last % 2 == 0) {
        return Err(WeakKey::EvenModulus);
    }
    check_exponent(exponent)?;
    check_cheap_factors(&UBig::from_be_bytes(modulus))
}

/// Checks that no factors are cheap to find.
fn check_cheap_factors(modulus: &UBig) -> Result<(), WeakKey> {
    let residues = Residues::of(modulus);
    if let Some(prime) = residues.divisor() {
        return Err(WeakKey::SmallFactor(prime));
    }
    if residues.are_powers_of_65537() {
        return Err(WeakKey::Roca);
    }
    let (root, rest) = fermat::square_root(modulus);
    if rest == UBig::ZERO {
        return Err(WeakKey::PowerModulus);
    }
    if fermat::finds_factors(modulus, &root) { Err(WeakKey::ClosePrimes) } else { Ok(()) }
}

/// Checks that an odd modulus is neither a prime number nor the power of one.
pub(super) fn check_factors(modulus: &[u8]) -> Result<(), WeakKey> {
    let modulus = UBig::from_be_bytes(modulus);
    // No prime number fails this test. A composite number that passes it was made so on purpose, or is a wonder.
    let ring = MontgomeryRepr::new(modulus.clone());
    if ring.reduce(2_u8).pow(&(&modulus - UBig::ONE)).residue() == UBig::ONE {
        return Err(WeakKey::PrimeModulus);
    }
    // A factor has ten bits or more, as smaller ones were looked for.
    let most = modulus.bit_len() / 9;
    let mut powers = residues::primes().map(|power| power as usize).take_while(|power| *power <= most);
    if powers.any(|power| is_power(&modulus, power)) { Err(WeakKey::PowerModulus) } else { Ok(()) }
}

/// Looks for the root of a number bit by bit.
fn is_power(number: &UBig, power: usize) -> bool {
    let mut root = UBig::ZERO;
    for bit in (0..=number.bit_len() / power).rev() {
        let mut candidate = root.clone();
        candidate.set_bit(bit);
        match candidate.pow(power).cmp(number) {
            Ordering::Less => root = candidate,
            Ordering::Equal => return true,
            Ordering::Greater => {}
        }
    }
    false
}

/// TLS libraries take no exponents of more than 33 bits.
fn check_exponent(exponent: &[u8]) -> Result<(), WeakKey> {
    let value = match exponent {
        [] | [_, _, _, _, _, _, ..] => return Err(WeakKey::Exponent),
        digits => digits.iter().fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit)),
    };
    if (65_537..1 << 33).contains(&value) && value % 2 == 1 { Ok(()) } else { Err(WeakKey::Exponent) }
}

const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
