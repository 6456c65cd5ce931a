//! The events that say who ran: `sched_switch`, `sched_wakeup`, and `sched_stat_runtime`; and when the
//! kernel itself worked for the network: `softirq_entry` and `softirq_exit`.

use std::path::Path;

use model::sample::SoftirqName;

use super::{Field, Layout, LayoutError};
use crate::affinity::Tid;

/// A thread's name as the kernel stores it: at most 15 bytes, then zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// From text; what does not fit is cut off.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().take(15).zip(text.bytes()) {
            *to = from;
        }
        Self(name)
    }

    /// As text; bytes that are none are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// What happened on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A thread was switched out, and another (0: the idle thread) in.
    Switch {
        /// Who ran until now.
        prev: Tid,
        /// Its name.
        prev_name: Name,
        /// It could have run on: it was preempted or held back by its budget, and does not sleep.
        prev_runnable: bool,
        /// Who runs from now on.
        next: Tid,
    },
    /// A thread became runnable.
    Wakeup {
        /// Which.
        thread: Tid,
    },
    /// A thread was charged for the time that it has run since it was last charged or switched in: at
    /// ticks, and before it is switched out. It may be recorded on a CPU other than the thread's.
    Charged {
        /// Which.
        thread: Tid,
        /// For how long, until now.
        ran_ns: u64,
    },
    /// A softirq of the network began or ended, on the CPU of whatever it interrupted.
    Softirq {
        /// Which.
        name: SoftirqName,
        /// Whether it began.
        begins: bool,
        /// In whose time: the thread that it interrupted, or that called it (0: the idle thread).
        thread: Tid,
    },
}

/// The softirqs of the network, by their numbers, which are part of the kernel's interface to tracing.
pub(super) const VECTORS: [(u32, SoftirqName); 2] =
    [(2, SoftirqName::NetTx), (3, SoftirqName::NetRx)];

/// Knows where the fields of this kernel's events and pages lie.
#[derive(Debug, Clone)]
pub struct Decoder {
    page_size: usize,
    data_offset: usize,
    switch: u16,
    prev: Field,
    prev_name: Field,
    prev_state: Field,
    next: Field,
    wakeup: u16,
    woken: Field,
    /// Kernels without it record every switch.
    charge: Option<Charge>,
    /// Begin and end.
    softirqs: Option<[Softirq; 2]>,
}

/// Where `sched_stat_runtime` has its fields.
#[derive(Debug, Clone, Copy)]
struct Charge {
    id: u16,
    thread: Field,
    ran: Field,
}

impl Charge {
    fn read(path: &Path) -> Result<Option<Self>, LayoutError> {
        if !path.exists() {
            return Ok(None);
        }
        let layout = Layout::read(path)?;
        let (thread, ran) = (layout.field("pid", &[4])?, layout.field("runtime", &[8])?);
        Ok(Some(Self { id: layout.id()?, thread, ran }))
    }

    fn decode(&self, data: &[u8]) -> Option<Event> {
        let ran_ns = number(data, self.ran)?.try_into().ok()?;
        Some(Event::Charged { thread: tid(data, self.thread)?, ran_ns })
    }
}

/// Where `softirq_entry` or `softirq_exit` has its vector.
#[derive(Debug, Clone, Copy)]
struct Softirq {
    id: u16,
    thread: Field,
    vector: Field,
    begins: bool,
}

impl Softirq {
    fn read(events: &Path) -> Result<Option<[Self; 2]>, LayoutError> {
        let one = |name: &str, begins| {
            let layout = Layout::read(&events.join(format!("irq/{name}/format")))?;
            let thread = layout.field("common_pid", &[4])?;
            Ok(Self { id: layout.id()?, thread, vector: layout.field("vec", &[4])?, begins })
        };
        if !events.join("irq/softirq_entry/format").exists() {
            return Ok(None);
        }
        Ok(Some([one("softirq_entry", true)?, one("softirq_exit", false)?]))
    }

    fn decode(&self, data: &[u8]) -> Option<Event> {
        let vector = number(data, self.vector)?;
        let (_, name) = VECTORS.into_iter().find(|(number, _)| i64::from(*number) == vector)?;
        let thread = tid(data, self.thread)?;
        Some(Event::Softirq { name, begins: self.begins, thread })
    }
}

/// The bits of `prev_state` that are states a thread sleeps in (or is stopped or dead); above them
/// stands "preempted".
const NOT_RUNNABLE: i64 = 0xff;

impl Decoder {
    /// Reads the layouts below `events`.
    ///
    /// # Errors
    /// Where one cannot be read or is not as known.
    pub fn read(events: &Path) -> Result<Self, LayoutError> {
        let page = Layout::read(&events.join("header_page"))?;
        let data = page.field("data", &(1024..=65_536).collect::<Vec<_>>())?;
        page.field("commit", &[8])?;
        let switch = Layout::read(&events.join("sched/sched_switch/format"))?;
        let wakeup = Layout::read(&events.join("sched/sched_wakeup/format"))?;
        Ok(Self {
            page_size: data.offset + data.size,
            data_offset: data.offset,
            switch: switch.id()?,
            prev: switch.field("prev_pid", &[4])?,
            prev_name: switch.field("prev_comm", &[16])?,
            prev_state: switch.field("prev_state", &[4, 8])?,
            next: switch.field("next_pid", &[4])?,
            wakeup: wakeup.id()?,
            woken: wakeup.field("pid", &[4])?,
            charge: Charge::read(&events.join("sched/sched_stat_runtime/format"))?,
            softirqs: Softirq::read(events)?,
        })
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Where a page's events begin.
    #[must_use]
    pub fn data_offset(&self) -> usize {
        self.data_offset
    }

    /// The event in a record's bytes; `None` for any other kind of event.
    #[must_use]
    pub fn decode(&self, data: &[u8]) -> Option<Event> {
        let id = u16::from_ne_bytes(data.get(..2)?.try_into().ok()?);
        if id == self.switch {
            return Some(Event::Switch {
                prev: tid(data, self.prev)?,
                prev_name: Name(field(data, self.prev_name)?.try_into().ok()?),
                prev_runnable: number(data, self.prev_state)? & NOT_RUNNABLE == 0,
                next: tid(data, self.next)?,
            });
        }
        if id == self.wakeup {
            return Some(Event::Wakeup { thread: tid(data, self.woken)? });
        }
        if let Some(charge) = self.charge.filter(|charge| charge.id == id) {
            return charge.decode(data);
        }
        self.softirqs?.iter().find(|own| own.id == id)?.decode(data)
    }
}

fn field(data: &[u8], field: Field) -> Option<&[u8]> {
    data.get(field.offset..)?.get(..field.size)
}

fn tid(data: &[u8], at: Field) -> Option<Tid> {
    Some(Tid::from_ne_bytes(field(data, at)?.try_into().ok()?))
}

fn number(data: &[u8], at: Field) -> Option<i64> {
    let bytes = field(data, at)?;
    match bytes.len() {
        4 => Some(i32::from_ne_bytes(bytes.try_into().ok()?).into()),
        _ => Some(i64::from_ne_bytes(bytes.try_into().ok()?)),
    }
}

#[cfg(test)]
pub(super) mod made_up {
    use std::{fs, path::Path};

    /// Writes the layouts of Linux 6.18 on x86-64 below `root`.
    pub fn layouts(root: &Path) {
        let field = |text: &str, offset: u32, size: u32| {
            format!("\tfield:{text};\toffset:{offset};\tsize:{size};\tsigned:0;\n")
        };
        let page = field("u64 timestamp", 0, 8)
            + &field("local_t commit", 8, 8)
            + &field("char data", 16, 4080);
        let switch = "ID: 372\n".to_owned()
            + &field("char prev_comm[16]", 8, 16)
            + &field("pid_t prev_pid", 24, 4)
            + &field("long prev_state", 32, 8)
            + &field("pid_t next_pid", 56, 4);
        let wakeup = "ID: 374\n".to_owned() + &field("pid_t pid", 24, 4);
        let charge =
            "ID: 363\n".to_owned() + &field("pid_t pid", 12, 4) + &field("u64 runtime", 16, 8);
        let softirq = |id: u32| {
            format!("ID: {id}\n")
                + &field("int common_pid", 4, 4)
                + &field("unsigned int vec", 8, 4)
        };
        let files = [
            ("header_page", page),
            ("sched/sched_switch/format", switch),
            ("sched/sched_wakeup/format", wakeup),
            ("sched/sched_stat_runtime/format", charge),
            ("irq/softirq_entry/format", softirq(223)),
            ("irq/softirq_exit/format", softirq(222)),
        ];
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// The bytes of a switch.
    pub fn switch(prev: i32, name: &str, state: i64, next: i32) -> Vec<u8> {
        let mut data = vec![0; 64];
        data[..2].copy_from_slice(&372_u16.to_ne_bytes());
        data[8..8 + name.len()].copy_from_slice(name.as_bytes());
        data[24..28].copy_from_slice(&prev.to_ne_bytes());
        data[32..40].copy_from_slice(&state.to_ne_bytes());
        data[56..60].copy_from_slice(&next.to_ne_bytes());
        data
    }

    /// The bytes of a charge.
    pub fn charge(tid: i32, ran_ns: u64) -> Vec<u8> {
        let mut data = vec![0; 24];
        data[..2].copy_from_slice(&363_u16.to_ne_bytes());
        data[12..16].copy_from_slice(&tid.to_ne_bytes());
        data[16..24].copy_from_slice(&ran_ns.to_ne_bytes());
        data
    }

    /// The bytes of a softirq's begin or end.
    pub fn softirq(begins: bool, vector: u32, tid: i32) -> Vec<u8> {
        let mut data = vec![0; 12];
        data[..2].copy_from_slice(&if begins { 223_u16 } else { 222 }.to_ne_bytes());
        data[4..8].copy_from_slice(&tid.to_ne_bytes());
        data[8..12].copy_from_slice(&vector.to_ne_bytes());
        data
    }

    /// The bytes of a wake-up.
    pub fn wakeup(tid: i32) -> Vec<u8> {
        let mut data = vec![0; 36];
        data[..2].copy_from_slice(&374_u16.to_ne_bytes());
        data[24..28].copy_from_slice(&tid.to_ne_bytes());
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        let dir = tempfile::tempdir().unwrap();
        made_up::layouts(dir.path());
        Decoder::read(dir.path()).unwrap()
    }

    #[test]
    fn switches_and_wakeups_are_told_from_the_rest() {
        let decoder = decoder();
        assert_eq!(decoder.page_size(), 4096);
        let switch = decoder.decode(&made_up::switch(7, "CPU 0/TCG", 0x100, 0)).unwrap();
        let name = Name::new("CPU 0/TCG");
        assert_eq!(
            switch,
            Event::Switch { prev: 7, prev_name: name, prev_runnable: true, next: 0 }
        );
        assert_eq!(name.text(), "CPU 0/TCG");
        let asleep = decoder.decode(&made_up::switch(7, "x", 1, 9)).unwrap();
        assert!(matches!(asleep, Event::Switch { prev_runnable: false, next: 9, .. }));
        let woken = decoder.decode(&made_up::wakeup(8));
        assert_eq!(woken, Some(Event::Wakeup { thread: 8 }));
        let charged = decoder.decode(&made_up::charge(8, 1_500_000));
        assert_eq!(charged, Some(Event::Charged { thread: 8, ran_ns: 1_500_000 }));
        assert_eq!(decoder.decode(&[9, 9, 0, 0]), None);
        assert_eq!(decoder.decode(&made_up::switch(1, "", 0, 1)[..30]), None, "cut off");
    }

    #[test]
    fn softirqs_of_the_network_are_told_from_others() {
        let decoder = decoder();
        let found = |begins, vector| decoder.decode(&made_up::softirq(begins, vector, 8));
        let event = |name, begins| Some(Event::Softirq { name, begins, thread: 8 });
        assert_eq!(found(true, 3), event(SoftirqName::NetRx, true));
        assert_eq!(found(false, 2), event(SoftirqName::NetTx, false));
        assert_eq!(found(true, 1), None, "a timer's");
    }

    #[test]
    fn a_kernel_that_charges_without_a_word_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        made_up::layouts(dir.path());
        std::fs::remove_file(dir.path().join("sched/sched_stat_runtime/format")).unwrap();
        let decoder = Decoder::read(dir.path()).unwrap();
        assert_eq!(decoder.decode(&made_up::charge(8, 1)), None);
        assert!(decoder.decode(&made_up::wakeup(8)).is_some());
    }

    #[test]
    fn a_kernel_without_a_field_is_refused_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        made_up::layouts(dir.path());
        std::fs::write(dir.path().join("sched/sched_wakeup/format"), "ID: 374\n").unwrap();
        let error = Decoder::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("sched_wakeup/format") && error.contains("`pid`"), "{error}");
    }
}
