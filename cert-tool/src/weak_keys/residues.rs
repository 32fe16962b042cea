//! [`Residues`]: a big number modulo many small primes at once.

use std::sync::LazyLock;

use dashu_int::{UBig, Word};

/// The remainders of a number, one for each product of small primes.
pub(super) struct Residues(Vec<u64>);

/// A number of at most 57 bits, and what is needed to reduce big numbers by it.
pub(super) struct Modulus {
    value: u64,
    /// The worth of each word of a big number, modulo the value.
    words: Vec<u64>,
}

/// Some small primes, by all of which a number is reduced together.
struct Pack {
    product: Modulus,
    primes: Vec<Small>,
}

struct Small {
    prime: u64,
    /// Its inverse modulo 2^64: a number is divisible just when it times this is at most `most`.
    inverse: u64,
    most: u64,
    /// The powers of 65537 modulo the prime, one bit each.
    generated: Vec<u64>,
}

impl Residues {
    /// Reduces a number of at most 8,192 bits.
    pub(super) fn of(number: &UBig) -> Self {
        Self(PACKS.iter().map(|pack| pack.product.residue(number)).collect())
    }

    /// The smallest prime below 752 that divides the number.
    pub(super) fn divisor(&self) -> Option<u64> {
        let is_divisor = |residue: u64, small: &Small| residue.wrapping_mul(small.inverse) <= small.most;
        self.each().find(|(residue, small)| is_divisor(*residue, small)).map(|(_, small)| small.prime)
    }

    /// Tells whether the number is a power of 65537 modulo each prime, as only the moduli are that Infineon's
    /// library made (CVE-2017-15361). Of other odd numbers one in 2^160 would be.
    pub(super) fn are_powers_of_65537(&self) -> bool {
        self.each().take_while(|(_, small)| small.prime <= GREATEST_OF_ROCA).all(|(residue, small)| {
            let residue = residue % small.prime;
            let word = usize::try_from(residue / 64).ok().and_then(|at| small.generated.get(at));
            word.is_some_and(|word| word >> (residue % 64) & 1 == 1)
        })
    }

    fn each(&self) -> impl Iterator<Item = (u64, &'static Small)> {
        self.0
            .iter()
            .zip(PACKS.iter())
            .flat_map(|(residue, pack)| pack.primes.iter().map(|it| (*residue, it)))
    }
}

/// The odd primes below 752 in their order, and 2 before them.
pub(super) fn primes() -> impl Iterator<Item = u32> {
    (2..752_u32).filter(|number| (2..*number).take_while(|it| it * it <= *number).all(|it| number % it != 0))
}

impl Modulus {
    pub(super) fn new(value: u64) -> Self {
        let modulus = u128::from(value);
        let word = (1_u128 << Word::BITS) % modulus;
        let words = std::iter::successors(Some(1), |worth| Some(worth * word % modulus));
        let words = words.take(MOST_WORDS).map(low_word).collect();
        Self { value, words }
    }

    /// The remainder of a number of at most 8,192 bits.
    pub(super) fn residue(&self, number: &UBig) -> u64 {
        // At most 128 terms of 64 + 57 bits each.
        let terms = number.as_words().iter().zip(&self.words);
        let sum: u128 = terms.map(|(word, worth)| u128::from(*word) * u128::from(*worth)).sum();
        low_word(sum % u128::from(self.value))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder is less than the modulus, a word")]
fn low_word(remainder: u128) -> u64 {
    remainder as u64
}

impl Pack {
    fn new(primes: &[u64]) -> Self {
        let primes = primes.iter().copied();
        Self { product: Modulus::new(primes.clone().product()), primes: primes.map(Small::new).collect() }
    }
}

impl Small {
    fn new(prime: u64) -> Self {
        // Each step doubles the number of right bits, of which an odd number has three in itself.
        let step = |inverse: u64| inverse.wrapping_mul(2_u64.wrapping_sub(prime.wrapping_mul(inverse)));
        let inverse = (0..5).fold(prime, |inverse, _| step(inverse));
        let mut generated = vec![0; 12];
        let mut power = 1;
        loop {
            if let Some(word) = usize::try_from(power / 64).ok().and_then(|at| generated.get_mut(at)) {
                *word |= 1_u64 << (power % 64);
            }
            power = power * 65_537 % prime;
            if power <= 1 {
                break;
            }
        }
        Self { prime, inverse, most: u64::MAX / prime, generated }
    }
}

static PACKS: LazyLock<Vec<Pack>> = LazyLock::new(|| {
    let mut packs = Vec::new();
    let mut primes: Vec<u64> = Vec::new();
    for prime in self::primes().skip(1).map(u64::from) {
        if primes.iter().product::<u64>().saturating_mul(prime) >= 1 << PACK_BITS {
            packs.push(Pack::new(&primes));
            primes.clear();
        }
        primes.push(prime);
    }
    packs.push(Pack::new(&primes));
    packs
});

const MOST_WORDS: usize = 8192 / Word::BITS as usize;
const PACK_BITS: u32 = 57;
/// Of keys with 2,048 bits and more, all primes up to this one divide the library's constant.
const GREATEST_OF_ROCA: u64 = 701;
