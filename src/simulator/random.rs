//! The simulator's own randomness: a few lines, so that a seed means the same on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood 2014): one multiplication chain per number, any seed is a good seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for one purpose. Equal parts give equal throws; parts that differ anywhere give unrelated ones.
    pub fn new(parts: &[u64]) -> Self {
        let mut state = 0x6A09_E667_F3BC_C908;
        for part in parts {
            state = mix(state ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        Dice(state)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True once in `n` throws on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// A GUID in the form of version 4.
    pub fn guid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFF,
            0x8000 | ((low >> 48) & 0x3FFF),
            low & 0xFFFF_FFFF_FFFF
        )
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether `text` is a GUID in the hyphenated form.
pub fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // written down once: a change would make every replayed scenario another one
        let mut dice = Dice::new(&[1, 2, 3]);
        let guid = dice.guid();
        assert!(is_guid(&guid), "{guid}");
        assert_eq!(guid, Dice::new(&[1, 2, 3]).guid());
        assert_ne!(guid, Dice::new(&[1, 3, 2]).guid());
        assert_ne!(Dice::new(&[0]).next(), Dice::new(&[0, 0]).next());
    }

    #[test]
    fn guids_are_told_from_other_text() {
        assert!(is_guid("41463F53-8812-40f4-890f-865bf6e35190"));
        for other in ["", "contoso.com", "41463f53-8812-40f4-890f-865bf6e3519", "41463f53+8812-40f4-890f-865bf6e35190"]
        {
            assert!(!is_guid(other), "{other}");
        }
    }
}
