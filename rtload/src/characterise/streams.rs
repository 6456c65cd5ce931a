//! Operations that wait for none before them, on data in the first cache: as many at a time as the
//! processor takes. Most instructions of compiled programs are of these kinds.

use std::hint::black_box;

/// Words of 16 KiB.
pub const WORDS: usize = 2048;

/// Words of a piece, eight of which are loaded or stored.
const PIECE: usize = 64;

/// Operations in a unit of [`Buffers::loads`] and [`Buffers::stores`].
pub const ACCESSES: u64 = WORDS as u64 / 8;

/// Branches in a unit of [`Buffers::branches`]: of each word the one that is never taken, and the loop's.
pub const BRANCHES: u64 = 2 * WORDS as u64;

/// Vectors of eight numbers of 16 bits, of 16 KiB.
const VECTORS: usize = 1024;

/// Operations in a unit of [`Buffers::vectors`]: of each vector a multiplication, a shift, an addition and an
/// exclusive or.
pub const VECTOR_OPERATIONS: u64 = 4 * VECTORS as u64;

/// What the operations are on.
pub struct Buffers {
    words: Vec<u64>,
    numbers: Vec<u16>,
}

impl Buffers {
    /// Takes and touches them.
    pub fn new() -> Self {
        Self { words: black_box(vec![7; WORDS]), numbers: black_box(vec![7; 8 * VECTORS]) }
    }

    /// Loads that are operands of additions and exclusive ors, in four chains. No two are neighbours
    /// and no two chains are alike, so that no vectors are made of them.
    #[inline(never)]
    pub fn loads(&self, units: u64) {
        let [mut a, mut b, mut c, mut d] = black_box([1_u64, 2, 3, 4]);
        for _ in 0..units {
            for piece in self.words.as_chunks::<PIECE>().0 {
                a ^= piece[0];
                b = b.wrapping_add(piece[15]);
                c ^= piece[30];
                d = d.wrapping_add(piece[45]);
                b ^= piece[7];
                c = c.wrapping_add(piece[22]);
                d ^= piece[37];
                a = a.wrapping_add(piece[52]);
            }
        }
        black_box([a, b, c, d]);
    }

    /// Stores of four words to places that are no neighbours.
    #[inline(never)]
    pub fn stores(&mut self, units: u64) {
        let [a, b, c, d] = black_box([1_u64, 2, 3, 4]);
        for _ in 0..units {
            for piece in self.words.as_chunks_mut::<PIECE>().0 {
                [piece[0], piece[15], piece[30], piece[45]] = [a, b, c, d];
                [piece[7], piece[22], piece[37], piece[52]] = [b, c, d, a];
            }
            black_box(&mut self.words);
        }
    }

    /// Two branches a word that every processor predicts.
    #[inline(never)]
    pub fn branches(&self, units: u64) {
        for _ in 0..units {
            let bound = black_box(1_000_u64);
            let outside = self.words.iter().find(|word| **word > bound);
            assert!(outside.is_none(), "the words are small");
        }
    }

    /// Vectors of 128 bits, as compilers make them of a plain loop for any processor of x86-64.
    #[inline(never)]
    pub fn vectors(&mut self, units: u64) {
        for unit in 0..units {
            let factor = unit as u16;
            for number in &mut self.numbers {
                *number = (number.wrapping_mul(factor) >> 3).wrapping_add(factor) ^ 0x55;
            }
        }
        black_box(&mut self.numbers);
    }
}
