//! A Gantt chart of a window: guest jobs over vCPU supply over host load.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::schedule::Schedule;
use crate::{
    figure::{
        Color as Rgb, SCALE,
        draw::{Failure, GRID, INK, TEXT, font_size, px, rgb, text},
        export::Picture,
        palette::{nth_color, pale},
    },
    supply::is_vcpu,
};

const WIDTH: u32 = 1160;
const LEFT: u32 = 150;
const RIGHT: u32 = 24;
const TITLE: u32 = 46;
const LANE: u32 = 36;
const BAR: u32 = 22;
const AXIS: u32 = 54;
/// Lanes of the host's other threads, the busiest.
const MOST_HOST_LANES: usize = 5;
const STALL: Rgb = (250, 215, 215);
const MISSED: Rgb = (190, 0, 0);

/// What a lane belongs to; lanes of one group stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Job,
    Vm,
    Host,
}

impl Group {
    /// In one word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Vm => "vm",
            Self::Host => "host",
        }
    }
}

/// A row of the chart. Times are ms from the workload's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    pub(crate) group: Group,
    /// Left of it.
    pub label: String,
    color: Rgb,
    /// Bars.
    pub bars: Vec<(f64, f64)>,
    /// Arrows up: releases.
    pub releases: Vec<f64>,
    /// Bars that are marked: jobs that missed their deadline.
    pub(crate) missed: Vec<(f64, f64)>,
}

/// The chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Gantt {
    title: String,
    /// Begin and end of the window, ms.
    pub(crate) span: (f64, f64),
    /// From top to bottom.
    pub lanes: Vec<Lane>,
    pub(crate) stalls: Vec<(f64, f64)>,
}

impl Gantt {
    /// Of a window of a schedule.
    #[must_use]
    pub fn of(schedule: &Schedule) -> Self {
        let ms = |ns: u64| (ns as i64 - schedule.zero_ns as i64) as f64 / 1e6;
        let span = (ms(schedule.from_ns), ms(schedule.to_ns));
        let mut lanes = job_lanes(schedule, &ms);
        lanes.extend(vm_lanes(schedule, &ms));
        lanes.extend(host_lanes(schedule, &ms));
        let stall = |one: &model::sample::Stall| {
            (ms(one.start_ns), ms(one.start_ns.saturating_add(one.length_ns)))
        };
        Self {
            title: format!(
                "{} rep-{:03}: guest jobs, supply, and CPU {} of the host",
                schedule.experiment, schedule.attempt, schedule.measured_cpu
            ),
            span,
            lanes,
            stalls: schedule.stalls.iter().map(stall).collect(),
        }
    }
}

fn lane(group: Group, label: String, color: Rgb) -> Lane {
    Lane { group, label, color, bars: Vec::new(), releases: Vec::new(), missed: Vec::new() }
}

fn job_lanes(schedule: &Schedule, ms: &dyn Fn(u64) -> f64) -> Vec<Lane> {
    let mut tasks: Vec<&str> = schedule.jobs.iter().map(|job| job.task.as_str()).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let of = |(at, task): (usize, &str)| {
        let label = task.strip_prefix("tau").map_or_else(|| task.into(), |n| format!("guest τ{n}"));
        let mut lane = lane(Group::Job, label, pale(nth_color(at)));
        for job in schedule.jobs.iter().filter(|job| job.task == task) {
            let bar = (ms(job.start_ns), ms(job.finish_ns));
            lane.bars.push(bar);
            lane.releases.push(ms(job.release_ns));
            if job.missed {
                lane.missed.push(bar);
            }
        }
        lane
    };
    tasks.into_iter().enumerate().map(of).collect()
}

fn vm_lanes(schedule: &Schedule, ms: &dyn Fn(u64) -> f64) -> Vec<Lane> {
    let mut names: Vec<&str> = schedule.vm.iter().map(|row| row.thread.as_str()).collect();
    names.sort_unstable_by_key(|name| (!is_vcpu(name), *name));
    names.dedup();
    let of = |name: &str| {
        let color = if is_vcpu(name) { nth_color(2) } else { nth_color(4) };
        let rows = schedule.vm.iter().filter(|row| row.thread == name);
        let bars = rows.map(|row| (ms(row.start_ns), ms(row.end_ns))).collect();
        Lane { bars, ..lane(Group::Vm, name.to_owned(), color) }
    };
    names.into_iter().map(of).collect()
}

fn host_lanes(schedule: &Schedule, ms: &dyn Fn(u64) -> f64) -> Vec<Lane> {
    let mut threads: Vec<(i32, String, u64)> = Vec::new();
    for row in &schedule.host {
        let length = row.end_ns - row.start_ns;
        match threads.iter_mut().find(|one| one.0 == row.tid) {
            Some(one) => one.2 += length,
            None => threads.push((row.tid, row.thread.clone(), length)),
        }
    }
    threads.sort_by_key(|one| std::cmp::Reverse(one.2));
    threads.truncate(MOST_HOST_LANES);
    threads.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
    let of = |(tid, name, _): (i32, String, u64)| {
        let label = name.strip_prefix("tau").map_or_else(|| name.clone(), |n| format!("load τ{n}"));
        let rows = schedule.host.iter().filter(|row| row.tid == tid);
        let bars = rows.map(|row| (ms(row.start_ns), ms(row.end_ns))).collect();
        Lane { bars, ..lane(Group::Host, label, nth_color(1)) }
    };
    threads.into_iter().map(of).collect()
}

impl Picture for Gantt {
    fn name(&self) -> &str {
        &self.title
    }

    fn size(&self) -> (u32, u32) {
        (WIDTH, TITLE + self.lanes.len() as u32 * LANE + AXIS)
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        root.fill(&WHITE)?;
        let title = ("sans-serif", font_size(20), FontStyle::Bold).into_font().color(&INK);
        let title = title.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(&self.title, &title, (px(20), px(TITLE / 2)))?;
        let bottom = TITLE + self.lanes.len() as u32 * LANE;
        for &(start, end) in &self.stalls {
            let corners = [(self.x(start), px(TITLE)), (self.x(end), px(bottom))];
            root.draw(&Rectangle::new(corners, rgb(STALL).filled()))?;
        }
        self.axis(root, bottom)?;
        for (at, lane) in self.lanes.iter().enumerate() {
            self.lane(root, lane, TITLE + at as u32 * LANE)?;
        }
        Ok(())
    }
}

impl Gantt {
    /// The canvas's column of an instant, inside the frame.
    fn x(&self, ms: f64) -> i32 {
        let (from, to) = self.span;
        let share = ((ms - from) / (to - from)).clamp(0.0, 1.0);
        px(LEFT) + (share * f64::from(px(WIDTH - LEFT - RIGHT))).round() as i32
    }

    fn axis<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        bottom: u32,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let label = text(TEXT - 1, INK, HPos::Center, VPos::Top);
        for at in ticks(self.span) {
            let x = self.x(at);
            let line =
                PathElement::new([(x, px(TITLE)), (x, px(bottom))], GRID.stroke_width(SCALE));
            root.draw(&line)?;
            root.draw_text(&format!("{at}"), &label, (x, px(bottom + 6)))?;
        }
        let ends = [(px(LEFT), px(bottom)), (px(WIDTH - RIGHT), px(bottom))];
        root.draw(&PathElement::new(ends, INK.stroke_width(SCALE)))?;
        let middle = (px(LEFT) + px(WIDTH - RIGHT)) / 2;
        root.draw_text("time since the workload's start (ms)", &label, (middle, px(bottom + 28)))?;
        Ok(())
    }

    fn lane<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, Shift>,
        lane: &Lane,
        top: u32,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let label = text(TEXT, INK, HPos::Right, VPos::Center);
        let middle = px(top + LANE / 2);
        root.draw_text(&lane.label, &label, (px(LEFT - 12), middle + px(2)))?;
        let (upper, lower) = (px(top + (LANE - BAR) / 2), px(top + (LANE + BAR) / 2));
        let bar = |(start, end): (f64, f64)| {
            let left = self.x(start);
            [(left, upper), (self.x(end).max(left + 1), lower)]
        };
        for &one in &lane.bars {
            root.draw(&Rectangle::new(bar(one), rgb(lane.color).filled()))?;
        }
        for &one in &lane.missed {
            root.draw(&Rectangle::new(bar(one), rgb(MISSED).stroke_width(2 * SCALE)))?;
        }
        for &at in lane.releases.iter().filter(|at| (self.span.0..self.span.1).contains(*at)) {
            let (x, tip) = (self.x(at), px(top + 2));
            let style = INK.stroke_width(3 * SCALE / 2);
            root.draw(&PathElement::new([(x, lower), (x, tip)], style))?;
            let head = [(x - px(4), tip + px(6)), (x, tip), (x + px(4), tip + px(6))];
            root.draw(&PathElement::new(head, style))?;
        }
        let under = [(px(LEFT), px(top + LANE)), (px(WIDTH - RIGHT), px(top + LANE))];
        root.draw(&PathElement::new(under, GRID.stroke_width(SCALE)))?;
        Ok(())
    }
}

/// Round numbers inside the window, about ten of them.
fn ticks((from, to): (f64, f64)) -> Vec<f64> {
    let rough = (to - from) / 10.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (from / step).ceil() as i64;
    (first..).map(|k| (k as f64 * step * 1e6).round() / 1e6).take_while(|at| *at <= to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((2000.0, 2400.0)).len(), 9);
        assert_eq!(ticks((0.0, 1.0))[1], 0.1);
    }
}
