//! From rt-app's JSON to a [`Workload`].
//!
//! The grammar is that of rt-app's `doc/tutorial.txt` and `src/rt-app_parse_config.c`
//! (scheduler-tools/rt-app). What is not played is refused, and so is a key that nobody knows:
//! ignored, it would change what is measured.

use std::{fs, path::Path, time::Duration};

use kernel::sched::Policy;

use super::{
    event::{self, Timers},
    json::{Item, Source, shown},
    scheduling::{Kind, MOST, Settings, micros},
    workload::{Calibrated, Event, Loops, Phase, Thread, Workload},
};

/// The most threads of a file.
const MOST_THREADS: usize = 256;

/// What rt-app knows and rtload does not play, wherever it stands.
const UNPLAYED: [(&str, &str); 5] = [
    ("taskgroup", "groups of tasks"),
    ("util_min", "utilisation clamping"),
    ("util_max", "utilisation clamping"),
    ("nodes_membind", "binding to memory nodes"),
    ("membind_nodes", "binding to memory nodes"),
];

/// What concerns rt-app's own logs, locks and buffers: it changes nothing of what is played.
const WITHOUT_EFFECT: [&str; 10] = [
    "logdir",
    "log_basename",
    "log_size",
    "ftrace",
    "gnuplot",
    "pi_enabled",
    "lock_pages",
    "io_device",
    "mem_buffer_size",
    "cumulative_slack",
];

/// Reads a file.
///
/// # Errors
/// One line with the file, line, column and path of what is wrong.
pub fn read(path: &Path) -> Result<Workload, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    parse(&name, &text)
}

/// Reads the text of the file called `name`.
///
/// # Errors
/// As [`read`].
pub fn parse(name: &str, text: &str) -> Result<Workload, String> {
    let source = Source { name, text };
    let value = source.parse()?;
    let root = Item::root(source, &value);
    let (mut global, mut tasks) = (Global::default(), None);
    for (key, item) in root.distinct_entries()? {
        match key {
            "global" => global = Global::read(&item)?,
            "tasks" => tasks = Some(item),
            // An older form of what events name; those that would need one are refused themselves.
            "resources" => drop(item.distinct_entries()?),
            _ => return Err(unknown(&item, "global, tasks and resources")),
        }
    }
    let tasks = tasks.ok_or_else(|| root.refuse("there is no `tasks`"))?;
    let mut reader = Reader { global: &global, timers: Timers::default(), threads: Vec::new() };
    for (name, item) in tasks.distinct_entries()? {
        reader.task(name, &item)?;
    }
    let (threads, timers) = (reader.threads, reader.timers.modes);
    if threads.is_empty() {
        return Err(tasks.refuse("there is no task to run"));
    }
    Ok(Workload { duration: global.duration, calibration: global.calibration, threads, timers })
}

fn unknown(item: &Item<'_>, known: &str) -> String {
    let key = item.path.rsplit('.').next().unwrap_or_default();
    match UNPLAYED.iter().find(|(name, _)| *name == key) {
        Some((name, what)) => item.refuse(format!(
            "rtload does not play `{name}` ({what}); take it out, or use rt-app for this file"
        )),
        None => item.refuse(format!("rtload does not know this key; here it knows {known}")),
    }
}

/// What holds for all tasks.
#[derive(Debug)]
struct Global {
    duration: Option<Duration>,
    default_policy: Kind,
    calibration: Calibrated,
}

impl Default for Global {
    fn default() -> Self {
        Self { duration: None, default_policy: Kind::Other, calibration: Calibrated::Unsaid }
    }
}

impl Global {
    fn read(object: &Item<'_>) -> Result<Self, String> {
        let mut own = Self::default();
        for (key, item) in object.distinct_entries()? {
            match key {
                "duration" => own.duration = times(&item)?.map(Duration::from_secs),
                "default_policy" => own.default_policy = Kind::read(&item)?,
                "calibration" => own.calibration = calibration(&item)?,
                _ if WITHOUT_EFFECT.contains(&key) => {}
                _ => return Err(unknown(&item, "duration, default_policy and calibration")),
            }
        }
        Ok(own)
    }
}

/// A number above zero; none for -1, which is for ever.
fn times(item: &Item<'_>) -> Result<Loops, String> {
    match item.integer(-1, MOST)? {
        -1 => Ok(None),
        0 => Err(item.refuse("`0`: must be above zero, or -1 for ever")),
        times => Ok(Some(times.unsigned_abs())),
    }
}

fn calibration(item: &Item<'_>) -> Result<Calibrated, String> {
    if item.is_number() {
        return item.integer(1, MOST).map(Calibrated::Given);
    }
    let cpu = item.text()?.strip_prefix("CPU").and_then(|number| number.parse().ok());
    let wanted = "must be a CPU, for example \"CPU0\", or an integer of nanoseconds";
    cpu.map(Calibrated::On).ok_or_else(|| item.refuse(wanted))
}

/// Reads tasks one after the other.
struct Reader<'a, 'g> {
    global: &'g Global,
    timers: Timers<'a>,
    threads: Vec<Thread>,
}

/// What stands in a task or a phase, before its events are read.
struct Parts<'a> {
    settings: Settings<'a>,
    cpus: Vec<u32>,
    loops: Option<Loops>,
    events: Vec<(&'static str, Item<'a>)>,
    others: Vec<(&'a str, Item<'a>)>,
}

impl<'a> Parts<'a> {
    fn of(object: &Item<'a>) -> Result<Self, String> {
        let mut own = Self {
            settings: Settings::default(),
            cpus: Vec::new(),
            loops: None,
            events: Vec::new(),
            others: Vec::new(),
        };
        let mut seen: Vec<&str> = Vec::new();
        for (key, item) in object.entries()? {
            if let Some(name) = event::name(key) {
                own.events.push((name, item));
                continue;
            }
            if seen.contains(&key) {
                return Err(item.refuse("stands here a second time; only events may"));
            }
            seen.push(key);
            match key {
                "loop" => own.loops = Some(times(&item)?),
                "cpus" => own.cpus = cpus(&item)?,
                _ if own.settings.take(key, &item)? => {}
                _ => own.others.push((key, item)),
            }
        }
        Ok(own)
    }
}

fn cpus(item: &Item<'_>) -> Result<Vec<u32>, String> {
    let elements = item.elements()?;
    if elements.is_empty() {
        return Err(item.refuse("must name a CPU, for example `[0]`"));
    }
    let number = |item: &Item<'_>| Ok(item.integer(0, 1023)?.unsigned_abs() as u32);
    elements.iter().map(number).collect()
}

impl<'a> Reader<'a, '_> {
    /// The threads of a task.
    fn task(&mut self, name: &'a str, object: &Item<'a>) -> Result<(), String> {
        let parts = Parts::of(object)?;
        let (mut instances, mut delay, mut phases) = (1, Duration::ZERO, None);
        for (key, item) in &parts.others {
            match *key {
                "instance" => instances = item.integer(0, MOST)?.unsigned_abs() as usize,
                "delay" => delay = micros(item, 0)?,
                "phases" => phases = Some(item),
                "period" | "deadline" => {
                    return Err(item.refuse(format!("an old spelling; write `dl-{key}`")));
                }
                _ => return Err(unknown(item, TASK_KEYS)),
            }
        }
        if self.threads.len().saturating_add(instances) > MOST_THREADS {
            return Err(object.refuse(format!("the tasks have more than {MOST_THREADS} threads")));
        }
        let policy = parts.settings.of_task(object, self.global.default_policy)?;
        for _ in 0..instances {
            let number = self.threads.len();
            let (loops, phases) = match phases {
                Some(phases) => (parts.loops.unwrap_or(None), self.phases(phases, &parts, policy)?),
                // Without phases the task is one, whose number of loops is the task's.
                None => {
                    let phase = Phase {
                        name: shown(name),
                        loops: parts.loops.unwrap_or(None),
                        cpus: parts.cpus.clone(),
                        policy: None,
                        events: self.events(object, &parts.events)?,
                    };
                    (Some(1), vec![phase])
                }
            };
            let (name, path) = (format!("{}-{number}", shown(name)), object.path.clone());
            self.threads.push(Thread { name, path, delay, loops, policy, phases });
        }
        Ok(())
    }

    fn phases(
        &mut self,
        object: &Item<'a>,
        task: &Parts<'a>,
        mut policy: Policy,
    ) -> Result<Vec<Phase>, String> {
        if let Some((_, item)) = task.events.first() {
            return Err(item.refuse("a task with `phases` has its events in them"));
        }
        let mut phases = Vec::new();
        for (name, item) in object.distinct_entries()? {
            let parts = Parts::of(&item)?;
            if let Some((_, item)) = parts.others.first() {
                return Err(unknown(item, PHASE_KEYS));
            }
            let changed = parts.settings.of_phase(&item, policy)?;
            policy = changed.unwrap_or(policy);
            phases.push(Phase {
                name: shown(name),
                loops: parts.loops.unwrap_or(Some(1)),
                cpus: if parts.cpus.is_empty() { task.cpus.clone() } else { parts.cpus.clone() },
                policy: changed,
                events: self.events(&item, &parts.events)?,
            });
        }
        if phases.is_empty() {
            return Err(object.refuse("there is no phase in it"));
        }
        Ok(phases)
    }

    fn events(
        &mut self,
        object: &Item<'a>,
        events: &[(&'static str, Item<'a>)],
    ) -> Result<Vec<Event>, String> {
        if events.is_empty() {
            return Err(object.refuse("there is no event in it, for example `\"run\": 1000`"));
        }
        let thread = self.threads.len();
        events
            .iter()
            .map(|(name, item)| event::read(name, item, thread, &mut self.timers))
            .collect()
    }
}

const TASK_KEYS: &str = "instance, delay, phases, loop, policy, priority, dl-runtime, dl-period, \
                         dl-deadline, cpus and events";
const PHASE_KEYS: &str =
    "loop, policy, priority, dl-runtime, dl-period, dl-deadline, cpus and events";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tasks: &str) -> String {
        let text = format!("{{\"tasks\": {tasks}}}");
        parse("f.json", &text).unwrap_err()
    }

    fn read(tasks: &str) -> Workload {
        parse("f.json", &format!("{{\"tasks\": {tasks}}}")).unwrap()
    }

    #[test]
    fn events_stay_in_their_order_also_where_a_key_is_repeated() {
        let own = read(
            r#"{ "a": { "run": 1, "sleep": 2, "run": 3, "runtime0": 4, "yield": "",
                 "timer": { "ref": "unique", "period": 9, "mode": "absolute" } } }"#,
        );
        let us = Duration::from_micros;
        let phase = &own.threads[0].phases[0];
        assert_eq!(
            phase.events,
            [
                Event::Run(us(1)),
                Event::Sleep(us(2)),
                Event::Run(us(3)),
                Event::Runtime(us(4)),
                Event::Yield,
                Event::Timer { timer: 0, period: us(9) },
            ]
        );
        assert_eq!((own.threads[0].loops, phase.loops), (Some(1), None));
        assert_eq!((phase.least_time(), own.threads[0].name.as_str()), (us(10), "a-0"));
        assert_eq!(own.timers, [super::super::workload::TimerMode::Absolute]);
    }

    #[test]
    fn unique_timers_belong_to_an_instance_and_others_to_all() {
        let timer = |name: &str| format!(r#""timer": {{ "ref": "{name}", "period": 9 }}"#);
        let of = |name: &str| {
            let task = format!(r#"{{ "a": {{ "instance": 2, "run": 1, {} }} }}"#, timer(name));
            read(&task).timers.len()
        };
        assert_eq!((of("unique1"), of("tick")), (2, 1));
    }

    #[test]
    fn phases_inherit_cpus_and_change_the_policy_from_there_on() {
        let own = read(
            r#"{ "a": { "policy": "SCHED_FIFO", "cpus": [1], "loop": 3, "phases": {
                 "p": { "run": 1 }, "q": { "priority": 20, "cpus": [0], "loop": 2, "run": 1 },
                 "r": { "policy": "SCHED_OTHER", "run": 1 } } } }"#,
        );
        let thread = &own.threads[0];
        assert_eq!((thread.loops, thread.policy), (Some(3), Policy::Fifo { priority: 10 }));
        let [p, q, r] = thread.phases.as_slice() else { panic!("{thread:?}") };
        assert_eq!((p.policy, &p.cpus[..], p.loops), (None, &[1][..], Some(1)));
        assert_eq!((q.policy, &q.cpus[..]), (Some(Policy::Fifo { priority: 20 }), &[0][..]));
        assert_eq!(r.policy, Some(Policy::Other { nice: 0 }));
    }

    #[test]
    fn deadline_tasks_have_rt_apps_defaults() {
        let of =
            |rest: &str| format!(r#"{{ "a": {{ "policy": "SCHED_DEADLINE", {rest} "run": 1 }} }}"#);
        let ms = Duration::from_millis;
        let own = read(&of(r#""dl-runtime": 2000, "dl-period": 10000,"#));
        assert_eq!(own.threads[0].policy, Policy::deadline(ms(2), ms(10)));
        assert!(refused(&of("")).contains("tasks.a: SCHED_DEADLINE needs `dl-runtime`"));
        let wrong = refused(&of(r#""dl-runtime": 2000, "dl-period": 1000,"#));
        assert!(wrong.contains("tasks.a.dl-runtime: ") && wrong.contains("2000 us"), "{wrong}");
    }

    #[test]
    fn what_is_not_played_is_refused_with_its_path_and_name() {
        for (key, value) in [
            ("lock", "\"m\""),
            ("unlock2", "\"m\""),
            ("wait", "{}"),
            ("signal", "\"c\""),
            ("broad", "\"c\""),
            ("sync", "{}"),
            ("suspend", "\"a\""),
            ("resume", "\"a\""),
            ("mem", "1"),
            ("iorun", "1"),
            ("barrier", "\"b\""),
            ("fork", "\"a\""),
            ("taskgroup", "\"/a\""),
            ("util_min", "1"),
            ("nodes_membind", "[0]"),
        ] {
            let text = refused(&format!(
                "{{\n\"a\": {{ \"phases\": {{ \"p\": {{ \"run\": 1, \"{key}\": {value} }} }} }} }}"
            ));
            let begin = format!("f.json:2:37: tasks.a.phases.p.{key}: rtload does not play");
            assert!(text.starts_with(&begin), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_path() {
        for (tasks, wrong) in [
            ("{}", "tasks: there is no task"),
            (r#"{ "a": {} }"#, "tasks.a: there is no event"),
            (r#"{ "a": { "loop": 2 } }"#, "tasks.a: there is no event"),
            (r#"{ "a": { "run": 1, "loop": 0 } }"#, "tasks.a.loop: `0`"),
            (r#"{ "a": { "run": -1 } }"#, "tasks.a.run: `-1`: must be an integer from 0 to"),
            (r#"{ "a": { "run": 1.5 } }"#, "tasks.a.run: `1.5`"),
            (r#"{ "a": { "run": "1" } }"#, "tasks.a.run: is a string; it must be an integer"),
            (r#"{ "a": { "run": 1, "pace": 1 } }"#, "tasks.a.pace: rtload does not know"),
            (r#"{ "a": { "run": 1 }, "a": { "run": 1 } }"#, "tasks.a: stands here a second time"),
            (r#"{ "a": { "run": 1, "loop": 1, "loop": 2 } }"#, "tasks.a.loop: stands here"),
            (r#"{ "a": { "run": 1, "instance": 2000 } }"#, "more than 256 threads"),
            (r#"{ "a": { "run": 1, "cpus": [] } }"#, "tasks.a.cpus: must name a CPU"),
            (r#"{ "a": { "run": 1, "cpus": [0, -1] } }"#, "tasks.a.cpus[1]: `-1`"),
            (r#"{ "a": { "run": 1, "period": 5 } }"#, "write `dl-period`"),
            (r#"{ "a": { "run": 1, "policy": "FIFO" } }"#, "tasks.a.policy: `FIFO` is no policy"),
            (
                r#"{ "a": { "run": 1, "policy": "SCHED_FIFO", "priority": 99 } }"#,
                "tasks.a.priority: `99`: must be an integer from 1 to 98",
            ),
            (
                r#"{ "a": { "timer": { "ref": "x" } } }"#,
                "tasks.a.timer: the timer needs a `period`",
            ),
            (r#"{ "a": { "timer": { "period": 0 } } }"#, "tasks.a.timer.period: `0`"),
            (r#"{ "a": { "timer": { "period": 1, "mode": "x" } } }"#, "`x` is no mode"),
            (r#"{ "a": { "run": 1, "phases": { "p": { "run": 1 } } } }"#, "has its events in them"),
            (r#"{ "a": { "phases": {} } }"#, "tasks.a.phases: there is no phase"),
        ] {
            let text = refused(tasks);
            assert!(text.starts_with("f.json:1:") && text.contains(wrong), "{tasks}: {text}");
        }
        let global = |text: &str| {
            parse("f", &format!(r#"{{ "tasks": {{ "a": {{ "run": 1 }} }}, "global": {text} }}"#))
        };
        assert!(global(r#"{ "duration": 0 }"#).unwrap_err().contains("global.duration: `0`"));
        assert!(global(r#"{ "calibration": "GPU0" }"#).unwrap_err().contains("global.calibration"));
        assert_eq!(global(r#"{ "calibration": 30 }"#).unwrap().calibration, Calibrated::Given(30));
        assert_eq!(global(r#"{ "duration": -1 }"#).unwrap().duration, None);
    }
}
