//! How far the run is, and how long it will take: a bar on a terminal, lines elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::host::{Listener, by_others};

/// Shows what runs now and the time left.
pub struct Progress {
    bar: Option<ProgressBar>,
    clock: Arc<Mutex<Clock>>,
    total: usize,
    done: usize,
    quiet: bool,
}

/// Planned time: what is over, and what runs.
#[derive(Debug)]
struct Clock {
    left_after_current: Duration,
    current: Duration,
    since: Instant,
}

impl Clock {
    fn left(&self) -> Duration {
        self.left_after_current + self.current.saturating_sub(self.since.elapsed())
    }
}

fn minutes(length: Duration) -> String {
    format!("{}:{:02}", length.as_secs() / 60, length.as_secs() % 60)
}

impl Progress {
    /// For `total` repetitions that are estimated to take `estimate` together; `quiet` shows nothing
    /// of them, and only what is to be noted.
    #[must_use]
    pub fn new(total: usize, estimate: Duration, quiet: bool) -> Self {
        let clock = Arc::new(Mutex::new(Clock {
            left_after_current: estimate,
            current: Duration::ZERO,
            since: Instant::now(),
        }));
        let drawn = !quiet && stderr().is_terminal();
        let bar = drawn.then(|| bar(total, Arc::clone(&clock)));
        Self { bar, clock, total, done: 0, quiet }
    }

    /// A repetition begins; a further attempt has its `estimate` added to the time left.
    pub fn begin(&mut self, label: &str, estimate: Duration, again: bool) {
        let left = {
            let mut clock = self.clock.lock().expect("no panic while it is held");
            if !again {
                clock.left_after_current = clock.left_after_current.saturating_sub(estimate);
            }
            (clock.current, clock.since) = (estimate, Instant::now());
            clock.left()
        };
        match &self.bar {
            Some(bar) => bar.set_message(label.to_owned()),
            None if self.quiet => {}
            None => {
                model::say!("[{}/{}] {label}, {} left", self.done + 1, self.total, minutes(left))
            }
        }
    }

    /// The repetition is over.
    pub fn end(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
        }
    }

    /// Says something that stays on the screen.
    pub fn note(&self, text: &str) {
        note(self.bar.as_ref(), text);
    }

    /// Says, from whichever thread, what somebody else changes on the host.
    #[must_use]
    pub fn listener(&self) -> Listener {
        let bar = self.bar.clone();
        Box::new(move |change| note(bar.as_ref(), &format!("warning: {}", by_others(change))))
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn note(bar: Option<&ProgressBar>, text: &str) {
    match bar {
        Some(bar) => bar.println(text),
        None => model::say!("{text}"),
    }
}

fn bar(total: usize, clock: Arc<Mutex<Clock>>) -> ProgressBar {
    let left = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let left = clock.lock().map(|clock| clock.left()).unwrap_or_default();
        // A bar that cannot be drawn is not worth failing for.
        let _ = out.write_str(&minutes(left));
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {left} left  {msg}")
        .expect("a valid template")
        .with_key("left", left);
    let bar = ProgressBar::new(total as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}
