//! [`Residues`]: a big number modulo many small primes at once.

use std::sync::LazyLock;

use num_bigint::BigUint;

/// The remainders of a number, one for each product of small primes.
pub(super) struct Residues(Vec<u64>);

/// Some small primes, and what is needed to reduce a number by all of them together.
struct Pack {
    product: u64,
    primes: Vec<Small>,
    /// 2^64 to the power of each index, modulo the product.
    powers: Vec<u64>,
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
    pub(super) fn of(number: &BigUint) -> Self {
        let digits: Vec<_> = number.iter_u64_digits().collect();
        let residue = |pack: &Pack| {
            // At most 128 terms of 64 + 57 bits each.
            let terms = digits.iter().zip(&pack.powers);
            let sum: u128 = terms.map(|(digit, power)| u128::from(*digit) * u128::from(*power)).sum();
            u64::try_from(sum % u128::from(pack.product)).unwrap_or_default()
        };
        Self(PACKS.iter().map(residue).collect())
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

impl Pack {
    fn new(primes: &[u64]) -> Self {
        let product: u64 = primes.iter().product();
        let word = (1_u128 << 64) % u128::from(product);
        let powers = std::iter::successors(Some(1_u128), |power| Some(power * word % u128::from(product)));
        let powers = powers.take(MOST_WORDS).map(|power| u64::try_from(power).unwrap_or_default()).collect();
        Self { product, primes: primes.iter().copied().map(Small::new).collect(), powers }
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

/// 8,192 bits.
const MOST_WORDS: usize = 128;
const PACK_BITS: u32 = 57;
/// Of keys with 2,048 bits and more, all primes up to this one divide the library's constant.
const GREATEST_OF_ROCA: u64 = 701;
