//! Which of a thread's tasks have a job waiting, and which of them is the most urgent.

/// One job a task: a job waits here only while it is the oldest of its task.
///
/// With fixed priorities and up to 64 tasks a bit for each rank; else a binary heap over (urgency,
/// task). Nothing is allocated after the start.
#[derive(Debug)]
pub(super) enum Ready {
    Ranks { mask: u64, tasks: Vec<u32> },
    Heap(Vec<(u64, u32)>),
}

impl Ready {
    /// For `tasks`, the most urgent first; their ranks are used as urgency where `by_rank`.
    pub fn new(tasks: Vec<u32>, by_rank: bool) -> Self {
        if by_rank && tasks.len() <= 64 {
            Self::Ranks { mask: 0, tasks }
        } else {
            Self::Heap(Vec::with_capacity(tasks.len()))
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Ranks { mask, .. } => *mask == 0,
            Self::Heap(heap) => heap.is_empty(),
        }
    }

    /// The most urgent task; there must be one.
    #[inline]
    pub fn top(&self) -> u32 {
        match self {
            Self::Ranks { mask, tasks } => tasks[mask.trailing_zeros() as usize],
            Self::Heap(heap) => heap[0].1,
        }
    }

    #[inline]
    pub fn push(&mut self, urgency: u64, task: u32) {
        match self {
            Self::Ranks { mask, .. } => *mask |= 1 << urgency,
            Self::Heap(heap) => {
                heap.push((urgency, task));
                sift_up(heap);
            }
        }
    }

    #[inline]
    pub fn pop(&mut self) {
        match self {
            Self::Ranks { mask, .. } => *mask &= *mask - 1,
            Self::Heap(heap) => {
                heap.swap_remove(0);
                sift_down(heap);
            }
        }
    }

    /// The next job of the top task, which has another urgency where deadlines order them.
    #[inline]
    pub fn rekey_top(&mut self, urgency: u64) {
        if let Self::Heap(heap) = self {
            heap[0].0 = urgency;
            sift_down(heap);
        }
    }
}

/// The next release of every task: a binary heap over (instant, task).
#[derive(Debug)]
pub(super) struct Calendar(Vec<(u64, u32)>);

impl Calendar {
    pub fn new(mut releases: Vec<(u64, u32)>) -> Self {
        releases.sort_unstable();
        Self(releases)
    }

    /// The instant and task of the next release; `u64::MAX` where there is none.
    #[inline]
    pub fn next(&self) -> (u64, u32) {
        self.0.first().copied().unwrap_or((u64::MAX, 0))
    }

    /// The top's next release is at `instant`.
    #[inline]
    pub fn reschedule_top(&mut self, instant: u64) {
        self.0[0].0 = instant;
        sift_down(&mut self.0);
    }

    /// The top is released no more.
    #[inline]
    pub fn retire_top(&mut self) {
        self.0.swap_remove(0);
        sift_down(&mut self.0);
    }
}

fn sift_up(heap: &mut [(u64, u32)]) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        if heap[parent] <= heap[at] {
            return;
        }
        heap.swap(parent, at);
        at = parent;
    }
}

#[inline]
fn sift_down(heap: &mut [(u64, u32)]) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            return;
        }
        let right = left + 1;
        let child = if right < heap.len() && heap[right] < heap[left] { right } else { left };
        if heap[at] <= heap[child] {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_heap_gives_the_least(urgencies in prop::collection::vec(0..50_u64, 1..100)) {
            let mut ready = Ready::new((0..100).collect(), false);
            for (task, &urgency) in urgencies.iter().enumerate() {
                ready.push(urgency, task as u32);
            }
            let mut sorted: Vec<(u64, u32)> =
                urgencies.iter().enumerate().map(|(task, &u)| (u, task as u32)).collect();
            sorted.sort_unstable();
            for (_, task) in sorted {
                prop_assert_eq!(ready.top(), task);
                ready.pop();
            }
            prop_assert!(ready.is_empty());
        }
    }

    #[test]
    fn ranks_are_a_heap_too() {
        let mut ready = Ready::new(vec![7, 8, 9], true);
        ready.push(2, 9);
        ready.push(0, 7);
        assert_eq!(ready.top(), 7);
        ready.pop();
        assert_eq!(ready.top(), 9);
    }

    #[test]
    fn the_calendar_follows_its_tasks() {
        let mut calendar = Calendar::new(vec![(5, 0), (3, 1)]);
        assert_eq!(calendar.next(), (3, 1));
        calendar.reschedule_top(9);
        assert_eq!(calendar.next(), (5, 0));
        calendar.retire_top();
        assert_eq!(calendar.next(), (9, 1));
        calendar.retire_top();
        assert_eq!(calendar.next().0, u64::MAX);
    }
}
