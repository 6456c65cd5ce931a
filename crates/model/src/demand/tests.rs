use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::sample::Columns;

const MS: u64 = 1_000_000;

/// (30, 150) and (50, 200) released together, for so many milliseconds.
fn paper(to_ms: u64) -> Demand {
    let of =
        |work: u64, period: u64| (0..to_ms / period).map(move |k| (k * period * MS, work * MS));
    Demand::of(of(30, 150).chain(of(50, 200)).chain([(to_ms * MS, 0)]))
}

#[test]
fn the_papers_set_asks_for_80_at_once_and_for_110_in_180() {
    let demand = paper(60_000);
    let asked = |length: u64| demand.asked_ns(length * MS) / MS;
    assert_eq!([30, 80, 150, 180, 250, 600].map(asked), [30, 80, 80, 110, 160, 270]);
    assert_eq!(demand.length_for(80 * MS), Some(80 * MS));
    assert_eq!(demand.length_for(81 * MS), Some(151 * MS));
    assert_eq!(demand.length_for(60_000 * MS), None);
    assert!((demand.share() - 0.45).abs() < 1e-9, "{}", demand.share());
    assert_eq!(demand.advanced_ns(), 0);
}

/// On a CPU of one's own nothing is late; on none nothing is ever done.
#[test]
fn it_settles_on_a_whole_cpu_and_on_none_never() {
    assert!(paper(600).settles(|length| length));
    assert!(!paper(600).settles(|_| 0));
    // 80 at once, and 150 until more is asked for.
    assert!(paper(600).settles(|length| length * 80 / 150));
    assert!(!paper(600).settles(|length| length * 40 / 100));
    assert!(Demand::of([(0, 0), (9, 0)]).settles(|_| 0), "nothing to do");
    // A VM that never slept has no window in which less than all would do.
    assert!(!Demand::of([(0, 0), (0, 100), (100, 0)]).settles(|length| length * 99 / 100));
}

#[test]
fn too_many_wake_ups_are_joined_and_it_is_said_by_how_much() {
    let busy = Demand::of((0..300_000).map(|k| (k * 200_000, 50_000)));
    assert!(busy.advanced_ns() >= 300_000 && busy.advanced_ns() < MS, "{}", busy.advanced_ns());
    assert!(busy.horizon_ns() < busy.span_ns());
    assert_eq!(busy.work_ns(), 300_000 * 50_000);
    // Never below the truth, but for what is counted earlier.
    for (length, least) in [(50_000, 50_000), (10 * MS, 2_500_000), (MS, 250_000)] {
        assert!(busy.asked_ns(length + busy.advanced_ns()) >= least, "{length}");
    }
}

#[test]
fn files_of_demand_and_of_jobs_are_read_and_bad_ones_refused_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        super::read(&path)
    };
    let demand = read("thread,woken_ns,cpu_ns,waited_ns\nvcpu0,0,0,\nvcpu0,5,3,1\nvcpu0,10,0,\n");
    let demand = &demand.unwrap()["vcpu0"];
    assert_eq!((demand.span_ns(), demand.work_ns(), demand.asked_ns(2)), (10, 3, 2));
    let jobs = crate::sample::Job::COLUMNS.join(",");
    let rows = ",,tau1,0,10,10,40,30,28,150,0,,,\n,,tau1,0,10,10,50,40,8,150,0,,other,\n";
    let demand = read(&format!("{jobs}\n{rows}")).unwrap();
    assert_eq!((demand["vcpu0"].span_ns(), demand["vcpu0"].work_ns()), (30, 28));
    assert_eq!((demand["other"].span_ns(), demand["other"].work_ns()), (40, 8));
    for (text, said) in [
        (
            "thread,woken_ns,cpu_ns,waited_ns\nvcpu0,0,much,\n",
            ", line 2, column `cpu_ns`: `much` is not a whole number in its range".to_owned(),
        ),
        (
            &format!("{jobs}\n,,tau1,0,10,10,40,30,,150,0,,,\n"),
            ", line 2, column `cpu_ns`".to_owned(),
        ),
        (
            &format!(
                "{jobs}\n,0,tau1,0,10,10,40,30,28,150,0,,,\n,1,tau1,0,10,10,40,30,28,150,0,,,\n"
            ),
            ", line 3: another experiment or repetition than in line 2".to_owned(),
        ),
        (
            "a,b\n1,2\n",
            ", line 1: the header is `a,b`; such a file begins with \
             `thread,woken_ns,cpu_ns,waited_ns`"
                .to_owned(),
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(&said) && error.contains(&path.display().to_string()), "{error}");
    }
    assert!(super::read(Path::new("/nowhere")).is_err());
}

/// R by the nanosecond: what is done on a CPU of one's own.
fn by_hand(arrivals: &[(u64, u64)], to_ns: usize) -> Vec<u64> {
    let (mut left, mut done) = (0, vec![0]);
    for at in 0..to_ns as u64 {
        left +=
            arrivals.iter().filter(|(woken, _)| *woken == at).map(|(_, work)| work).sum::<u64>();
        let ran = left.min(1);
        left -= ran;
        done.push(done[at as usize] + ran);
    }
    done
}

proptest! {
    #[test]
    fn it_is_the_most_of_all_windows(
        arrivals in prop::collection::vec((0_u64..200, 0_u64..12), 0..20),
        length in 0_usize..400,
    ) {
        let done = by_hand(&arrivals, 1000);
        let most = (0..=1000 - length).map(|from| done[from + length] - done[from]).max().unwrap();
        let demand = Demand::of(arrivals.clone());
        prop_assert_eq!(demand.asked_ns(length as u64), most);
        let shortest = (0..=600).find(|l| demand.asked_ns(*l) >= most);
        prop_assert_eq!(demand.length_for(most).unwrap_or(0), if most == 0 { 0 } else { shortest.unwrap() });
    }

    /// Joining counts work earlier, never later, and by no more than it says.
    #[test]
    fn joined_work_is_early_by_no_more_than_allowed(
        arrivals in prop::collection::vec((0_u64..200, 1_u64..9), 1..20),
        most in 0_u64..30,
    ) {
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let parts = alone(&arrivals);
        let done = |intervals: &[(u64, u64)], at: u64| -> u64 {
            intervals.iter().map(|(start, end)| at.clamp(*start, *end) - start).sum()
        };
        let joined = joined(&parts, most);
        for at in 0..500 {
            let (early, real) = (done(&joined, at), done(&parts, at));
            prop_assert!(early >= real && early <= done(&parts, at + most), "at {}", at);
        }
    }

    /// Few stretches looked at: what is known within the horizon is exact all the same.
    #[test]
    fn within_the_horizon_nothing_is_missed(
        arrivals in prop::collection::vec((0_u64..200, 1_u64..9), 1..20), most in 1_usize..60,
    ) {
        let mut arrivals = arrivals;
        arrivals.sort_unstable();
        let intervals = joined(&alone(&arrivals), 0);
        let whole = Demand::of(arrivals);
        let found = most_work(&intervals, most);
        let horizon = found.horizon_ns.unwrap_or(whole.span_ns);
        let cut = Demand { corners: found.corners, horizon_ns: horizon, ..whole.clone() };
        for length in 0..=horizon {
            prop_assert_eq!(cut.asked_ns(length), whole.asked_ns(length), "length {}", length);
        }
    }
}
