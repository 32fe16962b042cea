//! [`Table`]: a compact map from hashes to small numbers.

/// A map from 75-bit keys to numbers other than 0. It uses 12 bytes for each entry and grows a
/// shard at a time: a hash table of this size would be half empty, and would need a second copy
/// while it grows. A lookup reads one or two lines of the processor's cache.
pub(crate) struct Table {
    shards: Vec<Shard>,
}

/// A key: 11 bits that select the shard, and 64 that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    shard: u16,
    tag: u64,
}

/// Open addressing: an entry is in the home slot of its tag, or in one of the next. Tags are
/// sorted, and the order of home slots is that of the tags: so a lookup ends at the first greater
/// tag, and a growing shard is copied from front to back. Entries without room after the last home
/// slot extend the shard, so positions never wrap around.
#[derive(Default)]
struct Shard {
    slots: Vec<Slot>,
    homes: usize,
    used: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    tag: [u32; 2],
    /// The number; 0 in a free slot.
    value: u32,
}

impl Key {
    /// A key of two independent hashes of the same value.
    pub(crate) fn new(one: u64, other: u64) -> Self {
        Self { shard: (one >> (64 - SHARD_BITS)) as u16, tag: other }
    }

    /// The key as bytes, for a file.
    pub(crate) fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        let (shard, tag) = bytes.split_at_mut(2);
        shard.copy_from_slice(&self.shard.to_le_bytes());
        tag.copy_from_slice(&self.tag.to_le_bytes());
        bytes
    }

    /// The key from the bytes of [`Self::to_bytes`].
    pub(crate) fn from_bytes([a, b, tag @ ..]: [u8; 10]) -> Self {
        Self { shard: u16::from_le_bytes([a, b]), tag: u64::from_le_bytes(tag) }
    }

    /// The index of one of `count` parts, in which keys are distributed evenly; similar keys are in
    /// the same part.
    pub(crate) fn part(self, count: usize) -> usize {
        usize::from(self.shard) % count
    }

    /// Returns true if the upper bits are equal, as defined by [`Table::similar`].
    pub(crate) fn is_similar(self, other: Self) -> bool {
        self.shard == other.shard && self.tag & !LOWER_BITS == other.tag & !LOWER_BITS
    }

    /// A key with the upper bits of one hash and the lower 20 bits of the other.
    pub(crate) fn composed(upper: u64, lower: u64) -> Self {
        let tag = (upper << SHARD_BITS) & !LOWER_BITS | (lower & LOWER_BITS);
        Self { shard: (upper >> (64 - SHARD_BITS)) as u16, tag }
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { shards: std::iter::repeat_with(Shard::default).take(1 << SHARD_BITS).collect() }
    }

    /// The value in the home slot of a key, which may belong to a different key.
    pub(crate) fn at_home(&self, key: Key) -> u32 {
        let shard = self.shards.get(usize::from(key.shard));
        shard.and_then(|shard| shard.slots.get(home(key.tag, shard.homes))).map_or(0, |slot| slot.value)
    }

    /// The number of a key.
    pub(crate) fn get(&mut self, key: Key) -> Option<&mut u32> {
        let shard = self.shards.get_mut(usize::from(key.shard))?;
        let place = shard.place(key.tag);
        shard
            .slots
            .get_mut(place)
            .filter(|slot| slot.is_used() && slot.tag() == key.tag)
            .map(|slot| &mut slot.value)
    }

    /// The entries whose keys have the same upper bits, with true if the lower ones are equal too.
    pub(crate) fn similar(&self, key: Key) -> impl Iterator<Item = (bool, u32)> {
        let lowest = key.tag & !LOWER_BITS;
        let shard = self.shards.get(usize::from(key.shard));
        let slots = shard.and_then(|shard| shard.slots.get(shard.place(lowest)..)).unwrap_or_default();
        let alike = slots.iter().take_while(move |slot| slot.is_used() && slot.tag() & !LOWER_BITS == lowest);
        alike.map(move |slot| (slot.tag() == key.tag, slot.value))
    }

    /// Adds an entry; 0 counts as 1.
    pub(crate) fn insert(&mut self, key: Key, value: u32) {
        if let Some(shard) = self.shards.get_mut(usize::from(key.shard)) {
            shard.insert(Slot { tag: [key.tag as u32, (key.tag >> 32) as u32], value: value.max(1) });
        }
    }
}

impl Slot {
    fn is_used(self) -> bool {
        self.value != 0
    }

    fn tag(self) -> u64 {
        let [low, high] = self.tag.map(u64::from);
        low | (high << 32)
    }
}

impl Shard {
    /// The slot of a tag, present or to be inserted: the first from its home slot on that is free
    /// or whose tag is not smaller.
    fn place(&self, tag: u64) -> usize {
        let home = home(tag, self.homes);
        let slots = self.slots.get(home..).unwrap_or_default();
        home + slots.iter().take_while(|slot| slot.is_used() && slot.tag() < tag).count()
    }

    fn insert(&mut self, slot: Slot) {
        // One in eight is free, so that a look is short.
        if (self.used + 1) * 8 > self.homes * 7 {
            self.grow();
        }
        self.used += 1;
        let place = self.place(slot.tag());
        let rest = self.slots.get_mut(place..).unwrap_or_default();
        match rest.iter().position(|slot| !slot.is_used()) {
            Some(free) => {
                rest.copy_within(..free, 1);
                if let Some(first) = rest.first_mut() {
                    *first = slot;
                }
            }
            None => {
                self.slots.reserve_exact(1);
                self.slots.insert(place, slot);
            }
        }
    }

    fn grow(&mut self) {
        self.homes += self.homes / 2 + 8;
        let mut slots = vec![Slot::default(); self.homes + 1];
        let mut next = 0;
        for slot in self.slots.iter().filter(|slot| slot.is_used()) {
            let place = home(slot.tag(), self.homes).max(next);
            match slots.get_mut(place) {
                Some(free) => *free = *slot,
                None => slots.push(*slot),
            }
            next = place + 1;
        }
        self.slots = slots;
    }
}

/// The home slot of a tag among `homes`. Tags that differ only in the lower 20 bits have adjacent
/// ones.
fn home(tag: u64, homes: usize) -> usize {
    (((tag >> 32) * homes as u64) >> 32) as usize
}

/// The number of bits that select the shard. The shards themselves fit into the processor's nearer
/// caches; their slots do not.
const SHARD_BITS: u32 = 11;
const LOWER_BITS: u64 = (1 << 20) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mixed = |seed: u64| {
            (n + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        Key::new(mixed(1), mixed(2))
    }

    #[test]
    fn a_table_finds_what_was_put_in_and_nothing_else() {
        let mut table = Table::new();
        for n in 1..100_000 {
            assert_eq!(table.get(key(n.into())), None);
            table.insert(key(n.into()), n);
        }
        for n in 1..100_000 {
            assert_eq!(table.get(key(n.into())).copied(), Some(n));
        }
        let slots: usize = table.shards.iter().map(|shard| shard.slots.len()).sum();
        assert!(slots * 12 < 100_000 * 12 * 3, "{slots} slots");
    }

    #[test]
    fn tags_that_crowd_around_one_home_or_the_last_one_are_found() {
        let mut table = Table::new();
        let tags = (0..500).map(|n| n * 3).chain((0..500).map(|n| u64::MAX - n * 3));
        let keys: Vec<_> = tags.map(|tag| Key { shard: 5, tag }).collect();
        for (number, key) in (1..).zip(&keys) {
            assert_eq!(table.get(*key), None);
            table.insert(*key, number);
        }
        for (number, key) in (1..).zip(&keys) {
            assert_eq!(table.get(*key).copied(), Some(number));
        }
        assert_eq!(table.get(Key { shard: 5, tag: 1 }), None);
    }

    #[test]
    fn keys_that_differ_below_are_similar() {
        let mut table = Table::new();
        for lower in 1..=200 {
            table.insert(Key::composed(7 << 40, lower), lower as u32);
        }
        table.insert(Key::composed(9 << 40, 3), 1);
        let found: Vec<_> = table.similar(Key::composed(7 << 40, 3)).collect();
        assert_eq!(found.len(), 200);
        assert_eq!(found.iter().filter(|(is_same, _)| *is_same).collect::<Vec<_>>(), [&(true, 3)]);
    }
}
