//! A page of a ring buffer, as `trace_pipe_raw` hands it out
//! (`Documentation/trace/ring-buffer-design.rst`, `include/linux/ring_buffer.h`).
//!
//! A page begins with the time of its first record and the number of bytes that are in use. Each
//! record has a header of 32 bits: 5 bits of kind or length, 27 bits of time since the record before.

/// Bits of the header's length that are not a length: events were lost before this page.
const MISSED: u64 = 1 << 31;
/// The rest of the length that may be one.
const LENGTH: u64 = (1 << 27) - 1;

const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;
/// An absolute time has 59 bits; the others are those of the page's time.
const STAMP_BITS: u32 = 59;

/// A page that was read.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    time_ns: u64,
    missed: bool,
    data: &'a [u8],
}

/// One event: when, and its bytes, which begin with the event's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// On the instance's clock.
    pub time_ns: u64,
    /// The event.
    pub data: &'a [u8],
}

impl<'a> Page<'a> {
    /// Takes the bytes of a page apart; the events begin at `data_offset`. `None` where it is cut
    /// off.
    #[must_use]
    pub fn parse(bytes: &'a [u8], data_offset: usize) -> Option<Self> {
        let time_ns = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
        let commit = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
        let length = usize::try_from(commit & LENGTH).ok()?;
        let data = bytes.get(data_offset..)?.get(..length)?;
        Some(Self { time_ns, missed: commit & MISSED != 0, data })
    }

    /// Whether events between the page before and this one were overwritten.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.missed
    }

    /// The events, oldest first.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records { time_ns: self.time_ns, page_ns: self.time_ns, rest: self.data }
    }
}

/// The events of a page.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    time_ns: u64,
    page_ns: u64,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.rest.get(at..at + 4)?.try_into().ok()?))
    }

    /// Cuts `length` bytes behind the header of `header` bytes off the front.
    fn take(&mut self, header: usize, length: usize) -> Option<&'a [u8]> {
        let data = self.rest.get(header..)?.get(..length)?;
        self.rest = &self.rest[header + length..];
        Some(data)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let header = self.word(0)?;
            let (kind, delta) = (header & 31, u64::from(header >> 5));
            match kind {
                PADDING if delta == 0 => return None,
                PADDING => {
                    self.time_ns = self.time_ns.wrapping_add(delta);
                    let length = self.word(4)? as usize;
                    self.take(4, length)?;
                }
                TIME_EXTEND => {
                    let high = u64::from(self.word(4)?) << 27;
                    self.time_ns = self.time_ns.wrapping_add(delta + high);
                    self.take(4, 4)?;
                }
                TIME_STAMP => {
                    let low = delta | (u64::from(self.word(4)?) << 27);
                    let high = self.page_ns >> STAMP_BITS << STAMP_BITS;
                    self.time_ns = high | (low & ((1 << STAMP_BITS) - 1));
                    self.take(4, 4)?;
                }
                kind => {
                    self.time_ns = self.time_ns.wrapping_add(delta);
                    let data = if kind == 0 {
                        // The word behind the header counts itself.
                        let length = (self.word(4)? as usize).checked_sub(4)?;
                        self.take(8, length)?
                    } else {
                        self.take(4, 4 * kind as usize)?
                    };
                    return Some(Record { time_ns: self.time_ns, data });
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod made_up {
    /// Puts a page together.
    pub struct Builder(Vec<u8>, u64, u64);

    impl Builder {
        pub fn new(time_ns: u64) -> Self {
            Self(Vec::new(), time_ns, 0)
        }

        pub fn word(mut self, kind: u32, delta: u32) -> Self {
            self.0.extend((kind | delta << 5).to_ne_bytes());
            self
        }

        pub fn raw(mut self, word: u32) -> Self {
            self.0.extend(word.to_ne_bytes());
            self
        }

        pub fn event(self, delta: u32, data: &[u8]) -> Self {
            let mut page = self.word(data.len() as u32 / 4, delta);
            page.0.extend(data);
            page
        }

        pub fn missed(mut self) -> Self {
            self.2 = super::MISSED;
            self
        }

        pub fn bytes(self) -> Vec<u8> {
            let mut page = self.1.to_ne_bytes().to_vec();
            page.extend((self.0.len() as u64 | self.2).to_ne_bytes());
            page.extend(self.0);
            page.resize(4096, 0);
            page
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{made_up::Builder, *};

    #[test]
    fn every_kind_of_record_moves_the_clock_as_it_says() {
        let bytes = Builder::new(1000)
            .event(5, b"oneevent")
            .word(TIME_EXTEND, 7)
            .raw(2)
            .event(1, b"two!")
            .word(0, 3)
            .raw(4 + 4)
            .raw(u32::from_ne_bytes(*b"long"))
            .word(PADDING, 4)
            .raw(4)
            .word(TIME_STAMP, 50)
            .raw(1)
            .event(2, b"five")
            .missed()
            .bytes();
        let page = Page::parse(&bytes, 16).unwrap();
        let found: Vec<_> = page.records().map(|record| (record.time_ns, record.data)).collect();
        let far = 1005 + 7 + (2 << 27) + 1;
        assert_eq!(
            found,
            [
                (1005, &b"oneevent"[..]),
                (far, b"two!"),
                (far + 3, b"long"),
                (50 + (1 << 27) + 2, b"five"),
            ]
        );
        assert!(page.missed());
    }

    #[test]
    fn padding_to_the_end_and_a_cut_off_record_end_the_page() {
        let bytes = Builder::new(9).event(1, b"good").word(PADDING, 0).raw(77).bytes();
        assert_eq!(Page::parse(&bytes, 16).unwrap().records().count(), 1);
        let bytes = Builder::new(9).event(1, b"good").word(20, 1).raw(77).bytes();
        assert_eq!(Page::parse(&bytes, 16).unwrap().records().count(), 1);
        assert!(Page::parse(&bytes[..12], 16).is_none());
    }

    #[test]
    fn mutated_pages_end_and_stay_within_themselves() {
        let good = Builder::new(9)
            .event(1, b"good")
            .word(TIME_EXTEND, 7)
            .raw(2)
            .event(1, b"more")
            .word(PADDING, 4)
            .raw(4)
            .missed()
            .bytes();
        mutate::inputs(&[good[..64].to_vec(), good], |bytes| {
            let Some(page) = Page::parse(bytes, 16) else { return };
            let records: Vec<_> = page.records().collect();
            assert!(records.len() <= bytes.len() / 4, "{}", records.len());
            let length: usize = records.iter().map(|record| record.data.len()).sum();
            assert!(length <= bytes.len(), "{length}");
        });
    }
}
