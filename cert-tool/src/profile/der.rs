//! Values in DER that are appended to a buffer.

use crate::x509::name;

/// Appends a value whose content `write` appends.
pub(crate) fn wrap<E>(
    out: &mut Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    write(out)?;
    let mut header = [0; MAX_HEADER_BYTES];
    let used = header_of(&mut header, tag, out.len() - start);
    out.splice(start..start, header.into_iter().take(used));
    Ok(())
}

/// Appends a value.
pub(crate) fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    let mut header = [0; MAX_HEADER_BYTES];
    let used = header_of(&mut header, tag, content.len());
    out.extend(header.into_iter().take(used));
    out.extend_from_slice(content);
}

/// Writes a tag and a length, and returns how many bytes they take.
fn header_of(header: &mut [u8; MAX_HEADER_BYTES], tag: u8, length: usize) -> usize {
    // What has no content, with this length: certificates are far below 2^32 bytes.
    let [.., a, b, c, d] = length.to_be_bytes();
    let (bytes, used): ([u8; MAX_HEADER_BYTES], usize) = match length {
        0..0x80 => ([tag, d, 0, 0, 0, 0], 2),
        0x80..0x100 => ([tag, 0x81, d, 0, 0, 0], 3),
        0x100..0x1_0000 => ([tag, 0x82, c, d, 0, 0], 4),
        0x1_0000..0x100_0000 => ([tag, 0x83, b, c, d, 0], 5),
        _ => ([tag, 0x84, a, b, c, d], 6),
    };
    *header = bytes;
    used
}

/// An extension of a certificate (RFC 5280 §4.1): its OID, whether it is critical, and its value.
pub(crate) fn extension(oid: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = name::value(OBJECT_IDENTIFIER, oid);
    if is_critical {
        push(&mut content, BOOLEAN, &[0xff]);
    }
    push(&mut content, OCTET_STRING, value);
    name::value(SEQUENCE, &content)
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
const MAX_HEADER_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn both_ways_agree_with_a_value_of_its_own() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let expected = [vec![1], name::value(SEQUENCE, &content)].concat();
            let mut pushed = vec![1];
            push(&mut pushed, SEQUENCE, &content);
            let mut wrapped = vec![1];
            let Ok(()) = wrap(&mut wrapped, SEQUENCE, |out| {
                out.extend_from_slice(&content);
                Ok::<_, Infallible>(())
            });
            assert!(pushed == expected && wrapped == expected, "{length}");
        }
    }
}
