//! File names for ids: every id has one, no two ids share one even where letter case does not count,
//! it is legal on every system, and the id can be read back from it.
//!
//! Lower-case letters, digits and, inside, `-` and `.` stand for themselves. `_a` is an upper-case
//! `A`, `_2b` is the character with that code. What would be longer than any file name may be is
//! written as a whole in base 32, after `_9`.

/// The file name for an id.
pub(crate) fn encode(id: &str) -> String {
    let mut name = String::with_capacity(id.len() + 8);
    let last = id.len().saturating_sub(1);
    let is_reserved = is_reserved(id);
    for (index, byte) in id.bytes().enumerate() {
        let is_inside = index != 0 && index != last;
        match byte {
            b'a'..=b'z' | b'0'..=b'9' if index != 0 || !is_reserved => name.push(byte.into()),
            b'-' if index != 0 => name.push('-'),
            b'.' if is_inside => name.push('.'),
            b'A'..=b'Z' => name.extend(['_', byte.to_ascii_lowercase().into()]),
            _ => name.push_str(&format!("_{byte:02x}")),
        }
    }
    if name.len() <= MAX_BYTES { name } else { format!("{WHOLE}{}", base32(id.as_bytes())) }
}

/// Names that are devices on Windows, with any extension.
fn is_reserved(id: &str) -> bool {
    let stem = id.split('.').next().unwrap_or_default();
    let is_numbered = ["com", "lpt"]
        .iter()
        .filter_map(|port| stem.strip_prefix(port))
        .any(|rest| matches!(rest.as_bytes(), [digit] if digit.is_ascii_digit()));
    matches!(stem, "con" | "prn" | "aux" | "nul" | "conin$" | "conout$") || is_numbered
}

fn base32(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            digits.push(base32_digit(bits >> count));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        digits.push(base32_digit(bits << (5 - count)));
    }
    digits
}

#[expect(clippy::expect_used, reason = "base 32 has a digit for five bits")]
fn base32_digit(value: u32) -> char {
    char::from_digit(value & 31, 32).expect("five bits are a digit of base 32")
}

/// A mark that no escaped character begins with: the codes that `_2b` stands for are below 0x80.
const WHOLE: &str = "_9";
/// The bound of every common file system is 255; an extension has room too.
const MAX_BYTES: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;
    use hub_types::DeviceId;
    use proptest::prelude::*;

    /// The inverse, by which the tests know that no two ids share a name.
    fn decode(name: &str) -> String {
        if let Some(digits) = name.strip_prefix(WHOLE) {
            let mut bits = digits.chars().flat_map(|c| {
                let value = c.to_digit(32).unwrap();
                (0..5).rev().map(move |bit| (value >> bit & 1) as u8)
            });
            let mut bytes = Vec::new();
            while let Some(byte) =
                (0..8).map(|_| bits.next()).try_fold(0_u8, |byte, bit| Some(byte << 1 | bit?))
            {
                bytes.push(byte);
            }
            return String::from_utf8(bytes).unwrap();
        }
        let mut id = String::new();
        let mut rest = name;
        while let Some(c) = rest.chars().next() {
            let (text, used) = match (c, rest.as_bytes().get(1)) {
                ('_', Some(b'a'..=b'z')) => (rest[1..2].to_uppercase(), 2),
                ('_', _) => ((u8::from_str_radix(&rest[1..3], 16).unwrap() as char).to_string(), 3),
                _ => (c.to_string(), 1),
            };
            id.push_str(&text);
            rest = &rest[used..];
        }
        id
    }

    fn check(id: &str) {
        let name = encode(id);
        assert_eq!(decode(&name), id, "{name}");
        assert!(name.len() <= MAX_BYTES && !name.is_empty());
        assert_eq!(name, name.to_lowercase(), "case must not count");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{name}");
        assert!(!name.starts_with(['-', '.']) && !name.ends_with('.') && !is_reserved(&name), "{name}");
    }

    #[test]
    fn names_are_readable_where_they_can_be() {
        for (id, name) in [
            ("sensor-007.line1", "sensor-007.line1"),
            ("Dev1", "_dev1"),
            ("a:b", "a_3ab"),
            ("..", "_2e_2e"),
            ("-rf", "_2drf"),
            ("con", "_63on"),
            ("nul.txt", "_6eul.txt"),
        ] {
            assert_eq!(encode(id), name);
        }
    }

    #[test]
    fn hostile_ids_have_harmless_names() {
        let longest = "%".repeat(128);
        for id in [
            ".", "..", "CON", "con", "com1", "lpt9.x", "-rf", "a:b", "*", "%2e%2e", "Dev1", "dev1", "_",
            &longest,
        ] {
            check(id);
        }
        assert_eq!(encode(&longest).len(), 2 + 205);
    }

    proptest! {
        #[test]
        fn every_id_has_a_name_of_its_own(id in "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}") {
            prop_assume!(DeviceId::new(&id).is_ok());
            check(&id);
        }
    }
}
