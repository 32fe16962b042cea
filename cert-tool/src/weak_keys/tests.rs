use dashu_int::UBig;
use dashu_int::ops::{BitTest as _, SquareRoot as _};
use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use proptest::prelude::*;
use x509_parser::prelude::FromDer as _;

use super::*;

fn parsed(info: &[u8]) -> SubjectPublicKeyInfo<'_> {
    let (rest, key) = SubjectPublicKeyInfo::from_der(info).unwrap();
    assert!(rest.is_empty());
    key
}

/// The `SubjectPublicKeyInfo` of an RSA key, whatever its numbers.
fn rsa_info(modulus: &BigNum, exponent: u32) -> Vec<u8> {
    let exponent = BigNum::from_u32(exponent).unwrap();
    let key = Rsa::from_public_components(copy(modulus), exponent).unwrap();
    PKey::from_rsa(key).unwrap().public_key_to_der().unwrap()
}

fn copy(number: &BigNumRef) -> BigNum {
    number.to_owned().unwrap()
}

fn prime(bits: i32) -> BigNum {
    let mut prime = BigNum::new().unwrap();
    prime.generate_prime(bits, false, None, None).unwrap();
    prime
}

fn times(one: &BigNum, other: &BigNum) -> BigNum {
    let mut product = BigNum::new().unwrap();
    product.checked_mul(one, other, &mut BigNumContext::new().unwrap()).unwrap();
    product
}

/// The next prime above a number.
fn next_prime(number: &BigNum) -> BigNum {
    let mut context = BigNumContext::new().unwrap();
    let mut next = copy(number);
    if !next.is_bit_set(0) {
        next.add_word(1).unwrap();
    }
    loop {
        next.add_word(2).unwrap();
        if next.is_prime(20, &mut context).unwrap() {
            return next;
        }
    }
}

/// A prime as Infineon's library made them: k·M + (65537^a mod M), M the product of the first 126 primes.
fn roca_prime() -> BigNum {
    let mut context = BigNumContext::new().unwrap();
    let mut product = BigNum::from_u32(1).unwrap();
    residues::primes().take(126).for_each(|prime| product.mul_word(prime).unwrap());
    loop {
        let (mut power, mut factor) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        let mut exponent = BigNum::new().unwrap();
        exponent.rand(250, openssl::bn::MsbOption::ONE, false).unwrap();
        power.mod_exp(&BigNum::from_u32(65_537).unwrap(), &exponent, &product, &mut context).unwrap();
        factor.rand(1024 - product.num_bits(), openssl::bn::MsbOption::TWO_ONES, false).unwrap();
        let mut candidate = times(&factor, &product);
        candidate = {
            let mut sum = BigNum::new().unwrap();
            sum.checked_add(&candidate, &power).unwrap();
            sum
        };
        if candidate.num_bits() == 1024 && candidate.is_prime(20, &mut context).unwrap() {
            return candidate;
        }
    }
}

fn product_with_bits(bits: i32, make: impl Fn() -> BigNum) -> BigNum {
    std::iter::repeat_with(make).find(|product| product.num_bits() == bits).unwrap()
}

#[test]
fn weak_moduli_are_refused_by_the_rule_that_they_break() {
    let p = prime(1024);
    let cases = [
        (times(&prime(512), &prime(512)), WeakKey::ModulusSize(1024)),
        (
            {
                let mut even = times(&prime(1024), &prime(1024));
                even.sub_word(1).unwrap();
                even
            },
            WeakKey::EvenModulus,
        ),
        (
            product_with_bits(2048, || {
                // 743 has ten bits: the product has 2,048.
                let mut it = prime(2038);
                it.mul_word(743).unwrap();
                it
            }),
            WeakKey::SmallFactor(743),
        ),
        // 2^2047 + 1, which looks like a modulus at both ends.
        (
            {
                let mut it = BigNum::from_u32(1).unwrap();
                it.set_bit(2047).unwrap();
                it
            },
            WeakKey::SmallFactor(3),
        ),
        (product_with_bits(2048, || times(&roca_prime(), &roca_prime())), WeakKey::Roca),
        (times(&p, &next_prime(&p)), WeakKey::ClosePrimes),
        (times(&p, &p), WeakKey::PowerModulus),
    ];
    for (modulus, rule) in cases {
        let info = rsa_info(&modulus, 65_537);
        assert_eq!(check(&parsed(&info)), Err(rule));
    }
}

#[test]
fn primes_and_their_powers_are_no_moduli() {
    let cases = [
        (prime(2048), WeakKey::PrimeModulus),
        (
            {
                let p = prime(684);
                times(&times(&p, &p), &p)
            },
            WeakKey::PowerModulus,
        ),
    ];
    for (modulus, rule) in cases {
        let info = rsa_info(&modulus, 65_537);
        assert_eq!(check(&parsed(&info)), Ok(()), "{rule}: it takes too long for each signature");
        assert_eq!(check_unproven(&parsed(&info)), Err(rule));
    }
}

#[test]
fn good_keys_keep_all_rules() {
    for bits in [2048, 3072, 4096] {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap().public_key_to_der().unwrap();
        assert_eq!(check_unproven(&parsed(&key)), Ok(()), "RSA {bits}");
        assert_eq!(normalised(&parsed(&key)), Ok(key));
    }
    for curve in [Nid::X9_62_PRIME256V1, Nid::SECP384R1] {
        let key = EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap();
        let key = PKey::from_ec_key(key).unwrap().public_key_to_der().unwrap();
        assert_eq!(check_unproven(&parsed(&key)), Ok(()));
        assert_eq!(normalised(&parsed(&key)), Ok(key));
    }
}

#[test]
fn exponents_are_odd_and_of_the_usual_size() {
    let modulus = times(&prime(1024), &prime(1025));
    for (exponent, is_good) in [(1, false), (3, false), (65_536, false), (65_537, true), (65_539, true)] {
        let found = check(&parsed(&rsa_info(&modulus, exponent)));
        assert_eq!(found, if is_good { Ok(()) } else { Err(WeakKey::Exponent) }, "{exponent}");
    }
    assert_eq!(rsa::check(&modulus.to_vec(), &[2, 0, 0, 0, 1]), Err(WeakKey::Exponent));
    assert_eq!(rsa::check(&modulus.to_vec(), &[1, 0, 0, 0, 1]), Ok(()));
    assert_eq!(rsa::check(&modulus.to_vec(), &[1, 0, 0, 0, 0, 1]), Err(WeakKey::Exponent));
}

#[test]
fn one_point_has_one_encoding() {
    for curve in [Nid::X9_62_PRIME256V1, Nid::SECP384R1] {
        let mut group = EcGroup::from_curve_name(curve).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let usual = PKey::from_ec_key(key.clone()).unwrap().public_key_to_der().unwrap();
        let mut context = BigNumContext::new().unwrap();
        let info = |form| {
            let mut context = BigNumContext::new().unwrap();
            let point = key.public_key().to_bytes(&group, form, &mut context).unwrap();
            let oid = match curve {
                Nid::SECP384R1 => Curve::P384.oid(),
                _ => Curve::P256.oid(),
            };
            encode(EC_PUBLIC_KEY, (&oid).into(), &point).unwrap()
        };
        let compressed = info(PointConversionForm::COMPRESSED);
        assert_eq!(check_unproven(&parsed(&compressed)), Ok(()));
        assert_eq!(normalised(&parsed(&compressed)), Ok(usual.clone()));
        let hybrid = info(PointConversionForm::HYBRID);
        assert_eq!(check(&parsed(&hybrid)), Err(WeakKey::HybridPoint));
        assert_eq!(normalised(&parsed(&hybrid)), Err(WeakKey::HybridPoint));
        let mut off = usual.clone();
        *off.last_mut().unwrap() ^= 1;
        assert_eq!(check_unproven(&parsed(&off)), Err(WeakKey::NotOnCurve));
        group.set_asn1_flag(openssl::ec::Asn1Flag::EXPLICIT_CURVE);
        let point =
            key.public_key().to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context).unwrap();
        let point = openssl::ec::EcPoint::from_bytes(&group, &point, &mut context).unwrap();
        let written_out = EcKey::from_public_key(&group, &point).unwrap();
        let written_out = PKey::from_ec_key(written_out).unwrap().public_key_to_der().unwrap();
        assert_eq!(check(&parsed(&written_out)), Err(WeakKey::UnnamedCurve));
    }
}

#[test]
fn one_rsa_key_has_one_encoding() {
    let key = Rsa::generate(2048).unwrap();
    let modulus = key.n().to_vec();
    let usual = PKey::from_rsa(key).unwrap().public_key_to_der().unwrap();
    let integer = |digits: &[u8]| crate::x509::name::value(0x02, digits);
    let numbers = |zeros: usize| {
        let modulus = [&vec![0; zeros][..], &modulus].concat();
        crate::x509::name::value(0x30, &[integer(&modulus), integer(&[1, 0, 1])].concat())
    };
    let oid = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let info = |numbers: &[u8], null: &[u8]| {
        let algorithm = crate::x509::name::value(0x30, &[&oid[..], null].concat());
        let bits = crate::x509::name::value(0x03, &[&[0], numbers].concat());
        crate::x509::name::value(0x30, &[algorithm, bits].concat())
    };
    let without_null = info(&numbers(1), &[]);
    assert_ne!(without_null, usual);
    assert_eq!(normalised(&parsed(&without_null)), Ok(usual));
    // DER has no superfluous zeros (X.690 §8.3.2), and without the one the modulus would be negative.
    for zeros in [0, 3] {
        assert_eq!(check(&parsed(&info(&numbers(zeros), &[5, 0]))), Err(WeakKey::Damaged));
    }
}

/// Fermat's method, round by round.
fn finds_factors_plainly(number: &UBig, root: &UBig) -> bool {
    (1..=100_u8).any(|round| fermat::square_root(&((root + round).sqr() - number)).1 == UBig::ZERO)
}

/// The product of two numbers of which Fermat's method finds the mean in about so many rounds.
fn close_product(mean: &UBig, rounds: u64, nudge: u8) -> UBig {
    let half_distance = (mean * rounds * 2_u8).sqrt() + nudge;
    let is_odd = (mean + &half_distance).bit(0);
    let half_distance = if is_odd { half_distance } else { half_distance + UBig::ONE };
    mean.sqr() - half_distance.sqr()
}

#[test]
fn primes_are_too_close_up_to_a_hundred_rounds() {
    let p = prime(1024);
    for rounds in [1, 50, 99, 102, 150] {
        // In so many rounds primes are found whose distance is √(8·rounds·p).
        let distance = (UBig::from_be_bytes(&p.to_vec()) * (8_u64 * rounds)).sqrt();
        let distance = BigNum::from_slice(&distance.to_be_bytes()).unwrap();
        let q = next_prime(&(&p + &distance));
        let info = rsa_info(&times(&p, &q), 65_537);
        let expected = if rounds <= 100 { Err(WeakKey::ClosePrimes) } else { Ok(()) };
        let found = check(&parsed(&info));
        assert_eq!(found, expected, "{rounds} rounds");
    }
}

proptest! {
    #[test]
    fn square_roots_are_exact(
        bytes in proptest::collection::vec(any::<u8>(), 1..1100),
        is_full: bool,
        is_square: bool,
        nudge in 0_u8..3,
    ) {
        // `UBig::ones` of dashu-int 0.4.3 gives a value of 128 bits that panics in arithmetic.
        let number = UBig::from_be_bytes(&if is_full { vec![u8::MAX; bytes.len()] } else { bytes });
        let number = if is_square { number.sqr() + nudge } else { number };
        let (root, rest) = fermat::square_root(&number);
        prop_assert_eq!(root.sqr() + &rest, number);
        prop_assert!(rest <= root * 2_u8);
    }

    #[test]
    fn all_rounds_are_tried(
        mean in proptest::collection::vec(any::<u8>(), 128..=512),
        rounds in prop_oneof![1..300_u64, 95..106_u64],
        nudge in 0_u8..8,
    ) {
        let mean = UBig::from_be_bytes(&mean) | (UBig::ONE << 1023);
        let number = close_product(&mean, rounds, nudge);
        let root = fermat::square_root(&number).0;
        prop_assert_eq!(fermat::finds_factors(&number, &root), finds_factors_plainly(&number, &root));
    }

    #[test]
    fn numbers_in_general_have_no_close_factors(mut bytes in proptest::collection::vec(any::<u8>(), 256..=1024)) {
        *bytes.last_mut().unwrap() |= 1;
        let number = UBig::from_be_bytes(&bytes);
        let root = fermat::square_root(&number).0;
        prop_assert_eq!(fermat::finds_factors(&number, &root), finds_factors_plainly(&number, &root));
    }

    #[test]
    fn small_divisors_are_found(bytes in proptest::collection::vec(any::<u8>(), 1..1024)) {
        let number = UBig::from_be_bytes(&bytes);
        let divisor = residues::primes().skip(1).find(|prime| &number % *prime == 0);
        prop_assert_eq!(residues::Residues::of(&number).divisor(), divisor.map(u64::from));
    }
}
