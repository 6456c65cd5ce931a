//! Events: what the keys of a phase do. As in rt-app a key is an event where it begins with the
//! event's name, so that `run0` and `run_fast` are `run`.

use super::{
    json::{Item, shown},
    scheduling::micros,
    workload::{Event, TimerMode},
};

/// Events of rt-app by the beginning of their keys, in the order in which they are looked for, and
/// what they need that rtload does not have; none where it plays them.
const EVENTS: [(&str, Option<&str>); 17] = [
    ("lock", Some("locks")),
    ("unlock", Some("locks")),
    ("wait", Some("conditions")),
    ("signal", Some("conditions")),
    ("broad", Some("conditions")),
    ("sync", Some("conditions")),
    ("sleep", None),
    ("runtime", None),
    ("run", None),
    ("timer", None),
    ("suspend", Some("threads that suspend each other")),
    ("resume", Some("threads that suspend each other")),
    ("mem", Some("memory traffic")),
    ("iorun", Some("input and output")),
    ("yield", None),
    ("barrier", Some("barriers")),
    ("fork", Some("tasks that start tasks")),
];

/// The name of the event that `key` is; none where it is no event.
#[must_use]
pub fn name(key: &str) -> Option<&'static str> {
    EVENTS.iter().map(|(name, _)| *name).find(|name| key.starts_with(name))
}

/// Timers by name: those whose name begins with `unique` belong to one thread.
#[derive(Debug, Default)]
pub struct Timers<'a> {
    names: Vec<(Option<usize>, &'a str)>,
    /// Of each.
    pub modes: Vec<TimerMode>,
}

impl<'a> Timers<'a> {
    /// The number of the timer called `name` in the thread numbered `thread`.
    fn number(&mut self, thread: usize, name: &'a str) -> usize {
        let own = name.starts_with("unique").then_some(thread);
        self.names.iter().position(|known| *known == (own, name)).unwrap_or_else(|| {
            self.names.push((own, name));
            self.modes.push(TimerMode::Relative);
            self.names.len() - 1
        })
    }
}

/// The event that the entry is, in the thread numbered `thread`.
///
/// # Errors
/// Where rtload does not play it, or its value makes no sense.
pub fn read<'a>(
    name: &str,
    item: &Item<'a>,
    thread: usize,
    timers: &mut Timers<'a>,
) -> Result<Event, String> {
    Ok(match name {
        "run" => Event::Run(micros(item, 0)?),
        "runtime" => Event::Runtime(micros(item, 0)?),
        "sleep" => Event::Sleep(micros(item, 0)?),
        "timer" => timer(item, thread, timers)?,
        "yield" => Event::Yield,
        _ => return Err(refusal(name, item)),
    })
}

fn refusal(name: &str, item: &Item<'_>) -> String {
    let needs = EVENTS.iter().find(|(known, _)| *known == name).and_then(|(_, needs)| *needs);
    item.refuse(format!(
        "rtload does not play `{name}` ({}), only run, runtime, sleep, timer and yield; use rt-app \
         for this file",
        needs.unwrap_or_default()
    ))
}

fn timer<'a>(item: &Item<'a>, thread: usize, timers: &mut Timers<'a>) -> Result<Event, String> {
    // rt-app's own default.
    let (mut name, mut period, mut absolute) = ("unknown", None, false);
    for (key, item) in item.distinct_entries()? {
        match key {
            "ref" => name = item.text()?,
            "period" => period = Some(micros(&item, 1)?),
            "mode" => absolute = is_absolute(&item)?,
            _ => return Err(item.refuse("a timer has `ref`, `period` and `mode`")),
        }
    }
    let Some(period) = period else {
        return Err(item.refuse("the timer needs a `period`, in microseconds"));
    };
    let timer = timers.number(thread, name);
    if absolute {
        timers.modes[timer] = TimerMode::Absolute;
    }
    Ok(Event::Timer { timer, period })
}

fn is_absolute(item: &Item<'_>) -> Result<bool, String> {
    match item.text()? {
        "absolute" => Ok(true),
        "relative" => Ok(false),
        other => Err(item
            .refuse(format!("`{}` is no mode of a timer; use relative or absolute", shown(other)))),
    }
}
