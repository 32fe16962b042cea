//! Suggestions of legal names for mistyped ones.

/// The candidate with the fewest edits from `text`, if those are few for its length.
pub(crate) fn suggest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    if length > MAX_CHARS {
        return None;
    }
    let measured = candidates.into_iter().map(|candidate| (edits(text, candidate), candidate));
    let (fewest, candidate) = measured.min_by_key(|(edits, _)| *edits)?;
    (fewest <= length.div_ceil(4)).then_some(candidate)
}

/// The Levenshtein distance: the number of inserted, omitted or exchanged characters.
fn edits(from: &str, to: &str) -> usize {
    let mut distances: Vec<usize> = (0..=to.chars().count()).collect();
    for (row, from) in from.chars().enumerate() {
        let mut diagonal = row;
        let mut left = row + 1;
        for (to, distance) in to.chars().zip(distances.iter_mut().skip(1)) {
            let exchanged = diagonal + usize::from(from != to);
            diagonal = *distance;
            left = exchanged.min(diagonal + 1).min(left + 1);
            *distance = left;
        }
        if let Some(first) = distances.first_mut() {
            *first = row + 1;
        }
    }
    distances.last().copied().unwrap_or_default()
}

/// The longest text, in characters, that counts as a mistyped name.
const MAX_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), count, "{from} {to}");
            assert_eq!(edits(to, from), count, "{to} {from}");
        }
    }

    #[test]
    fn only_a_near_name_is_offered() {
        assert_eq!(suggest("statis", ["status", "twin"]), Some("status"));
        assert_eq!(suggest("colour", ["status", "twin"]), None);
    }
}
