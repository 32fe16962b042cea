//! Devices whose parents lead back to themselves.

use std::collections::HashMap;
use std::io;

use crate::across::links::{Link, Links, MAX_IN_MEMORY};
use crate::across::spill::PARTS;
use crate::across::table::Key;

/// The result of the search for cycles.
pub(crate) enum Cycles {
    /// The links that are part of a cycle, or lead into one.
    Found(Links),
    /// This many devices, more than can be checked, have more ancestors than any hub allows, or are in cycles.
    TooDeep(u64),
}

/// Finds the links that lead into a cycle.
pub(crate) fn find(links: Links) -> io::Result<Cycles> {
    find_with_limit(links, MAX_IN_MEMORY as u64)
}

/// Finds them like [`find`]. If there are more links than this, those whose parents have no parents
/// are removed until the rest fits, and only the rest is followed.
fn find_with_limit(mut links: Links, max_in_memory: u64) -> io::Result<Cycles> {
    for _ in 0..MAX_ROUNDS {
        if links.count() <= max_in_memory
            && let Some(few) = links.in_memory()
        {
            let mut cycles = Links::default();
            cyclic_links(few).into_iter().try_for_each(|link| cycles.push(link.clone()))?;
            return Ok(Cycles::Found(cycles));
        }
        let left = without_tops(&mut links)?;
        if left.count() == links.count() {
            return Ok(Cycles::Found(left));
        }
        links = left;
    }
    Ok(Cycles::TooDeep(links.count()))
}

/// The links whose parents have parents.
fn without_tops(links: &mut Links) -> io::Result<Links> {
    let mut left = Links::default();
    for part in 0..PARTS {
        let children = links.children(part)?;
        links.each(part, |link| match children.contains(&link.parent) {
            true => left.push(link),
            false => Ok(()),
        })?;
    }
    Ok(left)
}

/// The state of a link during the search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unknown,
    OnPath,
    Acyclic,
    Cyclic,
}

/// The links that lead into a cycle. Each is followed once.
fn cyclic_links(links: &[Link]) -> Vec<&Link> {
    let of_child: HashMap<Key, usize> = links.iter().map(|link| link.child).zip(0..).collect();
    let mut marks = vec![Mark::Unknown; links.len()];
    let mut path = Vec::new();
    for start in 0..links.len() {
        let mut next = Some(start);
        let mark = loop {
            let Some((link, mark)) = next.and_then(|at| links.get(at).zip(marks.get_mut(at))) else {
                break Mark::Acyclic;
            };
            match mark {
                Mark::Unknown => *mark = Mark::OnPath,
                Mark::OnPath => break Mark::Cyclic,
                known => break *known,
            }
            path.extend(next);
            next = of_child.get(&link.parent).copied();
        };
        for at in path.drain(..) {
            if let Some(known) = marks.get_mut(at) {
                *known = mark;
            }
        }
    }
    links.iter().zip(marks).filter(|(_, mark)| *mark == Mark::Cyclic).map(|(link, _)| link).collect()
}

/// A hub nests edge devices a few levels deep.
const MAX_ROUNDS: u32 = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hub_types::DeviceId;
    use proptest::prelude::*;

    use super::*;

    fn links(parents: &BTreeMap<u32, u32>) -> Links {
        let key = |number: u32| {
            Key::new(u64::from(number) << 50, u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        };
        let mut links = Links::default();
        for (child, parent) in parents {
            let named = DeviceId::new(&format!("d{parent}")).unwrap();
            links.push(Link { child: key(*child), parent: key(*parent), line: *child, named }).unwrap();
        }
        links
    }

    /// The devices whose parents lead into a cycle, as it is defined.
    fn expected(parents: &BTreeMap<u32, u32>) -> Vec<u32> {
        let leads_back = |child: &&u32| {
            let mut next = Some(*child);
            for _ in 0..=parents.len() {
                next = next.and_then(|device| parents.get(device));
            }
            next.is_some()
        };
        parents.keys().filter(leads_back).copied().collect()
    }

    proptest! {
        #[test]
        fn circles_are_found_in_memory_and_beyond(
            parents in proptest::collection::btree_map(0..40_u32, 0..60_u32, 0..40)
        ) {
            for most in [u64::MAX, 0] {
                let Cycles::Found(mut found) = find_with_limit(links(&parents), most).unwrap() else {
                    panic!("too deep");
                };
                let mut lines = Vec::new();
                for part in 0..PARTS {
                    found.each(part, |link| {
                        lines.push(link.line);
                        Ok(())
                    }).unwrap();
                }
                lines.sort_unstable();
                prop_assert_eq!(lines, expected(&parents));
            }
        }
    }

    #[test]
    fn many_links_are_in_files_and_what_is_deeper_than_any_hub_allows_is_told() {
        let many = MAX_IN_MEMORY as u32 * 2;
        let leaves: BTreeMap<u32, u32> = (1_000..many).map(|child| (child, child % 1_000)).collect();
        let cycle = leaves.clone().into_iter().chain([(7, 8), (8, 7)]).collect();
        let Cycles::Found(found) = find(links(&leaves)).unwrap() else { panic!("too deep") };
        assert_eq!(found.count(), 0);
        let Cycles::Found(found) = find(links(&cycle)).unwrap() else { panic!("too deep") };
        assert_eq!(found.count(), expected_around(&cycle, [7, 8]));
        let chain = (0..many).map(|child| (child, child + 1)).collect();
        assert!(matches!(find(links(&chain)).unwrap(), Cycles::TooDeep(_)));
    }

    /// The devices of a cycle and their children.
    fn expected_around(parents: &BTreeMap<u32, u32>, cycle: [u32; 2]) -> u64 {
        parents.values().filter(|parent| cycle.contains(parent)).count() as u64
    }
}
