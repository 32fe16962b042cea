//! The outer structure of DER: elements one after another.

/// An element with its tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// The bytes of tag, length and content.
    pub(super) whole: &'a [u8],
}

/// Splits bytes into elements; `None` where they are no DER, or of a tag of several bytes.
pub(super) fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while let Some((element, rest)) = split_first(bytes)? {
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

/// The content of bytes that are one element with a tag.
pub(super) fn content_of(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (element, rest) = split_first(bytes)??;
    (element.tag == tag && rest.is_empty()).then_some(element.content)
}

/// The first element and what follows it; the inner `None` where there is nothing.
fn split_first(bytes: &[u8]) -> Option<Option<(Element<'_>, &[u8])>> {
    let (tag, length, header) = match bytes {
        [] => return Some(None),
        [tag, ..] if tag & 0x1f == 0x1f => return None,
        [tag, length @ 0..=0x7f, ..] => (*tag, usize::from(*length), 2),
        [tag, 0x81, length @ 0x80..=0xff, ..] => (*tag, usize::from(*length), 3),
        [tag, 0x82, high @ 1..=0xff, low, ..] => (*tag, usize::from(u16::from_be_bytes([*high, *low])), 4),
        [tag, 0x83, high @ 1..=0xff, middle, low, ..] => {
            (*tag, usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).ok()?, 5)
        }
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(header + length)?;
    let content = whole.get(header..)?;
    Some(Some((Element { tag, content, whole }, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart_and_what_is_no_der_is_refused() {
        let found = elements(&[4, 1, 9, 0x30, 2, 5, 0]).unwrap();
        assert_eq!(found.iter().map(|one| one.tag).collect::<Vec<_>>(), [4, 0x30]);
        assert_eq!(found[1].content, [5, 0]);
        assert_eq!(content_of(&[0x30, 2, 5, 0], 0x30), Some(&[5, 0][..]));
        assert_eq!(content_of(&[0x30, 2, 5, 0, 5, 0], 0x30), None, "more follows");
        for length in [0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let value = crate::x509::name::value(4, &vec![7; length]);
            assert_eq!(content_of(&value, 4).unwrap().len(), length);
        }
        for bad in [&[4, 2, 0][..], &[4, 0x81, 1, 0], &[4, 0x80, 0, 0], &[0x1f, 1, 0], &[4]] {
            assert!(elements(bad).is_none(), "{bad:?}");
        }
    }
}
