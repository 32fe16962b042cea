//! The rules for RSA keys.

use num_bigint::BigUint;

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
    let modulus = BigUint::from_bytes_be(modulus);
    let residues = Residues::of(&modulus);
    if let Some(prime) = residues.divisor() {
        return Err(WeakKey::SmallFactor(prime));
    }
    if residues.are_powers_of_65537() {
        return Err(WeakKey::Roca);
    }
    let (root, rest) = fermat::square_root(&modulus);
    if rest == BigUint::ZERO {
        return Err(WeakKey::PowerModulus);
    }
    if fermat::finds_factors(&modulus, &root, &rest) { Err(WeakKey::ClosePrimes) } else { Ok(()) }
}

/// Checks that a modulus is neither a prime number nor the power of one.
pub(super) fn check_factors(modulus: &[u8]) -> Result<(), WeakKey> {
    let modulus = BigUint::from_bytes_be(modulus);
    // No prime number fails this test. A composite number that passes it was made so on purpose, or is a wonder.
    if BigUint::from(2_u8).modpow(&(&modulus - 1_u8), &modulus) == BigUint::from(1_u8) {
        return Err(WeakKey::PrimeModulus);
    }
    // A factor has ten bits or more, as smaller ones were looked for.
    let most = u32::try_from(modulus.bits() / 9).unwrap_or(u32::MAX);
    let is_power = residues::primes().take_while(|power| *power <= most).any(|power| {
        let root = modulus.nth_root(power);
        root.pow(power) == modulus
    });
    if is_power { Err(WeakKey::PowerModulus) } else { Ok(()) }
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
