//! The web service: `reports table --like table1`, its claims and its figure.

use std::process::Command;

use crate::made_up::{self, MadeUp};
use reports::{
    Results,
    claims::{self, Verdict},
    figure::build,
};

/// As the throw-away prototype measured on a machine of this kind, in milliseconds.
const LIKE_THE_PAPER: [(f64, f64); 4] =
    [(68.0, 157.0), (620.0, 750.0), (1317.0, 16_097.0), (830.0, 1650.0)];

fn table(folder: &MadeUp, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reports"));
    command.arg("table").arg(folder.path()).args(["--like", "table1"]).args(args);
    let out = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn output(folder: &MadeUp, args: &[&str]) -> String {
    let (code, out, err) = table(folder, args);
    assert_eq!((code, err.as_str()), (0, ""));
    out
}

#[test]
fn table_1_in_every_format() {
    let folder = MadeUp::service(LIKE_THE_PAPER);
    folder.fail_a_request("table1-host");
    insta::assert_snapshot!(output(&folder, &[]), @"
    seconds                           table1-host  table1-guest  table1-guest-loaded  table1-guest-reserved
    ────────────────────────────────  ───────────  ────────────  ───────────────────  ─────────────────────
    min                                     0.068         0.620                1.317                  0.830
    avg                                     0.113         0.685                8.707                  1.240
    max                                     0.157         0.750               16.097                  1.650
    std. dev.                               0.026         0.038                4.313                  0.239
    90 % conf. int., of avg                0.13 %           0 %                  0 %                    0 %
    overhead of the guest, avg                  –      +508.5 %                    –                      –
    overhead of the guest, max                  –      +377.7 %                    –                      –
    slow-down against the guest, avg            –             –               12.71×                  1.81×

    Suite made-up-service: 10 clients, 10 requests each, 6 simulations; invented numbers. Samples: table1-host 599 requests in 6 repetitions; table1-guest 600 requests in 6 repetitions; table1-guest-loaded 600 requests in 6 repetitions; table1-guest-reserved 600 requests in 6 repetitions.
    A simulation: 10 clients, 10 requests each, one after the other, a new connection each; angle=20&width=2000&height=2000&format=ppm&reply=summary
    Host load: 30ms/60ms and 38ms/100ms, 0.88 of the CPU, backlog: keep.
    table1-host: 1 request failed, outside all statistics.
    Confidence interval of the mean: Student's t over the means of repetitions, of which there are 6 at least; none over a single repetition, nor where jobs never finished.
    Guests were emulated (TCG): their overhead is that of emulation and not comparable with the paper's.
    The measured CPU was kept out of idle, without load as well: an idle CPU is a slow one.
    ");
    insta::assert_snapshot!(output(&folder, &["--paper", "--format", "markdown"]), @"
    | seconds | table1-host | paper | table1-guest | paper | table1-guest-loaded | paper | table1-guest-reserved | paper |
    | :-- | --: | --: | --: | --: | --: | --: | --: | --: |
    | min | 0.068 | 0.220 | 0.620 | 0.260 | 1.317 | 1.153 | 0.830 | 0.790 |
    | avg | 0.113 | 1.140 | 0.685 | 1.220 | 8.707 | 11.367 | 1.240 | 2.044 |
    | max | 0.157 | 7.910 | 0.750 | 8.420 | 16.097 | 89.880 | 1.650 | 10.832 |
    | std. dev. | 0.026 | 1.260 | 0.038 | 1.070 | 4.313 | 15.449 | 0.239 | 1.275 |
    | 90 % conf. int., of avg | 0.13 % | 0.2 % | 0 % | 1.3 % | 0 % | 0.4 % | 0 % | 0.9 % |
    | overhead of the guest, avg | – | – | +508.5 % | +7.0 % | – | – | – | – |
    | overhead of the guest, max | – | – | +377.7 % | +6.4 % | – | – | – | – |
    | slow-down against the guest, avg | – | – | – | – | 12.71× | 9.32× | 1.81× | 1.68× |

    Suite made-up-service: 10 clients, 10 requests each, 6 simulations; invented numbers. Samples: table1-host 599 requests in 6 repetitions; table1-guest 600 requests in 6 repetitions; table1-guest-loaded 600 requests in 6 repetitions; table1-guest-reserved 600 requests in 6 repetitions.

    A simulation: 10 clients, 10 requests each, one after the other, a new connection each; angle=20&width=2000&height=2000&format=ppm&reply=summary

    Host load: 30ms/60ms and 38ms/100ms, 0.88 of the CPU, backlog: keep.

    table1-host: 1 request failed, outside all statistics.

    Confidence interval of the mean: Student's t over the means of repetitions, of which there are 6 at least; none over a single repetition, nor where jobs never finished.

    Guests were emulated (TCG): their overhead is that of emulation and not comparable with the paper's.

    The measured CPU was kept out of idle, without load as well: an idle CPU is a slow one.
    ");
    insta::assert_snapshot!(output(&folder, &["--paper", "--format", "csv"]), @"
    statistic,table1-host,table1-host-paper,table1-guest,table1-guest-paper,table1-guest-loaded,table1-guest-loaded-paper,table1-guest-reserved,table1-guest-reserved-paper
    min_ns,68000000,220000000,620000000,260000000,1317000000,1153000000,830000000,790000000
    avg_ns,112569788,1140000000,685000000,1220000000,8707000000,11367000000,1240000000,2044000000
    max_ns,157000000,7910000000,750000000,8420000000,16097000000,89880000000,1650000000,10832000000
    stddev_ns,25937299,1260000000,37936567,1070000000,4313095900,15449000000,239292195,1275000000
    ci90_share,0.001260,0.002000,0.000000,0.013000,0.000000,0.004000,0.000000,0.009000
    overhead_avg_share,,,5.085114,0.070175,,,,
    overhead_max_share,,,3.777070,0.064475,,,,
    slow_down_avg,,,,,12.710949,9.317213,1.810219,1.675410
    ");
    insta::assert_snapshot!(output(&folder, &["--format", "latex"]), @r#"
    \begingroup\footnotesize\setlength{\tabcolsep}{3pt}%
    \begin{tabular}{lrrrr}
    \toprule
    seconds & \shortstack[r]{table1-\\host} & \shortstack[r]{table1-\\guest} & \shortstack[r]{table1-\\guest-\\loaded} & \shortstack[r]{table1-\\guest-\\reserved} \\
    \midrule
    min & 0.068 & 0.620 & 1.317 & 0.830 \\
    avg & 0.113 & 0.685 & 8.707 & 1.240 \\
    max & 0.157 & 0.750 & 16.097 & 1.650 \\
    std. dev. & 0.026 & 0.038 & 4.313 & 0.239 \\
    \shortstack[l]{90 \% conf. int., of\\avg} & 0.13 \% & 0 \% & 0 \% & 0 \% \\
    \shortstack[l]{overhead of the\\guest, avg} & -- & +508.5 \% & -- & -- \\
    \shortstack[l]{overhead of the\\guest, max} & -- & +377.7 \% & -- & -- \\
    \shortstack[l]{slow-down against\\the guest, avg} & -- & -- & 12.71$\times$ & 1.81$\times$ \\
    \bottomrule
    \end{tabular}\endgroup
    % Suite made-up-service: 10 clients, 10 requests each, 6 simulations; invented numbers. Samples: table1-host 599 requests in 6 repetitions; table1-guest 600 requests in 6 repetitions; table1-guest-loaded 600 requests in 6 repetitions; table1-guest-reserved 600 requests in 6 repetitions.
    % A simulation: 10 clients, 10 requests each, one after the other, a new connection each; angle=20&width=2000&height=2000&format=ppm&reply=summary
    % Host load: 30ms/60ms and 38ms/100ms, 0.88 of the CPU, backlog: keep.
    % table1-host: 1 request failed, outside all statistics.
    % Confidence interval of the mean: Student's t over the means of repetitions, of which there are 6 at least; none over a single repetition, nor where jobs never finished.
    % Guests were emulated (TCG): their overhead is that of emulation and not comparable with the paper's.
    % The measured CPU was kept out of idle, without load as well: an idle CPU is a slow one.
    "#);
}

#[test]
fn any_experiment_of_any_folder_can_be_a_column() {
    let folder = MadeUp::as_in_the_paper();
    let text = output(&folder, &["--only", "fig4-loaded,fig1"]);
    let header = "seconds    fig4-loaded tau1  fig4-loaded tau2  fig1 tau1  fig1 tau2";
    assert!(text.starts_with(header), "{text}");
}

#[test]
fn what_cannot_be_tabulated_is_said_in_one_line() {
    let folder = MadeUp::as_in_the_paper();
    for (args, message) in [
        (&[][..], "the suite has none of table1-host, table1-guest"),
        (&["--only", "fig9"], "the suite has no experiment `fig9`; it has fig1, fig2"),
    ] {
        let (code, out, err) = table(&folder, args);
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
        assert!(err.contains(message), "{err}");
    }
    let nothing = MadeUp::empty(made_up::SUITE);
    let (code, _, err) = table(&nothing, &["--only", "fig1"]);
    assert_eq!(code, 2);
    assert!(err.contains("nothing was measured in fig1"), "{err}");
}

fn verdicts(folder: &MadeUp) -> Vec<(String, Verdict)> {
    let results = Results::read(folder.path()).unwrap();
    claims::all(&results).into_iter().map(|claim| (claim.id.into_owned(), claim.verdict)).collect()
}

#[test]
fn the_claims_of_table_1_hold_and_break() {
    use Verdict::{Fails, Holds, NotMeasurable};
    let ids = [
        "table1-overhead-avg",
        "table1-overhead-max",
        "table1-loaded",
        "table1-reserved-share",
        "table1-spread-between",
    ];
    let expect = |bounds, accelerator: &str, verdicts_wanted: [Verdict; 5]| {
        let mut folder = MadeUp::service(bounds);
        folder.manifest.accelerator.as_mut().unwrap().name = accelerator.to_owned();
        folder.save();
        let wanted: Vec<_> = ids.map(str::to_owned).into_iter().zip(verdicts_wanted).collect();
        assert_eq!(verdicts(&folder), wanted);
    };
    expect(LIKE_THE_PAPER, "tcg", [NotMeasurable, NotMeasurable, Holds, Holds, Holds]);
    let mut bounds = LIKE_THE_PAPER;
    bounds[1] = (70.0, 160.0);
    expect(bounds, "kvm", [Holds, Holds, Holds, Fails, Holds]);
    bounds = LIKE_THE_PAPER;
    (bounds[2], bounds[3]) = ((700.0, 900.0), (830.0, 1650.0));
    expect(bounds, "kvm", [Fails, Fails, Fails, Holds, Fails]);
}

#[test]
fn too_many_failures_say_nothing() {
    let folder = MadeUp::service(LIKE_THE_PAPER);
    folder.fail_a_request("table1-guest");
    assert_eq!(verdicts(&folder)[2].1, Verdict::Holds, "one of 600 may fail");
}

#[test]
fn the_four_cases_share_a_figure() {
    let folder = MadeUp::service(LIKE_THE_PAPER);
    let figures = build::figures(&Results::read(folder.path()).unwrap());
    assert_eq!(figures.len(), 1);
    let labels: Vec<&str> = figures[0].panels[0].lines.iter().map(|l| l.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "requests, table1-host",
            "requests, table1-guest",
            "requests, table1-guest-loaded",
            "requests, table1-guest-reserved"
        ]
    );
    if let Some(to) = std::env::var_os("KEEP_REPORT") {
        let png = reports::figure::export::png(&figures[0]).unwrap();
        std::fs::write(std::path::Path::new(&to).join("table1.png"), png).unwrap();
    }
}
